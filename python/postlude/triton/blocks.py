"""The Triton ops: linear, qkv, mlp and norm, checked and put together from two kernels."""

from __future__ import annotations

from torch import Tensor

from . import arguments
from .arguments import Rows, as_rows, refuse
from .launch import Epilogue, Norm, Terms, normalise, product, require


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    gated: bool = False,
    layout: str = "gate_up",
    residual: Tensor | None = None,
    alpha: float = 1.0,
    clamp: float | None = None,
    out: Tensor | None = None,
    autotune: bool = True,
) -> Tensor:
    """x (*, in), weight (N, in), bias (N,) -> (*, N).

    Gated: weight (2 * I, in), bias (2 * I,) -> (*, I).

    z = x W^T + bias; h = act(z), or act(z_gate) * z_up where gated; out = residual + alpha * h, as
    ``postlude.ops.linear`` has it. ``out``, contiguous, receives the result; it may be exactly
    ``residual`` and shares no other memory. See the package for dtypes, options and errors.
    """
    x = _input("linear", x)
    weight = arguments.matrix("linear", "weight", weight, x.shape[-1], x)
    columns = _outputs("linear", "weight", weight, gated)
    shape = (*x.shape[:-1], columns)
    _check_gate("linear", gated, layout, clamp)
    epilogue = Epilogue(
        arguments.vector("linear", "bias", bias, weight.shape[0], x),
        arguments.activation_name("linear", activation),
        gated,
        layout,
        None
        if residual is None
        else arguments.same_shape("linear", "residual", residual, shape, x),
        alpha,
        clamp,
    )
    if out is None:
        out = x.new_empty(shape)
    else:
        others = {"x": x, "weight": weight, "bias": epilogue.bias, "residual": residual}
        arguments.check_output("linear", "out", out, shape, others)
    product(as_rows("linear", "x", x), weight, epilogue, out, autotune)
    return out


def qkv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: Norm | None = None,
    return_normed: bool = False,
    autotune: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """x (*, in), weight (N, in), bias (N,) -> y (*, N), or with ``return_normed`` (y, n (*, in)).

    n = norm(x); y = n W^T + bias. See the package for dtypes, options and errors.
    """
    x = _input("qkv", x)
    weight = arguments.matrix("qkv", "weight", weight, x.shape[-1], x)
    bias = arguments.vector("qkv", "bias", bias, weight.shape[0], x)
    arguments.check_norm("qkv", norm, x.shape[-1], x)
    rows = normed = as_rows("qkv", "x", x)
    if norm is not None or return_normed:
        normed = _packed(x)
        normalise(Terms(rows, None, None), norm, normed.tensor, None)
    y = x.new_empty((*x.shape[:-1], weight.shape[0]))
    product(normed, weight, _plain(bias), y, autotune)
    return (y, normed.tensor) if return_normed else y


def mlp(
    x: Tensor,
    weight_in: Tensor,
    weight_out: Tensor,
    bias_in: Tensor | None = None,
    bias_out: Tensor | None = None,
    *,
    activation: str | None,
    gated: bool = False,
    layout: str = "gate_up",
    clamp: float | None = None,
    norm: Norm | None = None,
    residual: Tensor | None = None,
    input_bias: Tensor | None = None,
    add_residual: bool | Tensor = True,
    return_residual: bool = False,
    return_normed: bool = False,
    residual_out: Tensor | None = None,
    autotune: bool = True,
) -> Tensor | tuple[Tensor, ...]:
    """x (*, H), weight_in (I, H), or (2 * I, H) where gated, weight_out (N, I) -> y (*, N), or (y,
    [r], [n]) with ``return_residual`` and ``return_normed``.

    r = x (+ residual) (+ input_bias); n = norm(r); h = act(n Win^T + bias_in), or act(gate) * up
    where gated; y = h Wout^T (+ bias_out), plus r where ``add_residual`` is True (then N = H), or
    plus that tensor (*, N), as ``postlude.ops.mlp`` has it. ``residual_out``, contiguous, receives
    r whether returned or not; it may be exactly ``x`` or ``residual``. See the package for dtypes,
    options and errors.
    """
    x = _input("mlp", x)
    hidden = x.shape[-1]
    weight_in = arguments.matrix("mlp", "weight_in", weight_in, hidden, x)
    width = _outputs("mlp", "weight_in", weight_in, gated)
    weight_out = arguments.matrix("mlp", "weight_out", weight_out, width, x)
    shape = (*x.shape[:-1], weight_out.shape[0])
    _check_gate("mlp", gated, layout, clamp)
    arguments.check_norm("mlp", norm, hidden, x)
    bias_in = arguments.vector("mlp", "bias_in", bias_in, weight_in.shape[0], x)
    bias_out = arguments.vector("mlp", "bias_out", bias_out, weight_out.shape[0], x)
    name = arguments.activation_name("mlp", activation)
    terms = _terms("mlp", x, residual, input_bias)
    added: Rows | None = None
    adds_r = False
    if isinstance(add_residual, Tensor):
        added = arguments.same_shape("mlp", "add_residual", add_residual, shape, x)
    else:
        adds_r = bool(add_residual)
    if adds_r and shape != tuple(x.shape):
        raise refuse("mlp", "weight_out", f"{hidden} rows, as r is added", f"{shape[-1]} rows")

    summing = residual is not None or input_bias is not None
    summed = _packed(x) if summing or return_residual else None
    if residual_out is not None:
        others = {"x": x, "residual": residual, "input_bias": input_bias}
        others |= {"weight_in": weight_in, "weight_out": weight_out, "bias_in": bias_in}
        others |= {"bias_out": bias_out}
        others |= {"add_residual": add_residual if isinstance(add_residual, Tensor) else None}
        arguments.check_output("mlp", "residual_out", residual_out, tuple(x.shape), others)
        summed = as_rows("mlp", "residual_out", residual_out)
    r = terms.x if summed is None else summed
    normed = r
    if norm is not None or return_normed:
        normed = _packed(x)
        normalise(terms, norm, normed.tensor, None if summed is None else summed.tensor)
    elif summed is not None:
        normalise(terms, None, summed.tensor, None)
    if adds_r:
        added = r

    h = _packed(x, width)
    product(
        normed,
        weight_in,
        Epilogue(bias_in, name, gated, layout, None, 1.0, clamp),
        h.tensor,
        autotune,
    )
    y = x.new_empty(shape)
    product(h, weight_out, _plain(bias_out, added), y, autotune)
    extra = ((r.tensor,) if return_residual else ()) + ((normed.tensor,) if return_normed else ())
    return (y, *extra) if extra else y


def norm(
    x: Tensor,
    norm: Norm | None,
    *,
    residual: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """x (*, H) -> n (*, H), or (n, r) where ``residual`` (*, H) or ``bias`` (H,) is given.

    r = x (+ residual) (+ bias); n = norm(r). See the package for dtypes and errors.
    """
    x = _input("norm", x)
    arguments.check_norm("norm", norm, x.shape[-1], x)
    terms = _terms("norm", x, residual, bias)
    normed = _packed(x).tensor
    if residual is None and bias is None:
        normalise(terms, norm, normed, None)
        return normed
    summed = _packed(x).tensor
    normalise(terms, norm, normed, summed)
    return normed, summed


def _input(op: str, x: Tensor) -> Tensor:
    x = arguments.activations(op, x)
    require(op, x)
    return x


def _outputs(op: str, name: str, weight: Tensor, gated: bool) -> int:
    rows = weight.shape[0]
    if gated and rows % 2:
        raise refuse(op, name, "an even number of rows, as it is gated", rows)
    return rows // 2 if gated else rows


def _check_gate(op: str, gated: bool, layout: str, clamp: float | None) -> None:
    if layout not in ("gate_up", "up_gate"):
        raise refuse(op, "layout", "'gate_up' or 'up_gate'", repr(layout))
    if clamp is not None and not gated:
        raise refuse(op, "clamp", "None, as it is not gated", clamp)
    if clamp is not None and not clamp > 0:
        raise refuse(op, "clamp", "> 0", clamp)


def _terms(op: str, x: Tensor, residual: Tensor | None, bias: Tensor | None) -> Terms:
    shape = tuple(x.shape)
    return Terms(
        as_rows(op, "x", x),
        None if residual is None else arguments.same_shape(op, "residual", residual, shape, x),
        arguments.vector(op, "bias" if op == "norm" else "input_bias", bias, shape[-1], x),
    )


def _plain(bias: Tensor | None, residual: Rows | None = None) -> Epilogue:
    return Epilogue(bias, "none", False, "gate_up", residual, 1.0, None)


def _packed(x: Tensor, columns: int | None = None) -> Rows:
    """A new contiguous tensor (*, columns), by default of x's shape, as rows."""
    shape = tuple(x.shape) if columns is None else (*x.shape[:-1], columns)
    return as_rows("new", "out", x.new_empty(shape))
