"""What postlude.triton refuses, and in which words."""

import re

import pytest
import torch
from test_triton_without import CALL, fresh
from triton_cases import DEVICE

from postlude import LayerNorm, RMSNorm, ops
from postlude import triton as kernels

X, W = torch.randn(5, 16, device=DEVICE), torch.randn(24, 16, device=DEVICE)
B, V = torch.randn(24, device=DEVICE), torch.randn(16, device=DEVICE)
BACK, HALF = torch.randn(16, 24, device=DEVICE), W.to(torch.float16)


def linear(*args, **options):
    return kernels.linear(*args, autotune=False, **options)


def mlp(**changes):
    arguments = {"x": X, "weight_in": W, "weight_out": BACK, "activation": "relu", **changes}
    return kernels.mlp(**arguments, autotune=False)


# What each call says; * stands for any text.
VALUE_ERRORS = {
    "[triton.linear] x: expected float32*, got float64": lambda: linear(X.double(), W),
    "[triton.linear] x: expected float32*, got int8": lambda: linear(X.char(), W),
    "[triton.linear] x: expected *1 dimension, got a scalar": lambda: linear(X[0, 0], W),
    "[triton.linear] x: expected stride 1*, got strides (32, 2)": lambda: linear(
        torch.randn(5, 32, device=DEVICE)[:, ::2], W
    ),
    "[triton.linear] x: expected leading dimensions *.contiguous()*": lambda: linear(
        torch.randn(4, 6, 8, 32, device=DEVICE)[::2, ::2, ::2, :16], W
    ),
    "[triton.linear] x: expected a CUDA tensor*, got a tensor on meta": lambda: linear(
        X.to("meta"), W.to("meta")
    ),
    "[triton.linear] weight: expected a tensor on *, got meta": lambda: linear(X, W.to("meta")),
    "[triton.linear] weight: expected shape (out, 15), got *(24, 16)": lambda: linear(X[:, :15], W),
    "[triton.linear] weight: expected shape *, got *(16,)": lambda: linear(X, V),
    "[triton.linear] weight: expected float32*, got float16": lambda: linear(X, HALF),
    "[triton.linear] weight: expected float32*, got int8": lambda: linear(X, W.char()),
    "[triton.linear] weight: expected *even*, got 23": lambda: linear(X, W[:23], gated=True),
    "[triton.linear] bias: expected shape (24,), got *(16,)": lambda: linear(X, W, V),
    "[triton.linear] bias: expected float32, got*": lambda: linear(X, W, B.half()),
    "[triton.linear] bias: expected stride 1, got *(2,)": lambda: linear(
        X, W, torch.randn(48, device=DEVICE)[::2]
    ),
    "[triton.linear] residual: expected shape (5, 24), got *(5, 16)": lambda: linear(
        X, W, residual=X
    ),
    "[triton.linear] residual: expected float32*, got float16": lambda: linear(
        X, W, residual=torch.ones(5, 24, device=DEVICE).half()
    ),
    "[triton.linear] out: expected shape (5, 24), got *(5, 16)": lambda: linear(X, W, out=X),
    "[triton.linear] out: expected a contiguous *, got strides (30, 1)": lambda: linear(
        X, W, out=torch.ones(5, 30, device=DEVICE)[:, :24]
    ),
    "[triton.linear] out: expected memory that x does not use, got*": lambda: linear(
        X, W[:16], out=X
    ),
    "[triton.linear] out: expected memory that residual does not use, got*": lambda: linear(
        X,
        W[:16],
        residual=(wide := torch.ones(96, device=DEVICE))[:80].view(5, 16),
        out=wide[16:].view(5, 16),
    ),
    "[triton.linear] activation: expected *quick_gelu*, got 'tanh'": lambda: linear(
        X, W, activation="tanh"
    ),
    "[triton.linear] layout: expected 'gate_up'*, got 'gu'": lambda: linear(
        X, W, gated=True, layout="gu"
    ),
    "[triton.linear] clamp: expected *gated*, got 1.0": lambda: linear(X, W, clamp=1.0),
    "[triton.linear] clamp: expected > 0, got 0.0": lambda: linear(X, W, gated=True, clamp=0.0),
    "[triton.qkv] norm.weight: expected *(16,)*, got *(24,)": lambda: kernels.qkv(
        X, W, norm=RMSNorm(B, 1e-6)
    ),
    "[triton.norm] norm.bias: expected *(16,)*, got *(24,)": lambda: kernels.norm(
        X, LayerNorm(V, B, 1e-6)
    ),
    "[triton.norm] residual: expected shape (5, 16), got *(1, 5, 16)": lambda: kernels.norm(
        X, None, residual=X[None]
    ),
    "[triton.mlp] weight_out: expected shape (out, 24), got *(24, 16)": lambda: mlp(weight_out=W),
    "[triton.mlp] weight_out: expected 16 rows*, got 9 rows": lambda: mlp(weight_out=BACK[:9]),
    "[triton.mlp] add_residual: expected shape (5, 16), got *": lambda: mlp(add_residual=X[:4]),
    "[triton.mlp] input_bias: expected shape (16,), got *": lambda: mlp(input_bias=B),
}
TYPE_ERRORS = {
    "[triton.linear] x: expected a torch tensor, got list": lambda: linear([1.0], W),
    "[triton.linear] weight: expected a torch tensor, got Weight": lambda: linear(
        X, ops.pack_weight(W.cpu())
    ),
    "[triton.norm] norm: expected a LayerNorm*, got str": lambda: kernels.norm(X, "layer"),
}


@pytest.mark.parametrize(
    ("kind", "words", "call"),
    [(ValueError, *item) for item in VALUE_ERRORS.items()]
    + [(TypeError, *item) for item in TYPE_ERRORS.items()],
)
def test_refusals(kind, words, call):
    pattern = ".*".join(re.escape(part) for part in words.split("*"))
    with pytest.raises(kind, match=pattern):
        call()


def test_gradients_are_refused():
    w = W.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"\[triton.linear\] weight requires grad"):
        linear(X, w)
    with torch.no_grad():
        assert linear(X, w).shape == (5, 24)


def test_a_cpu_tensor_without_the_interpreter():
    error, *reason = fresh(CALL, TRITON_INTERPRET="").splitlines()
    assert "[triton.linear] x: expected a CUDA tensor" in error
    assert "got a tensor on cpu" in error
    assert bool(reason) == (not torch.cuda.is_available())


def test_the_interpreter_is_not_given_what_it_rounds_wrongly():
    error = fresh(CALL.replace("3)", "3).bfloat16()"), TRITON_INTERPRET="1")
    assert error == (
        "ValueError [triton.linear] x: expected float32 or float16 in Triton's interpreter, got "
        "bfloat16"
    )
