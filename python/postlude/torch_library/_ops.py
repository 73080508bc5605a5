"""The operators linear, qkv, mlp, norm and residual_add: schemas, kernels and fake kernels.

The kernels are the functions of ``postlude.ops``. Schemas have their arguments and defaults, but
for a norm, which is spelt out, and ``stream``, which is torch's current one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import ops
from ..norms import LayerNorm, RMSNorm
from ._register import register

NORM = (
    "str? norm=None, Tensor? norm_weight=None, Tensor? norm_bias=None, float eps=0.0, "
    "float weight_offset=0.0"
)
OPTIONS = "bool batch_invariant=False, bool weights_static=True, bool allow_tf32=False"
_NORM_ARGUMENTS = ("norm", "norm_weight", "norm_bias", "eps", "weight_offset")

_LINEAR = (
    "Tensor x, Tensor weight, Tensor? bias=None, *, str? activation=None, bool gated=False, "
    'str layout="gate_up", Tensor? residual=None, float alpha=1.0, float? clamp=None, ' + OPTIONS
)
_QKV = f"Tensor x, Tensor weight, Tensor? bias=None, *, {NORM}, {OPTIONS}"
_MLP = (
    "Tensor x, Tensor weight_in, Tensor weight_out, Tensor? bias_in=None, Tensor? bias_out=None, "
    '*, str? activation, bool gated=False, str layout="gate_up", float? clamp=None, '
    f"{NORM}, Tensor? residual=None, Tensor? input_bias=None, bool add_residual=True, "
    f"Tensor? parallel_residual=None, {OPTIONS}"
)
_SUM = "Tensor? residual=None, Tensor? bias=None"
_AFTER = "Tensor? add_after=None, bool batch_invariant=False"
_RESIDUAL_ADD = (
    "Tensor hidden_state, Tensor residual, *, str form, Tensor? attention_output=None, "
    "Tensor? attention_bias=None, Tensor? final_bias=None, int mp_size=1, "
    "bool batch_invariant=False"
)


def take_norm(
    options: dict[str, Any], norm_weight: Tensor | None = None, norm_bias: Tensor | None = None
) -> LayerNorm | RMSNorm | None:
    """Takes the norm out of an operator's keyword arguments. ValueError for an unknown kind."""
    given = {name: options.pop(name) for name in _NORM_ARGUMENTS if name in options}
    kind, eps = given.get("norm"), given.get("eps", 0.0)
    weight, bias = given.get("norm_weight", norm_weight), given.get("norm_bias", norm_bias)
    if kind == "layer":
        return LayerNorm(weight, bias, eps)
    if kind == "rms":
        return RMSNorm(weight, eps, given.get("weight_offset", 0.0))
    if kind is not None:
        raise ValueError(f"[norm] norm: expected 'layer', 'rms' or None, got {kind!r}")
    return None


def give_norm(norm: LayerNorm | RMSNorm | None) -> dict[str, Any]:
    """The keyword arguments of an operator that say this norm: the inverse of ``take_norm``."""
    if norm is None:
        return {}
    given: dict[str, Any] = {"norm": norm.kind, "norm_weight": norm.weight, "eps": norm.eps}
    if isinstance(norm, LayerNorm):
        given["norm_bias"] = norm.bias
    else:
        given["weight_offset"] = norm.weight_offset
    return given


def rows_like(x: Tensor, columns: Any) -> Tensor:
    """A new contiguous tensor with x's leading dimensions."""
    return x.new_empty((*x.shape[:-1], columns))


def expect_matrix(op: str, argument: str, weight: Tensor, inputs: Any) -> None:
    """ValueError where ``weight`` is not (out, inputs)."""
    if weight.dim() != 2:
        raise ValueError(f"[{op}] {argument}: expected 2 dimensions, got {weight.dim()}")
    torch._check_value(
        weight.shape[1] == inputs,
        lambda: f"[{op}] {argument}: expected shape (out, {inputs}), got {tuple(weight.shape)}",
    )


def _qkv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any) -> Any:
    norm = take_norm(options)
    return ops.qkv(x, weight, bias, norm=norm, **options)


def _mlp(x: Tensor, weight_in: Tensor, weight_out: Tensor, *biases: Any, **options: Any) -> Any:
    norm = take_norm(options)
    parallel = options.pop("parallel_residual", None)
    if parallel is not None:
        options["add_residual"] = parallel
    return ops.mlp(x, weight_in, weight_out, *biases, norm=norm, **options)


def _mlp_all(*args: Any, **options: Any) -> list[Tensor]:
    results = _mlp(*args, **options)
    return list(results) if isinstance(results, tuple) else [results]


def _norm(x: Tensor, *args: Any, **options: Any) -> Any:
    options.update(zip(_NORM_ARGUMENTS, args, strict=False))
    norm = take_norm(options)
    return ops.norm(x, norm, **options)


def _writing(function: Callable[..., Any]) -> Callable[..., None]:
    """The kernel of an overload ``out``: the same, returning nothing."""

    def kernel(*args: Any, **options: Any) -> None:
        function(*args, **options)

    return kernel


def linear_fake(x: Tensor, weight: Tensor, *bias: Tensor | None, **options: Any) -> Tensor:
    """What linear gives."""
    expect_matrix("linear", "weight", weight, x.shape[-1])
    rows = weight.shape[0]
    return rows_like(x, rows // 2 if options.get("gated") else rows)


def qkv_fake(x: Tensor, weight: Tensor, *bias: Tensor | None, **options: Any) -> Tensor:
    """What qkv gives."""
    expect_matrix("qkv", "weight", weight, x.shape[-1])
    return rows_like(x, weight.shape[0])


def mlp_fake(
    x: Tensor, weight_in: Tensor, weight_out: Tensor, *biases: Tensor | None, **options: Any
) -> Tensor:
    """What mlp gives."""
    expect_matrix("mlp", "weight_in", weight_in, x.shape[-1])
    inner = weight_in.shape[0]
    expect_matrix("mlp", "weight_out", weight_out, inner // 2 if options.get("gated") else inner)
    return rows_like(x, weight_out.shape[0])


def same_fake(x: Tensor, *args: Any, **options: Any) -> Tensor:
    """What norm and residual_add give."""
    return rows_like(x, x.shape[-1])


def _mlp_all_fake(x: Tensor, *args: Any, **options: Any) -> list[Tensor]:
    wanted = (options.get(name, False) for name in ("return_residual", "return_normed"))
    return [mlp_fake(x, *args, **options), *(same_fake(x) for want in wanted if want)]


def _pair_fake(first: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def fake(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        return first(x, *args, **options), same_fake(x)

    return fake


def _qkv_normed(*args: Any, **options: Any) -> Any:
    return _qkv(*args, return_normed=True, **options)


_NORMED = "Tensor(b!)? normed_out=None"
_RESIDUAL = "Tensor(c!)? residual_out=None"

register("linear", f"({_LINEAR}) -> Tensor", ops.linear, linear_fake)
register(
    "linear.out", f"({_LINEAR}, Tensor(a!) out) -> ()", _writing(ops.linear), _writing(linear_fake)
)
register("qkv", f"({_QKV}) -> Tensor", _qkv, qkv_fake)
register("qkv.normed", f"({_QKV}) -> (Tensor, Tensor)", _qkv_normed, _pair_fake(qkv_fake))
register(
    "qkv.out", f"({_QKV}, Tensor(a!) out, {_NORMED}) -> ()", _writing(_qkv), _writing(qkv_fake)
)
register("mlp", f"({_MLP}) -> Tensor", _mlp, mlp_fake)
register(
    "mlp.all",
    f"({_MLP}, bool return_residual=False, bool return_normed=False) -> Tensor[]",
    _mlp_all,
    _mlp_all_fake,
)
register(
    "mlp.out",
    f"({_MLP}, Tensor(a!) out, {_NORMED}, {_RESIDUAL}) -> ()",
    _writing(_mlp),
    _writing(mlp_fake),
)
register("norm", f"(Tensor x, {NORM}, *, {_AFTER}) -> Tensor", _norm, same_fake)
register(
    "norm.residual",
    f"(Tensor x, {NORM}, *, {_SUM}, {_AFTER}) -> (Tensor, Tensor)",
    _norm,
    _pair_fake(same_fake),
)
register(
    "norm.out",
    f"(Tensor x, {NORM}, *, {_SUM}, {_AFTER}, Tensor(a!) out, {_RESIDUAL}) -> ()",
    _writing(_norm),
    _writing(same_fake),
)
register("residual_add", f"({_RESIDUAL_ADD}) -> Tensor", ops.residual_add, same_fake)
register(
    "residual_add.out",
    f"({_RESIDUAL_ADD}, Tensor(a!) out) -> ()",
    _writing(ops.residual_add),
    _writing(same_fake),
)
