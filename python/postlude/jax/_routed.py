"""What the functions of ``postlude.ops`` call for JAX arrays and for what JAX traces: those of
``postlude.jax``.

On a GPU a result must be made, and ordered among JAX's own work, by XLA; on the CPU this costs less
than DLPack in and out. Only a call with a ``postlude.Weight``, which XLA does not know, goes to the
compiled core. Each function takes all arguments in the order of the core's function of its name.
``weights_static`` stays behind: True is the default there, and nobody has promised by it what XLA
runs ahead of the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import ops
from .._interop import _C
from . import _functions

_OUTPUTS = ("out", "residual_out", "normed_out")


def _route(op: str) -> Callable[..., Any]:
    core, function = getattr(_C, op), getattr(_functions, op)
    names = tuple(inspect.signature(getattr(ops, op)).parameters)

    def routed(*arguments: Any) -> Any:
        if any(isinstance(argument, ops.Weight) for argument in arguments):
            return core(*arguments)
        given = dict(zip(names, arguments, strict=True))
        for name in _OUTPUTS:
            if given.pop(name, None) is not None:
                raise ValueError(
                    f"[{op}] {name}: expected a tensor that can be written, got one of jax, whose "
                    "tensors are immutable (leave it out)"
                )
        if given.pop("stream") is not None:
            raise ValueError(
                f"[{op}] stream: expected None for arrays of jax, which run on XLA's own stream, "
                f"got {arguments[names.index('stream')]!r}"
            )
        given.pop("weights_static", None)
        return function(**given)

    return routed


linear, qkv, mlp, norm, residual_add = map(_route, ("linear", "qkv", "mlp", "norm", "residual_add"))
