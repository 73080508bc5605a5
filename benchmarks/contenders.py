"""The MLP and QKV blocks as every contender computes them, on one set of weights.

    mlp: y = x + W2 act(W1 norm(x) + b1) + b2    or, gated, x + Wd (act(Wg norm(x)) * Wu norm(x))
    qkv: y = norm(x) [Wq; Wk; Wv]^T + b

A form is a function of x and Weights alone, so that torch.compile sees weights as arguments and
compiles once for all copies of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from report import ALSO, OURS, PEERS
from shapes import Shape

from postlude import LayerNorm, RMSNorm, nn, ops, reference, triton

Tensor = torch.Tensor
Call = Callable[[Tensor], Tensor]

KINDS = ("mlp", "qkv")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Beyond this relative error a contender computes another formula.
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 3e-3}

COMPILED = {"compile": None, "autotune": "max-autotune-no-cudagraphs"}
EVERY = (*PEERS, *OURS, *ALSO)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_erf": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


class Weights(NamedTuple):
    """One copy of a block's weights; None for what the block lacks."""

    norm_weight: Tensor
    norm_bias: Tensor | None
    parts: tuple[tuple[Tensor, Tensor | None], ...]  # (weight, bias) of fc1; gate, up; or q, k, v
    weight_in: Tensor  # the parts as one matrix
    bias_in: Tensor | None
    weight_out: Tensor | None = None
    bias_out: Tensor | None = None


class Copy(NamedTuple):
    """One copy of a block: the bound layer as a function of x, and its weights."""

    bound: Call
    weights: Weights


Form = Callable[[Tensor, Weights], Tensor]


def new_copy(kind: str, shape: Shape, **where: Any) -> Copy:
    """A block with random weights; ``where`` is dtype and device."""
    options: dict[str, Any] = {"bias": shape.bias, "norm": shape.norm, "eps": shape.eps, **where}
    layer: Any
    first: tuple[Any, ...]
    if kind == "mlp":
        layer = nn.MLP(
            shape.hidden,
            shape.intermediate,
            activation=shape.activation,
            gated=shape.gated,
            **options,
        )
        first = (layer.gate, layer.up) if shape.gated else (layer.fc1,)
        last, bound = layer.down if shape.gated else layer.fc2, layer
    else:
        layer = nn.QKV(shape.hidden, shape.heads, shape.kv_heads, **options)
        first, last, bound = (layer.q, layer.k, layer.v), None, layer.merged
    with torch.no_grad():
        layer.norm.weight.normal_(1.0, 0.1)
        if shape.norm == "layer":
            layer.norm.bias.normal_(0.0, 0.1)
    weights = Weights(
        layer.norm.weight.detach(),
        layer.norm.bias.detach() if shape.norm == "layer" else None,
        tuple((part.weight.detach(), _detached(part.bias)) for part in first),
        torch.cat([part.weight.detach() for part in first]),
        torch.cat([part.bias.detach() for part in first]) if shape.bias else None,
        None if last is None else last.weight.detach(),
        None if last is None else _detached(last.bias),
    )
    return Copy(bound, weights)


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def weight_count(kind: str, shape: Shape) -> int:
    """Elements of the block's weight matrices."""
    if kind == "qkv":
        return shape.qkv_features * shape.hidden
    return (3 if shape.gated else 2) * shape.hidden * shape.intermediate


def out_features(kind: str, shape: Shape) -> int:
    """Features of the block's result."""
    return shape.qkv_features if kind == "qkv" else shape.hidden


def torch_norm(x: Tensor, w: Weights, shape: Shape) -> Tensor:
    """The block's norm in torch."""
    if shape.norm == "layer":
        return F.layer_norm(x, (shape.hidden,), w.norm_weight, w.norm_bias, shape.eps)
    return F.rms_norm(x, (shape.hidden,), w.norm_weight, shape.eps)


def own_norm(w: Weights, shape: Shape) -> LayerNorm | RMSNorm:
    """The block's norm as ops take it."""
    if shape.norm == "layer":
        return LayerNorm(w.norm_weight, w.norm_bias, shape.eps)
    return RMSNorm(w.norm_weight, shape.eps)


def mlp_forms(shape: Shape) -> dict[str, Form]:
    """The MLP block in torch; "merged" only where gated."""
    act = ACTIVATIONS[shape.activation]

    def eager(x: Tensor, w: Weights) -> Tensor:
        n = torch_norm(x, w, shape)
        first, *others = [F.linear(n, weight, bias) for weight, bias in w.parts]
        h = act(first) * others[0] if others else act(first)
        assert w.weight_out is not None
        return x + F.linear(h, w.weight_out, w.bias_out)

    def merged(x: Tensor, w: Weights) -> Tensor:
        gate, up = F.linear(torch_norm(x, w, shape), w.weight_in, w.bias_in).chunk(2, -1)
        assert w.weight_out is not None
        return x + F.linear(act(gate) * up, w.weight_out, w.bias_out)

    def cublaslt(x: Tensor, w: Weights) -> Tensor:
        n = torch_norm(x, w, shape)
        if shape.gated:
            gate, up = F.linear(n, w.weight_in, w.bias_in).chunk(2, -1)
            h = act(gate).mul_(up)
        elif shape.activation == "gelu_tanh" and w.bias_in is not None:
            # On CUDA this is cuBLASLt's GELU epilogue, which is the one with tanh.
            h = torch._addmm_activation(w.bias_in, n, w.weight_in.t(), use_gelu=True)
        else:
            h = act(F.linear(n, w.weight_in, w.bias_in))
        assert w.weight_out is not None
        if w.bias_out is None:
            return torch.addmm(x, h, w.weight_out.t())
        return torch.addmm(w.bias_out, h, w.weight_out.t()).add_(x)

    known: dict[str, Form] = {"eager": eager, "cublaslt": cublaslt}
    return {**known, "merged": merged} if shape.gated else known


def qkv_forms(shape: Shape) -> dict[str, Form]:
    """The QKV block in torch, always with merged weights."""

    def eager(x: Tensor, w: Weights) -> Tensor:
        return F.linear(torch_norm(x, w, shape), w.weight_in, w.bias_in)

    return {"eager": eager, "cublaslt": eager}


def forms(kind: str, shape: Shape) -> dict[str, Form]:
    """The block in torch, by the contender that computes it so without compiling."""
    return mlp_forms(shape) if kind == "mlp" else qkv_forms(shape)


def on(form: Form, w: Weights) -> Call:
    """The form on one copy of the weights."""
    return lambda x: form(x, w)


def plain(kind: str, shape: Shape, w: Weights, by: Any = ops, **more: Any) -> Call:
    """The block by ops, or by another module of them, on plain weights; ``more`` goes to the op."""
    options: dict[str, Any] = {"norm": own_norm(w, shape), **more}
    if kind == "qkv":
        return lambda x: by.qkv(x, w.weight_in, w.bias_in, **options)
    weights = (w.weight_in, w.weight_out, w.bias_in, w.bias_out)
    options |= {"activation": shape.activation, "gated": shape.gated}
    return lambda x: by.mlp(x, *weights, **options)


def exact(kind: str, shape: Shape, w: Weights, x: Tensor) -> Tensor:
    """The block in float64."""
    norm = own_norm(w, shape)
    if kind == "qkv":
        y: Tensor = reference.exact(reference.qkv, x, w.weight_in, w.bias_in, norm=norm)
        return y
    y = reference.exact(
        reference.mlp,
        x,
        w.weight_in,
        w.weight_out,
        w.bias_in,
        w.bias_out,
        activation=shape.activation,
        gated=shape.gated,
        norm=norm,
    )
    return y


def available(kind: str, shape: Shape) -> tuple[str, ...]:
    """The contenders that a block has: "merged" is one of a gated MLP alone."""
    gated = kind == "mlp" and shape.gated
    return tuple(name for name in EVERY if gated or name != "merged")


def calls(name: str, kind: str, shape: Shape, copies: list[Copy]) -> list[Call]:
    """The contender's call on each copy of the weights, to be made within ``library(name)``.

    The compiled ones start from the form with one product for gate and up.
    """
    if name == "bound":
        return [copy.bound for copy in copies]
    if name == "plain":
        return [plain(kind, shape, copy.weights) for copy in copies]
    if name == "invariant":
        return [plain(kind, shape, copy.weights, batch_invariant=True) for copy in copies]
    if name == "tf32":
        return [plain(kind, shape, copy.weights, allow_tf32=True) for copy in copies]
    if name == "triton":
        return [plain(kind, shape, copy.weights, triton) for copy in copies]
    known = forms(kind, shape)
    form = known[name] if name in known else known.get("merged", known["eager"])
    if name in COMPILED:
        # What was compiled for another number of rows would count towards dynamo's limit.
        torch._dynamo.reset()
        form = torch.compile(form, dynamic=False, mode=COMPILED[name])
    return [on(form, copy.weights) for copy in copies]


@contextlib.contextmanager
def library(name: str) -> Iterator[None]:
    """Inside, torch has the settings that the contender is named after: cuBLASLt, or TF32."""
    if name == "torch_tf32":
        matmul = torch.backends.cuda.matmul
        allowed = matmul.allow_tf32
        matmul.allow_tf32 = True
        try:
            yield
        finally:
            matmul.allow_tf32 = allowed
        return
    if name != "cublaslt" or not torch.cuda.is_available():
        yield
        return
    before = torch.backends.cuda.preferred_blas_library()
    torch.backends.cuda.preferred_blas_library("cublaslt")
    try:
        yield
    finally:
        torch.backends.cuda.preferred_blas_library(before)
