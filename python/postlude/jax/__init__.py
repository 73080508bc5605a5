"""The operations of ``postlude.ops`` as JAX functions, under ``jax.jit`` and ``jax.vmap``, on the
CPU and on CUDA.

They are XLA custom calls: the functions that XLA calls are in Postlude's compiled core, so that
nothing is compiled on the user's machine but XLA's own program. They run on XLA's stream with
memory of XLA's, and nothing waits. ``postlude.ops`` calls them by itself for JAX arrays and for
what JAX traces.

- Arguments, dtypes, formulas and errors are those of ``postlude.ops``; norms are
  ``postlude.LayerNorm`` and ``postlude.RMSNorm`` of JAX arrays, and pytrees: arguments of a jitted
  function as they are. Options are Python values: a new one
  compiles anew, as a new shape does. There is no ``out`` (JAX arrays are immutable) and no
  ``stream``, and a weight is an array, no ``postlude.Weight``.
- ``stored``, of the functions that take a weight: how weights lie in memory. With "in_out", a
  ``weight`` that is the transpose of an [in, out] matrix, such as Flax's kernels are, goes in
  without a copy: ``linear(x, kernel.T, stored="in_out")``. It changes no result.
- ``weights_static`` is False by default, as any weight of a compiled program may have been computed
  just before; True is right for arguments of the program.
- ``vmap`` over activations alone makes one larger call; over a weight, bias or norm one for each.
- Inference only: a gradient through them is a ValueError. XLA does not split them over devices by
  itself; use ``jax.shard_map``.

ImportError where jax is not installed.
"""

try:
    import jax as _jax
except ImportError as error:
    raise ImportError(
        "postlude.jax needs the package jax: install it with 'pip install jax' (on a machine with "
        "an NVIDIA GPU 'pip install jax[cuda13]')"
    ) from error

if not hasattr(_jax, "ffi"):
    raise ImportError(
        f"postlude.jax needs jax 0.5 or newer, which has jax.ffi; found {_jax.__version__}"
    )

from ._functions import linear, mlp, norm, qkv, residual_add

__all__ = ["linear", "mlp", "norm", "qkv", "residual_add"]
