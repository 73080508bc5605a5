"""Fused products and norms as Triton kernels: for ``TritonMLP``, and for GPUs that the compiled
kernels do not know.

``linear``, ``qkv``, ``mlp`` and ``norm`` compute what the functions of the same name in
``postlude.ops`` compute, on torch tensors; results are new tensors, or ``linear``'s ``out``. They
are compiled on first use by the package triton, which importing this package does not need: a call
without it raises ImportError, and ``unavailable()`` says why.

- Activations are float32, bfloat16 or float16, with stride 1 in the last dimension and leading
  dimensions that at most two strides walk through. Weights (out, in) have x's dtype and any
  strides, so that an [in, out] matrix is passed as ``w.t()``. Biases and norm weights may also be
  float32. A size of 0 is valid.
- Sums and epilogues are float32, float32 products are exact, each stored tensor is rounded once.
  Results are the same from run to run, and with ``autotune`` or without.
- ``autotune``: the tile of each product (device, dtype, sizes, number of rows up to a power of 4)
  is timed at its first call and kept in ``triton.json`` in ``$POSTLUDE_CACHE_DIR``, else in
  ``$XDG_CACHE_HOME/postlude`` or ``~/.cache/postlude``, for this process and others. False takes a
  fixed tile. Within CUDA graph capture nothing is timed: call once before it.
- Inference only: RuntimeError where torch's grad mode is on and an argument requires grad.
- With ``TRITON_INTERPRET=1`` in the environment Triton's interpreter runs the kernels, slowly, also
  on the CPU; it rounds no bfloat16, so that is refused.

Errors are ValueError and TypeError that name the op, the argument, what was expected and what came.
"""

from .blocks import linear, mlp, norm, qkv
from .launch import unavailable

__all__ = ["linear", "mlp", "norm", "qkv", "unavailable"]
