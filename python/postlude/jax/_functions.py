"""The functions of ``postlude.jax``: each collects its arrays and options for one custom call."""

from __future__ import annotations

from typing import Any

from ..norms import LayerNorm, RMSNorm
from ._call import call, flag, take_norm

Norm = LayerNorm | RMSNorm


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
    stored: str = "out_in",
    batch_invariant: bool = False,
    weights_static: bool = False,
    allow_tf32: bool = False,
) -> Any:
    """x (*, in), weight (N, in), bias (N,) -> (*, N), as ``postlude.ops.linear``.

    Gated: weight (2 * I, in), bias (2 * I,) -> (*, I). z = x W^T + bias; h = act(z), or
    act(z_gate) * z_up where gated; the result is residual + alpha * h. See the module for dtypes,
    options and errors.
    """
    arrays = {"x": x, "weight": weight, "bias": bias, "residual": residual}
    options = {
        "activation": activation,
        "gated": flag("linear", "gated", gated),
        "layout": layout,
        "alpha": float(alpha),
        "clamp": None if clamp is None else float(clamp),
        "batch_invariant": flag("linear", "batch_invariant", batch_invariant),
        "weights_static": flag("linear", "weights_static", weights_static),
        "allow_tf32": flag("linear", "allow_tf32", allow_tf32),
    }
    return call("linear", arrays, options, stored=stored)[0]


def qkv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    norm: Norm | None = None,
    return_normed: bool = False,
    stored: str = "out_in",
    batch_invariant: bool = False,
    weights_static: bool = False,
    allow_tf32: bool = False,
) -> Any:
    """x (*, in), weight (N, in), bias (N,) -> y (*, N), or with ``return_normed`` (y, n (*, in)),
    as ``postlude.ops.qkv``: n = norm(x); y = n W^T + bias. See the module for dtypes and errors.
    """
    norm_arrays, norm_options = take_norm("qkv", norm)
    arrays = {"x": x, "weight": weight, "bias": bias, **norm_arrays}
    options = {
        **norm_options,
        "batch_invariant": flag("qkv", "batch_invariant", batch_invariant),
        "weights_static": flag("qkv", "weights_static", weights_static),
        "allow_tf32": flag("qkv", "allow_tf32", allow_tf32),
    }
    outputs = ("out", "normed_out") if flag("qkv", "return_normed", return_normed) else ("out",)
    results = call("qkv", arrays, options, outputs, stored)
    return tuple(results) if return_normed else results[0]


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
    stored: str = "out_in",
    batch_invariant: bool = False,
    weights_static: bool = False,
    allow_tf32: bool = False,
) -> Any:
    """x (*, H), weight_in (I, H), or (2 * I, H) where gated, weight_out (N, I) -> y (*, N), as
    ``postlude.ops.mlp``.

    r = x (+ residual) (+ input_bias); n = norm(r); h = act(n Win^T + bias_in), or act(gate) * up
    where gated; y = h Wout^T (+ bias_out), plus r where ``add_residual`` is True, or plus that
    array (*, N). ``return_residual`` and ``return_normed`` make the result (y, [r], [n]). See the
    module for dtypes, options and errors.
    """
    norm_arrays, norm_options = take_norm("mlp", norm)
    arrays = {
        "x": x,
        "weight_in": weight_in,
        "weight_out": weight_out,
        "bias_in": bias_in,
        "bias_out": bias_out,
        "residual": residual,
        "input_bias": input_bias,
        **norm_arrays,
    }
    parallel = not isinstance(add_residual, bool)
    if parallel:
        if add_residual is None:
            raise TypeError("[mlp] add_residual: expected True, False or an array, got NoneType")
        arrays["parallel_residual"] = add_residual
    options = {
        "activation": activation,
        "gated": flag("mlp", "gated", gated),
        "layout": layout,
        "clamp": None if clamp is None else float(clamp),
        **norm_options,
        "add_residual": parallel or add_residual,
        "batch_invariant": flag("mlp", "batch_invariant", batch_invariant),
        "weights_static": flag("mlp", "weights_static", weights_static),
        "allow_tf32": flag("mlp", "allow_tf32", allow_tf32),
    }
    wanted = {
        "residual_out": flag("mlp", "return_residual", return_residual),
        "normed_out": flag("mlp", "return_normed", return_normed),
    }
    outputs = ("out", *(name for name, want in wanted.items() if want))
    results = call("mlp", arrays, options, outputs, stored)
    return tuple(results) if len(results) > 1 else results[0]


def norm(
    x: Any,
    norm: Norm | None,
    *,
    residual: Any = None,
    bias: Any = None,
    add_after: Any = None,
    batch_invariant: bool = False,
) -> Any:
    """x (*, H) -> n (*, H), or (n, r) where ``residual`` or ``bias`` is given, as
    ``postlude.ops.norm``: r = x (+ residual) (+ bias); n = norm(r) (+ add_after). See the module
    for dtypes and errors.
    """
    norm_arrays, norm_options = take_norm("norm", norm)
    arrays = {"x": x, "residual": residual, "bias": bias, "add_after": add_after, **norm_arrays}
    options = {
        **norm_options,
        "batch_invariant": flag("norm", "batch_invariant", batch_invariant),
    }
    summed = residual is not None or bias is not None
    results = call("norm", arrays, options, ("out", "residual_out") if summed else ("out",))
    return tuple(results) if summed else results[0]


def residual_add(
    hidden_state: Any,
    residual: Any,
    *,
    form: str,
    attention_output: Any = None,
    attention_bias: Any = None,
    final_bias: Any = None,
    mp_size: int = 1,
    batch_invariant: bool = False,
) -> Any:
    """Sums of residuals, all (*, H), and biases (H,) -> (*, H), as ``postlude.ops.residual_add``,
    which says the three values of ``form``. See the module for dtypes and errors.
    """
    arrays = {
        "hidden_state": hidden_state,
        "residual": residual,
        "attention_output": attention_output,
        "attention_bias": attention_bias,
        "final_bias": final_bias,
    }
    options = {
        "form": form,
        "mp_size": int(mp_size),
        "batch_invariant": flag("residual_add", "batch_invariant", batch_invariant),
    }
    return call("residual_add", arrays, options)[0]
