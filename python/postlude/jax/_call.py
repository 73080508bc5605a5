"""A call of an operation as an XLA custom call: its targets, its attributes, how weights lie."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from .._interop import _C
from ..norms import LayerNorm, RMSNorm

_MATRICES = ("weight", "weight_in", "weight_out")
_STORED = ("out_in", "in_out")

# Both platforms, also where there is no GPU: JAX keeps a target until its platform comes up.
for _op, _platform, _handler in _C.xla_targets():
    jax.ffi.register_ffi_target(f"postlude.{_op}", _handler, platform=_platform)

# So that a norm is an argument of a jitted function as it is.
for _norm, _arrays, _numbers in (
    (LayerNorm, ["weight", "bias"], ["eps"]),
    (RMSNorm, ["weight"], ["eps", "weight_offset"]),
):
    jax.tree_util.register_dataclass(_norm, data_fields=_arrays, meta_fields=_numbers)


def array(op: str, name: str, value: Any) -> Any:
    """The argument as it goes to JAX. TypeError for what is no array of JAX or NumPy."""
    if not isinstance(value, jax.Array | np.ndarray):
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise TypeError(f"[{op}] {name}: expected an array of jax, got {kind}")
    return value


def flag(op: str, name: str, value: Any) -> bool:
    """An option that is True or False. TypeError for any other."""
    if not isinstance(value, bool):
        raise TypeError(f"[{op}] {name}: expected True or False, got {type(value).__name__}")
    return value


def take_norm(op: str, norm: LayerNorm | RMSNorm | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and the options that say this norm. TypeError for what is no norm."""
    if norm is None:
        return {}, {}
    if isinstance(norm, LayerNorm):
        arrays = {"norm.weight": norm.weight, "norm.bias": norm.bias}
        return arrays, {"norm": "layer", "eps": float(norm.eps)}
    if isinstance(norm, RMSNorm):
        options = {"eps": float(norm.eps), "weight_offset": float(norm.weight_offset)}
        return {"norm.weight": norm.weight}, {"norm": "rms", **options}
    raise TypeError(
        f"[{op}] norm: expected a postlude.LayerNorm, a postlude.RMSNorm or None, got "
        f"{type(norm).__name__}"
    )


def call(
    op: str,
    arrays: dict[str, Any],
    options: dict[str, Any],
    outputs: tuple[str, ...] = ("out",),
    stored: str = "out_in",
) -> Any:
    """Runs the op on the arrays that are not None; the first decides dtype and leading dimensions.

    Options that are None are left out. Returns a list of the outputs. Errors as ``postlude.ops``.
    """
    if stored not in _STORED:
        raise ValueError(f"[{op}] stored: expected 'out_in' or 'in_out', got {stored!r}")
    given = {name: array(op, name, value) for name, value in arrays.items() if value is not None}
    said = tuple((name, value) for name, value in options.items() if value is not None)
    return _compiled(tuple(given.values()), op, tuple(given), said, outputs, stored)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5), inline=True)
def _compiled(
    arrays: tuple[Any, ...],
    op: str,
    names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
    outputs: tuple[str, ...],
    stored: str,
) -> Any:
    """Jitted for its cache: an eager call with known shapes checks and traces nothing."""
    inputs = [(name, str(a.dtype), a.shape) for name, a in zip(names, arrays, strict=True)]
    texts = [(name, value) for name, value in options if isinstance(value, str)]
    numbers = [(name, float(value)) for name, value in options if not isinstance(value, str)]
    shapes = _C.xla_outputs(op, inputs, texts, numbers, list(outputs))
    results = [jax.ShapeDtypeStruct(shape, arrays[0].dtype) for shape in shapes]
    if stored == "in_out":
        # The caller's transpose and this one cancel in every XLA; an operand in another layout,
        # which is the same memory, some of them copy.
        pairs = zip(names, arrays, strict=True)
        arrays = tuple(a.T if name in _MATRICES else a for name, a in pairs)
    # expand_dims: what is not mapped gets a dimension of size 1, and is not copied.
    function = jax.ffi.ffi_call(f"postlude.{op}", results, vmap_method="expand_dims")
    return function(
        *arrays,
        inputs=",".join(names),
        outputs=",".join(outputs),
        rank=np.int64(arrays[0].ndim),
        stored=stored,
        **dict(texts),
        **{name: np.float64(value) for name, value in numbers},
    )
