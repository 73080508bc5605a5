"""What the functions of ``postlude.ops`` call while torch traces them: the registered operators.

Each takes all arguments in the order of the compiled core's function of the same name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._interop import _C
from ._ops import give_norm

_REAL = (Tensor, torch.nn.Parameter)
_operators = torch.ops.postlude


def is_traced(x: Any) -> bool:
    """Whether a call with x, made while ``torch.compiler.is_compiling()``, is what is being traced.

    That flag is the process's: another thread, or the tracer itself, may run a call for real.
    """
    if torch.compiler.is_dynamo_compiling():
        return True
    return isinstance(x, Tensor) and type(x) not in _REAL


def _refuse(op: str, stream: int | None, **weights: Any) -> None:
    if stream is not None:
        raise ValueError(
            f"[{op}] stream: expected None while torch traces the call, got {stream!r}; the "
            "graph runs on torch's current stream"
        )
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise TypeError(
                f"[{op}] {name}: expected a tensor while torch traces the call, got "
                f"{type(weight).__name__}; a layer of postlude.nn packs its weights in a graph too"
            )


def _made(out: Tensor | None, x: Tensor, columns: Any) -> Tensor:
    return x.new_empty((*x.shape[:-1], columns)) if out is None else out


def linear(*arguments: Any) -> Any:
    """``ops.linear``."""
    if not is_traced(arguments[0]):
        return _C.linear(*arguments)
    x, weight, bias, activation, gated, layout, residual, alpha, clamp = arguments[:9]
    out, stream, batch_invariant, weights_static, allow_tf32 = arguments[9:]
    _refuse("linear", stream, weight=weight)
    options = {
        "activation": activation,
        "gated": gated,
        "layout": layout,
        "residual": residual,
        "alpha": alpha,
        "clamp": clamp,
        "batch_invariant": batch_invariant,
        "weights_static": weights_static,
        "allow_tf32": allow_tf32,
    }
    if out is None:
        return _operators.linear.default(x, weight, bias, **options)
    _operators.linear.out(x, weight, bias, **options, out=out)
    return out


def qkv(*arguments: Any) -> Any:
    """``ops.qkv``."""
    if not is_traced(arguments[0]):
        return _C.qkv(*arguments)
    x, weight, bias, norm, return_normed, out, normed_out = arguments[:7]
    stream, batch_invariant, weights_static, allow_tf32 = arguments[7:]
    _refuse("qkv", stream, weight=weight)
    options = {
        **give_norm(norm),
        "batch_invariant": batch_invariant,
        "weights_static": weights_static,
        "allow_tf32": allow_tf32,
    }
    if out is None and normed_out is None:
        if return_normed:
            return _operators.qkv.normed(x, weight, bias, **options)
        return _operators.qkv.default(x, weight, bias, **options)
    out = _made(out, x, weight.shape[0])
    if return_normed:
        normed_out = _made(normed_out, x, x.shape[-1])
    _operators.qkv.out(x, weight, bias, **options, out=out, normed_out=normed_out)
    return (out, normed_out) if return_normed else out


def mlp(*arguments: Any) -> Any:
    """``ops.mlp``."""
    if not is_traced(arguments[0]):
        return _C.mlp(*arguments)
    x, weight_in, weight_out, bias_in, bias_out, activation, gated, layout, clamp = arguments[:9]
    norm, residual, input_bias, add_residual, return_residual, return_normed = arguments[9:15]
    out, residual_out, normed_out, stream = arguments[15:19]
    batch_invariant, weights_static, allow_tf32 = arguments[19:]
    _refuse("mlp", stream, weight_in=weight_in, weight_out=weight_out)
    inputs = (x, weight_in, weight_out, bias_in, bias_out)
    parallel = isinstance(add_residual, Tensor)
    options = {
        "activation": activation,
        "gated": gated,
        "layout": layout,
        "clamp": clamp,
        **give_norm(norm),
        "residual": residual,
        "input_bias": input_bias,
        "add_residual": True if parallel else add_residual,
        "parallel_residual": add_residual if parallel else None,
        "batch_invariant": batch_invariant,
        "weights_static": weights_static,
        "allow_tf32": allow_tf32,
    }
    wanted = {"return_residual": return_residual, "return_normed": return_normed}
    if out is None and residual_out is None and normed_out is None:
        if return_residual or return_normed:
            return tuple(_operators.mlp.all(*inputs, **options, **wanted))
        return _operators.mlp.default(*inputs, **options)
    out = _made(out, x, weight_out.shape[0])
    if return_residual:
        residual_out = _made(residual_out, x, x.shape[-1])
    if return_normed:
        normed_out = _made(normed_out, x, x.shape[-1])
    outputs = {"out": out, "residual_out": residual_out, "normed_out": normed_out}
    _operators.mlp.out(*inputs, **options, **outputs)
    if not (return_residual or return_normed):
        return out
    results = [out]
    if return_residual:
        results.append(residual_out)
    if return_normed:
        results.append(normed_out)
    return tuple(results)


def norm(*arguments: Any) -> Any:
    """``ops.norm``."""
    if not is_traced(arguments[0]):
        return _C.norm(*arguments)
    x, norm, residual, bias, add_after, out, residual_out, stream, batch_invariant = arguments
    _refuse("norm", stream)
    options = {
        **give_norm(norm),
        "add_after": add_after,
        "batch_invariant": batch_invariant,
    }
    sums = {"residual": residual, "bias": bias}
    pair = residual is not None or bias is not None or residual_out is not None
    if out is None and residual_out is None:
        if pair:
            return _operators.norm.residual(x, **options, **sums)
        return _operators.norm.default(x, **options)
    out = _made(out, x, x.shape[-1])
    if pair:
        residual_out = _made(residual_out, x, x.shape[-1])
    _operators.norm.out(x, **options, **sums, out=out, residual_out=residual_out)
    return (out, residual_out) if pair else out


def residual_add(*arguments: Any) -> Any:
    """``ops.residual_add``."""
    if not is_traced(arguments[0]):
        return _C.residual_add(*arguments)
    hidden_state, residual, form, attention_output, attention_bias = arguments[:5]
    final_bias, mp_size, out, stream, batch_invariant = arguments[5:]
    _refuse("residual_add", stream)
    options = {
        "form": form,
        "attention_output": attention_output,
        "attention_bias": attention_bias,
        "final_bias": final_bias,
        "mp_size": mp_size,
        "batch_invariant": batch_invariant,
    }
    if out is None:
        return _operators.residual_add.default(hidden_state, residual, **options)
    _operators.residual_add.out(hidden_state, residual, **options, out=out)
    return out
