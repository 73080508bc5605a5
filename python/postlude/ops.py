"""The operations: linear, qkv, mlp, norm and residual_add, on the tensors of any framework.

Tensors may be of torch, NumPy or any framework with ``__dlpack__`` (JAX, CuPy, ...), all of one
framework in one call; results are new tensors of that framework, or ``out`` where it is given.
Nothing is copied on the way in.

Common to all ops:

- ``x`` and the other activations have any leading dimensions (``*``), the same for all, any strides
  but the inner one, which is 1, and share one dtype: float32, bfloat16 or float16. Biases and norm
  weights may also be float32.
- ``weight`` is (out, in) with stride 1 in either dimension (so an [in, out] matrix is passed as
  ``w.t()``), of x's dtype; or a ``postlude.Weight``.
- Sums and epilogues are float32, and each stored tensor is rounded once. On a GPU, products of
  float32 are made of three TF32 ones, which leave out at most about 2^-21 of each, whatever the
  framework's setting for TF32. A size of 0 is valid.
- ``out`` (and ``residual_out``) may be exactly ``x`` or a residual; any other overlap is refused.
- ``stream``: the CUDA stream to run on, as an int. By default torch's or CuPy's current stream,
  XLA's own for JAX (which takes no other), and for other frameworks the default stream. Ignored on
  the CPU.
- ``batch_invariant=True``: row i of the result has the same bits whatever the number of rows is.
- ``weights_static``, of the ops that take a weight: True promises that the weights are not what
  an op of this module, or a product of torch's, has just written. On a GPU kernels may then read
  weights while those ahead of them in the stream still run; torch's copies and elementwise
  kernels, ``pack_weight``, ``quantize_weight`` and ``Weight.unpack`` may come right before. False,
  for a weight that has just been computed: no kernel reads a weight before all that is ahead of it
  in the stream has ended, which costs that overlap. No effect on the CPU.
- ``allow_tf32``, of the ops that take a weight: True lets a GPU make products of float32 of one
  TF32 product, which is faster: x and weight are rounded to 11 bits, to the nearest, which leaves
  each product off by up to 2^-10, and sums stay float32. No effect on the CPU and other dtypes.
- ``activation``: None, "relu", "gelu_erf", "gelu_tanh", "quick_gelu", "silu" or "relu2"; also
  "gelu" (gelu_erf), "gelu_new" and "gelu_pytorch_tanh" (gelu_tanh) and "swish" (silu).
- ``gated``: the weight holds two halves, [gate; up] rows, or [up; gate] with ``layout="up_gate"``,
  and so does its bias. ``clamp`` (> 0, gated only) limits the gate to at most clamp and up to
  [-clamp, clamp] before they are multiplied.
- Inference only: RuntimeError where torch's grad mode is on and an argument requires grad.

Errors: ValueError and TypeError say the op, the argument, what was expected and what came;
``postlude.Unsupported`` where no kernel of this build runs the problem; RuntimeError where CUDA
fails.
"""

from __future__ import annotations

import inspect
from typing import Any

from . import _interop
from ._interop import _C
from .norms import LayerNorm, RMSNorm

Norm = LayerNorm | RMSNorm
Weight = _C.Weight

__all__ = [
    "Linear",
    "Mlp",
    "Qkv",
    "explain",
    "linear",
    "mlp",
    "norm",
    "pack_weight",
    "qkv",
    "quantize_weight",
    "quantized_weight",
    "residual_add",
]


def linear(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    activation: str | None = None,
    gated: bool = False,
    layout: str = "gate_up",
    residual: Any = None,
    alpha: float = 1.0,
    clamp: float | None = None,
    out: Any = None,
    stream: int | None = None,
    batch_invariant: bool = False,
    weights_static: bool = True,
    allow_tf32: bool = False,
) -> Any:
    """x (*, in), weight (N, in), bias (N,) -> (*, N).

    Gated: weight (2 * I, in), bias (2 * I,) -> (*, I).

    z = x W^T + bias; h = act(z), or act(z_gate) * z_up where gated; out = residual + alpha * h.
    ``residual`` has out's shape. See the module for dtypes, options and errors.
    """
    core = _interop.traced() if _interop.tracing() else _interop.cores[type(x)]
    return core.linear(
        x,
        weight,
        bias,
        activation,
        gated,
        layout,
        residual,
        alpha,
        clamp,
        out,
        stream,
        batch_invariant,
        weights_static,
        allow_tf32,
    )


def qkv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    norm: Norm | None = None,
    return_normed: bool = False,
    out: Any = None,
    normed_out: Any = None,
    stream: int | None = None,
    batch_invariant: bool = False,
    weights_static: bool = True,
    allow_tf32: bool = False,
) -> Any:
    """x (*, in), weight (N, in), bias (N,) -> y (*, N), or with ``return_normed`` (y, n (*, in)).

    n = norm(x); y = n W^T + bias. ``normed_out``, where given, receives n. See the module for
    dtypes and errors.
    """
    core = _interop.traced() if _interop.tracing() else _interop.cores[type(x)]
    return core.qkv(
        x,
        weight,
        bias,
        norm,
        return_normed,
        out,
        normed_out,
        stream,
        batch_invariant,
        weights_static,
        allow_tf32,
    )


def mlp(
    x: Any,
    weight_in: Any,
    weight_out: Any,
    bias_in: Any = None,
    bias_out: Any = None,
    *,
    activation: str | None,
    gated: bool = False,
    layout: str = "gate_up",
    clamp: float | None = None,
    norm: Norm | None = None,
    residual: Any = None,
    input_bias: Any = None,
    add_residual: Any = True,
    return_residual: bool = False,
    return_normed: bool = False,
    out: Any = None,
    residual_out: Any = None,
    normed_out: Any = None,
    stream: int | None = None,
    batch_invariant: bool = False,
    weights_static: bool = True,
    allow_tf32: bool = False,
) -> Any:
    """x (*, H), weight_in (I, H), or (2 * I, H) where gated, weight_out (N, I) -> y (*, N).

    r = x (+ residual) (+ input_bias); n = norm(r); h = act(n Win^T + bias_in), or act(gate) * up
    where gated; y = h Wout^T (+ bias_out), plus r where ``add_residual`` is True (then N = H), or
    plus that tensor (*, N) where it is one. ``residual`` is (*, H) and ``input_bias`` (H,).

    ``return_residual`` and ``return_normed`` make the result (y, [r], [n]), r and n (*, H);
    ``residual_out`` and ``normed_out`` receive them whether returned or not. See the module for
    dtypes, options and errors.
    """
    core = _interop.traced() if _interop.tracing() else _interop.cores[type(x)]
    return core.mlp(
        x,
        weight_in,
        weight_out,
        bias_in,
        bias_out,
        activation,
        gated,
        layout,
        clamp,
        norm,
        residual,
        input_bias,
        add_residual,
        return_residual,
        return_normed,
        out,
        residual_out,
        normed_out,
        stream,
        batch_invariant,
        weights_static,
        allow_tf32,
    )


def norm(
    x: Any,
    norm: Norm | None,
    *,
    residual: Any = None,
    bias: Any = None,
    add_after: Any = None,
    out: Any = None,
    residual_out: Any = None,
    stream: int | None = None,
    batch_invariant: bool = False,
) -> Any:
    """x (*, H) -> n (*, H), or (n, r) where ``residual``, ``bias`` or ``residual_out`` is given.

    r = x (+ residual) (+ bias); n = norm(r) (+ add_after); without a norm n = r. ``residual`` and
    ``add_after`` are (*, H), ``bias`` is (H,). ``out`` receives n and ``residual_out`` r. See the
    module for dtypes and errors.
    """
    core = _interop.traced() if _interop.tracing() else _interop.cores[type(x)]
    return core.norm(x, norm, residual, bias, add_after, out, residual_out, stream, batch_invariant)


def residual_add(
    hidden_state: Any,
    residual: Any,
    *,
    form: str,
    attention_output: Any = None,
    attention_bias: Any = None,
    final_bias: Any = None,
    mp_size: int = 1,
    out: Any = None,
    stream: int | None = None,
    batch_invariant: bool = False,
) -> Any:
    """Sums of residuals, all (*, H), and biases (H,), as DeepSpeed inference has them -> (*, H).

    With h = hidden_state, r = residual, a = attention_output, ba = attention_bias, bf = final_bias
    and p = mp_size, absent terms counting as 0:

    - form="pre_ln": (r + a + ba + bf) / p + h
    - form="post_ln": r + h + bf; takes no attention_output and no attention_bias
    - form="parallel": h + a + (r + ba + bf) / p

    ValueError for another form or mp_size < 1. See the module for dtypes and the other errors.
    """
    core = _interop.traced() if _interop.tracing() else _interop.cores[type(hidden_state)]
    return core.residual_add(
        hidden_state,
        residual,
        form,
        attention_output,
        attention_bias,
        final_bias,
        mp_size,
        out,
        stream,
        batch_invariant,
    )


def pack_weight(
    weight: Any,
    *,
    gated: bool = False,
    layout: str = "gate_up",
    norm: Norm | None = None,
    stream: int | None = None,
) -> Weight:
    """Copies ``weight`` (out, in), stride 1 in either dimension, into the layout that the device's
    kernels read fastest: on a GPU [out, in].

    ``gated`` and ``layout`` say what the calls will; ``norm`` is the norm that ``qkv`` will apply
    to x first: its values count as they are now, and its tensors are kept. On a GPU a bfloat16 or
    float16 Weight holds a second copy with this norm folded in, unless in is under 64 or the
    products leave the dtype's range; ``explain`` says whether a call takes it.
    ``Weight.unpack()`` gives the matrix back, bit for bit. ValueError for a wrong rank, stride or
    dtype, an odd number of rows where gated, or a norm of another size.
    """
    return _C.pack_weight(weight, gated, layout, norm, stream)


def quantize_weight(
    weight: Any,
    *,
    bits: int = 8,
    group: str = "rows",
    groups: int | None = None,
    group_size: int | None = None,
    stream: int | None = None,
) -> Weight:
    """Quantises ``weight`` (out, in) to symmetric int8: over each group, scale = max|w| / 127 and
    q = round-half-even(w / scale) in [-127, 127], in float32; where scale is 0, q = 0.

    - group="rows": ``groups`` blocks of out / groups consecutive rows; scales (groups,)
    - group="k": ``group_size`` consecutive inputs of one row; scales (out, in / group_size)

    ValueError where the groups do not divide the weight, or for bits other than 8.
    """
    return _C.quantize_weight(weight, bits, group, groups, group_size, stream)


def quantized_weight(weight: Any, scales: Any, *, group: str) -> Weight:
    """A Weight on existing int8 ``weight`` (out, in) and float32 ``scales``: kept, not copied.

    ``scales`` has the shape that ``quantize_weight`` says for this ``group``. ValueError for
    another shape or dtype.
    """
    return _C.quantized_weight(weight, scales, group)


class _Bound:
    """What the bound ops share: the compiled op that holds their weights."""

    __slots__ = ("_call",)
    _call: Any

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed copies that it made."""
        return self._call.packed_bytes


class Linear(_Bound):
    """``linear`` with its weight bound once, and called with activations only.

    Arguments as ``linear``'s. With ``pack`` a plain weight is copied into the layout that the
    kernels read fastest, and the tensor given is not kept; biases, and a weight that is not packed,
    are referenced and kept alive. Binding takes values: it needs no gradient, and later changes of
    a packed weight do not show. Errors as ``pack_weight``'s. Immutable; any number of threads may
    call it at once.
    """

    __slots__ = ()

    def __init__(
        self,
        weight: Any,
        bias: Any = None,
        *,
        activation: str | None = None,
        gated: bool = False,
        layout: str = "gate_up",
        alpha: float = 1.0,
        clamp: float | None = None,
        pack: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> None:
        self._call = _C.Linear(
            weight,
            bias,
            activation,
            gated,
            layout,
            alpha,
            clamp,
            pack,
            batch_invariant,
            weights_static,
            allow_tf32,
        )

    def __call__(
        self, x: Any, residual: Any = None, *, out: Any = None, stream: int | None = None
    ) -> Any:
        """x (*, in), residual (*, N) -> (*, N); see ``linear``."""
        return self._call(x, residual, out, stream)


class Qkv(_Bound):
    """``qkv`` with its weight, bias and norm bound once; otherwise as ``Linear``.

    The norm goes into ``pack_weight``: later changes of its values do not show where it is folded.
    """

    __slots__ = ()

    def __init__(
        self,
        weight: Any,
        bias: Any = None,
        *,
        norm: Norm | None = None,
        return_normed: bool = False,
        pack: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> None:
        self._call = _C.Qkv(
            weight, bias, norm, return_normed, pack, batch_invariant, weights_static, allow_tf32
        )

    def __call__(
        self, x: Any, *, out: Any = None, normed_out: Any = None, stream: int | None = None
    ) -> Any:
        """x (*, in) -> y (*, N), or (y, n); see ``qkv``."""
        return self._call(x, out, normed_out, stream)


class Mlp(_Bound):
    """``mlp`` with its weights, biases and norm bound once; otherwise as ``Linear``."""

    __slots__ = ()

    def __init__(
        self,
        weight_in: Any,
        weight_out: Any,
        bias_in: Any = None,
        bias_out: Any = None,
        *,
        activation: str | None,
        gated: bool = False,
        layout: str = "gate_up",
        clamp: float | None = None,
        norm: Norm | None = None,
        add_residual: bool = True,
        return_residual: bool = False,
        return_normed: bool = False,
        pack: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> None:
        self._call = _C.Mlp(
            weight_in,
            weight_out,
            bias_in,
            bias_out,
            activation,
            gated,
            layout,
            clamp,
            norm,
            add_residual,
            return_residual,
            return_normed,
            pack,
            batch_invariant,
            weights_static,
            allow_tf32,
        )

    def __call__(
        self,
        x: Any,
        residual: Any = None,
        input_bias: Any = None,
        *,
        add_residual: Any = None,
        out: Any = None,
        residual_out: Any = None,
        normed_out: Any = None,
        stream: int | None = None,
    ) -> Any:
        """x (*, H) -> y (*, N), or (y, [r], [n]); see ``mlp``.

        ``add_residual``: None for what the constructor was told, or a tensor (*, N) that is added
        instead of r.
        """
        return self._call(
            x, residual, input_bias, add_residual, out, residual_out, normed_out, stream
        )


_EXPLAINED = {function.__name__: function for function in (linear, qkv, mlp, norm, residual_add)}


def explain(op: str, *args: Any, **kwargs: Any) -> str:
    """How ``op`` would run with these arguments: each step, its kernel, why others were refused.

    ``op`` is "linear", "qkv", "mlp", "norm" or "residual_add"; what follows is as the op itself
    takes it. Nothing is computed. ValueError for another op; else the op's errors.
    """
    function = _EXPLAINED.get(op)
    if function is None:
        raise ValueError(f"[explain] op: expected one of {', '.join(_EXPLAINED)}, got {op!r}")
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    text: str = getattr(_C, f"explain_{op}")(*bound.arguments.values())
    return text
