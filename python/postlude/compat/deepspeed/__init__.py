"""DeepSpeed inference's fused-op layer under its own names, computed by Postlude.

``from postlude.compat.deepspeed import DeepSpeedMLP`` (and the rest of ``__all__``) is the one
import to change: constructors and ``forward`` take the same arguments in the same order.

- Weights are [in, out], or [out, in] where ``config.transposed_mode``; int8 weights are always
  [out, in], with float32 scales of groups of rows as their attribute ``scale``. ``config.dtype`` is
  that of activations, float16 where it is int8.
- Any number of leading dimensions, any row stride, any sizes, on the CPU and on a GPU; the inner
  stride is 1. Results are new tensors. What is written in place: ``input`` and ``residual`` of the
  RMSNorm form of ``MLPGemmOp`` and ``DeepSpeedMLP``; nothing else.
- GELU is the tanh form, GATED_GELU the erf form. Biases and norm weights may also be float32.
- Where no kernel of this build fits, PyTorch computes the same result; that is logged once for each
  op, and raises ``postlude.Unsupported`` where POSTLUDE_STRICT=1 is in the environment.
- With ``config.use_triton`` the ops with products run on Triton's kernels, as ``TritonMLP`` does;
  ``config.triton_autotune`` times their tiles once. What these do not compute ``postlude.ops``
  does; that is logged, or refused, in the same way.
- Errors name the op, the argument, what was expected and what came. RuntimeError where torch's grad
  mode is on and an argument requires grad.
"""

from .base import BaseOp
from .config import DeepSpeedInferenceConfig
from .gelu_gemm import GELUGemmOp
from .mlp import DeepSpeedMLP
from .mlp_gemm import MLPGemmOp
from .qkv_gemm import QKVGemmOp
from .residual_add import ResidualAddOp
from .triton_mlp import TritonMLP
from .types import GATED_ACTIVATION_TYPES, ActivationFuncType, NormType
from .vector_matmul import VectorMatMulOp

__all__ = [
    "ActivationFuncType",
    "BaseOp",
    "DeepSpeedInferenceConfig",
    "DeepSpeedMLP",
    "GATED_ACTIVATION_TYPES",
    "GELUGemmOp",
    "MLPGemmOp",
    "NormType",
    "QKVGemmOp",
    "ResidualAddOp",
    "TritonMLP",
    "VectorMatMulOp",
]
