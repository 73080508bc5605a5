"""Layers in eager mode and in a graph: bound ops, and operators that find them by the parameters.

``PREPARE`` makes the bound ops of ``postlude.ops``; ``TRACE`` makes callables of the same form that
call the operators below. Both take the parameters as they are, several linear layers side by side
as one. An operator's graph thus depends on the parameters alone: it can be exported, and the packed
copy, kept in ``_table``, is shared with the eager layer and made again when a parameter changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import ops
from . import _table
from ._ops import NORM, OPTIONS, give_norm, linear_fake, mlp_fake, qkv_fake, take_norm
from ._register import register

_FORM = f"bool transposed=False, str? quantize=None, {OPTIONS}"
_operators = torch.ops.postlude


class Source(NamedTuple):
    """The parameters of one linear layer, or of several whose outputs stand side by side.

    Weights are (out, in), or (in, out) where ``transposed``; all the same.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor | None]
    transposed: bool = False

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """One weight (sum of out, in), and one bias: zeros where only some have one."""
        parts = [weight.detach() for weight in self.weights]
        parts = [part.t() for part in parts] if self.transposed else parts
        if len(parts) == 1:
            bias = self.biases[0]
            return parts[0], None if bias is None else bias.detach()
        if all(bias is None for bias in self.biases):
            return torch.cat(parts), None
        biases = [
            part.new_zeros(len(part)) if bias is None else bias
            for part, bias in zip(parts, self.biases, strict=True)
        ]
        return torch.cat(parts), torch.cat(biases).detach()


def _weight(op: str, source: Source, quantize: str | None) -> tuple[Any, Tensor | None, int]:
    """The weight to bind, its bias, and the bytes of a quantised copy."""
    weight, bias = source.merged()
    if quantize is None:
        return weight, bias, 0
    if quantize != "int8":
        raise ValueError(f"[{op}] quantize: expected None or 'int8', got {quantize!r}")
    quantized = ops.quantize_weight(weight, group="rows", groups=len(weight))
    return quantized, bias, quantized.bytes


# What the operators' schemas have as defaults, so that a key is the same whoever asks.
_COMMON: dict[str, Any] = {"batch_invariant": False, "weights_static": True, "allow_tf32": False}
_LINEAR: dict[str, Any] = {"activation": None, "gated": False, **_COMMON}
_MLP: dict[str, Any] = {"activation": None, "gated": False, "add_residual": True, **_COMMON}


class _Prepare:
    """Makes bound ops, or finds those made before: each (op, extra bytes that it holds)."""

    def __init__(self, operator: str | None = None, short: Any = None) -> None:
        self.operator = operator  # that asks, if one does
        self.short = short  # a key under which it looks first

    def _get(self, key: Any, tensors: _table.Tensors, make: _table.Make) -> tuple[Any, int]:
        entry = _table.find(key, tensors)
        if entry is None and self.operator is None:
            entry = _table.add(key, tensors, make)
        elif entry is None:
            entry = _table.add_in_graph(str(self.operator), key, tensors, make)
        if self.short is not None:
            _table.put(self.short, tensors, entry)
        return entry.op, entry.packed_bytes

    def linear(
        self, source: Source, *, quantize: str | None = None, **options: Any
    ) -> tuple[Any, int]:
        """``ops.Linear`` with these options."""
        options = _LINEAR | options

        def make() -> tuple[Any, int]:
            weight, bias, extra = _weight("linear", source, quantize)
            op = ops.Linear(weight, bias, **options)
            return op, op.packed_bytes + extra

        key = ("linear", source.transposed, quantize, *options.values())
        return self._get(key, [*source.weights, *source.biases], make)

    def qkv(
        self, source: Source, *, norm: Any = None, quantize: str | None = None, **options: Any
    ) -> tuple[Any, int]:
        """``ops.Qkv`` with this norm and these options."""
        options = _COMMON | options

        def make() -> tuple[Any, int]:
            weight, bias, extra = _weight("qkv", source, quantize)
            op = ops.Qkv(weight, bias, norm=norm, **options)
            return op, op.packed_bytes + extra

        form, tensors = _norm_parts(norm)
        key = ("qkv", source.transposed, quantize, *form, *options.values())
        return self._get(key, [*source.weights, *source.biases, *tensors], make)

    def mlp(
        self,
        first: Source,
        last: Source,
        *,
        norm: Any = None,
        quantize: str | None = None,
        **options: Any,
    ) -> tuple[Any, int]:
        """``ops.Mlp`` with this norm and these options."""
        options = _MLP | options

        def make() -> tuple[Any, int]:
            weight_in, bias_in, extra_in = _weight("mlp", first, quantize)
            weight_out, bias_out, extra_out = _weight("mlp", last, quantize)
            op = ops.Mlp(weight_in, weight_out, bias_in, bias_out, norm=norm, **options)
            return op, op.packed_bytes + extra_in + extra_out

        form, tensors = _norm_parts(norm)
        key = ("mlp", first.transposed, quantize, *form, *options.values())
        tensors = [*first.weights, *first.biases, *last.weights, *last.biases, *tensors]
        return self._get(key, tensors, make)


def _norm_parts(norm: Any) -> tuple[tuple[Any, ...], _table.Tensors]:
    """All of a norm but its tensors, and these: weight and bias."""
    given = give_norm(norm)
    tensors = [given.pop("norm_weight", None), given.pop("norm_bias", None)]
    return tuple(given.values()), tensors


class _TracedLinear:
    def __init__(self, source: Source, options: dict[str, Any]) -> None:
        self.source, self.options = source, options

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        weights, biases, transposed = self.source
        y: Tensor = _operators.bound_linear.default(
            x, weights, biases, residual, transposed=transposed, **self.options
        )
        return y


class _TracedQkv:
    def __init__(self, source: Source, options: dict[str, Any]) -> None:
        self.source, self.options = source, options

    def __call__(self, x: Tensor) -> Tensor:
        weights, biases, transposed = self.source
        y: Tensor = _operators.bound_qkv.default(
            x, weights, biases, transposed=transposed, **self.options
        )
        return y


class _TracedMlp:
    def __init__(self, first: Source, last: Source, options: dict[str, Any]) -> None:
        self.first, self.last, self.options = first, last, options

    def __call__(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        input_bias: Tensor | None = None,
        *,
        add_residual: Tensor | None = None,
    ) -> Tensor:
        y: Tensor = _operators.bound_mlp.default(
            x,
            self.first.weights,
            self.first.biases,
            self.last.weights,
            self.last.biases,
            residual,
            input_bias,
            parallel_residual=add_residual,
            transposed=self.first.transposed,
            **self.options,
        )
        return y


class _Trace:
    """Makes callables with the signatures of the bound ops that call the operators; 0 bytes."""

    def linear(self, source: Source, **options: Any) -> tuple[Any, int]:
        """As ``ops.Linear``."""
        return _TracedLinear(source, options), 0

    def qkv(self, source: Source, *, norm: Any = None, **options: Any) -> tuple[Any, int]:
        """As ``ops.Qkv``."""
        return _TracedQkv(source, {**give_norm(norm), **options}), 0

    def mlp(
        self, first: Source, last: Source, *, norm: Any = None, **options: Any
    ) -> tuple[Any, int]:
        """As ``ops.Mlp``."""
        return _TracedMlp(first, last, {**give_norm(norm), **options}), 0


Maker = _Prepare | _Trace
PREPARE, TRACE = _Prepare(), _Trace()


def refuse_grad(op: str, inputs: Iterable[Any], parameters: Iterable[Any]) -> None:
    """RuntimeError where a tensor requires grad; for where grad mode is on."""
    culprit = ""
    for name, tensors in (("the input", inputs), ("a parameter", parameters)):
        for tensor in tensors:
            if not culprit and isinstance(tensor, Tensor) and tensor.requires_grad:
                culprit = name
    if culprit:
        raise RuntimeError(
            f"[{op}] {culprit} requires grad, and this layer is for inference only: "
            "call the model under torch.inference_mode() or torch.no_grad()"
        )


def _refuse(op: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """``refuse_grad`` for the arguments of an operator, whose lists hold the parameters."""
    norm = [kwargs.get("norm_weight"), kwargs.get("norm_bias")]
    lists = [tensor for each in args if isinstance(each, (list, tuple)) for tensor in each]
    refuse_grad(op, [*args, kwargs.get("parallel_residual")], [*lists, *norm])


def _bound_linear(
    x: Tensor,
    weight: list[Tensor],
    bias: list[Tensor | None],
    residual: Tensor | None = None,
    **options: Any,
) -> Any:
    key = ("bound_linear", *options.items())
    entry = _table.find(key, [*weight, *bias])
    if entry is not None:
        return entry.op(x, residual)
    source = Source(weight, bias, options.pop("transposed", False))
    op, _ = _Prepare("bound_linear", key).linear(source, **options)
    return op(x, residual)


def _bound_qkv(
    x: Tensor,
    weight: list[Tensor],
    bias: list[Tensor | None],
    *,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    **options: Any,
) -> Any:
    key = ("bound_qkv", *options.items())
    entry = _table.find(key, [*weight, *bias, norm_weight, norm_bias])
    if entry is not None:
        return entry.op(x)
    source = Source(weight, bias, options.pop("transposed", False))
    norm = take_norm(options, norm_weight, norm_bias)
    op, _ = _Prepare("bound_qkv", key).qkv(source, norm=norm, **options)
    return op(x)


def _bound_mlp(
    x: Tensor,
    weight_in: list[Tensor],
    bias_in: list[Tensor | None],
    weight_out: list[Tensor],
    bias_out: list[Tensor | None],
    *inputs: Tensor | None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    parallel_residual: Tensor | None = None,
    **options: Any,
) -> Any:
    key = ("bound_mlp", *options.items())
    entry = _table.find(key, [*weight_in, *bias_in, *weight_out, *bias_out, norm_weight, norm_bias])
    if entry is not None:
        return entry.op(x, *inputs, add_residual=parallel_residual)
    transposed = options.pop("transposed", False)
    first, last = Source(weight_in, bias_in, transposed), Source(weight_out, bias_out, transposed)
    norm = take_norm(options, norm_weight, norm_bias)
    op, _ = _Prepare("bound_mlp", key).mlp(first, last, norm=norm, **options)
    return op(x, *inputs, add_residual=parallel_residual)


def _merged_fake(weights: list[Tensor], transposed: bool) -> Tensor:
    logical = [weight.t() for weight in weights] if transposed else weights
    return logical[0] if len(logical) == 1 else torch.cat(list(logical))


def _bound_linear_fake(
    x: Tensor, weight: list[Tensor], bias: list[Tensor | None], *residual: Any, **options: Any
) -> Tensor:
    return linear_fake(x, _merged_fake(weight, options.pop("transposed", False)), **options)


def _bound_qkv_fake(
    x: Tensor, weight: list[Tensor], bias: list[Tensor | None], **options: Any
) -> Tensor:
    return qkv_fake(x, _merged_fake(weight, options.pop("transposed", False)), **options)


def _bound_mlp_fake(
    x: Tensor,
    weight_in: list[Tensor],
    bias_in: list[Tensor | None],
    weight_out: list[Tensor],
    bias_out: list[Tensor | None],
    *inputs: Tensor | None,
    **options: Any,
) -> Tensor:
    transposed = options.pop("transposed", False)
    first, last = (_merged_fake(weights, transposed) for weights in (weight_in, weight_out))
    return mlp_fake(x, first, last, **options)


def _refusing(op: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, which refuses tensors that require grad: a bound op does not know of its own."""

    def refusing(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            _refuse(op, args, kwargs)
        return kernel(*args, **kwargs)

    return refusing


_INPUTS = "Tensor x, Tensor[] weight, Tensor?[] bias"

register(
    "bound_linear",
    f"({_INPUTS}, Tensor? residual=None, *, str? activation=None, bool gated=False, {_FORM}) "
    "-> Tensor",
    _refusing("bound_linear", _bound_linear),
    _bound_linear_fake,
    _refuse,
)
register(
    "bound_qkv",
    f"({_INPUTS}, *, {NORM}, {_FORM}) -> Tensor",
    _refusing("bound_qkv", _bound_qkv),
    _bound_qkv_fake,
    _refuse,
)
register(
    "bound_mlp",
    "(Tensor x, Tensor[] weight_in, Tensor?[] bias_in, Tensor[] weight_out, Tensor?[] bias_out, "
    "Tensor? residual=None, Tensor? input_bias=None, *, str? activation=None, bool gated=False, "
    f"{NORM}, bool add_residual=True, Tensor? parallel_residual=None, {_FORM}) -> Tensor",
    _refusing("bound_mlp", _bound_mlp),
    _bound_mlp_fake,
    _refuse,
)
