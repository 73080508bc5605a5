"""DeepSpeed's fused-op layer as its contract states it, in plain torch: what tests compare with.

Written from the contract alone, in whatever dtype the arguments have; the tests pass float64. Every
weight is (in, out), whatever layout the layer under test stores.
"""

import math

import torch


def layer_norm(x, gamma, beta, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * gamma + beta


def rms_norm(x, gamma, eps):
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps) * gamma


def norm(kind, x, gamma, beta, eps):
    return layer_norm(x, gamma, beta, eps) if kind == "layer" else rms_norm(x, gamma, eps)


def gelu_tanh(z):
    return 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def gelu_erf(z):
    return 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))


def activate(act, z):
    """The hidden layer of GELU, ReLU, GATED_GELU or GATED_SILU; a gated z is [up ; gate]."""
    if act == "GELU":
        return gelu_tanh(z)
    if act == "ReLU":
        return z.clamp(min=0)
    up, gate = z.chunk(2, -1)
    return up * (gelu_erf(gate) if act == "GATED_GELU" else gate * torch.sigmoid(gate))


def zero(value):
    return 0 if value is None else value


def mlp_gemm(c, x, residual, w1, w2, input_bias, bias, gamma, beta):  # noqa: PLR0917
    """(output, residual_add, input afterwards, residual afterwards)."""
    if c["norm"] == "layer":
        r = x + residual + zero(input_bias) if c["mlp_after_attn"] else residual
        n = layer_norm(r, gamma, beta, c["eps"])
        return activate(c["act"], n @ w1 + zero(bias)) @ w2, n, x, residual
    x = x + zero(input_bias)
    residual = residual + x
    n = rms_norm(residual, gamma, c["eps"])
    return activate(c["act"], n @ w1) @ w2, residual, x, residual


def gelu_gemm(x, w, bias, w_out):
    return gelu_tanh(x @ w + zero(bias)) @ w_out


def qkv_gemm(c, x, w, bias, gamma, beta):
    n = norm(c["norm"], x, gamma, beta, c["eps"])
    return n @ w + zero(bias), n


def residual_add(  # noqa: PLR0917
    c, h, r, add_bias, a=None, residual_add=None, ba=None, bf=None
):
    p = c["mp_size"]
    if ba is None and bf is None:
        return (r + zero(a)) / p + h
    if not c["mlp_after_attn"]:
        return h + zero(a) + (r + zero(bf) + (zero(ba) if add_bias else 0)) / p
    if c["pre_layer_norm"]:
        return (r + zero(a) + zero(ba) + zero(bf)) / p + h
    r = r if residual_add is None else residual_add
    return (r + zero(bf)) / p + h  # divided, so that the ranks add up to what p = 1 gives


def mlp(c, w, a, r, residual_norm, ba):
    """DeepSpeedMLP with parameters ``w`` before its all-reduce: (result, input afterwards, residual
    afterwards). The sum counts r, a and ba once each, RMSNorm or not."""
    add_bias = ba is not None
    if w["attn_nw"] is None:
        h = gelu_gemm(residual_norm, w["inter_w"], w["inter_b"], w["output_w"])
        return residual_add(c, h, r, add_bias, a, None, ba, w["output_b"]), a, r
    h, residual_add_, a_after, r_after = mlp_gemm(
        c,
        a,
        r,
        w["inter_w"],
        w["output_w"],
        ba,
        w["inter_b"],
        w["attn_nw"],
        w["attn_nb"],
    )
    y = residual_add(c, h, r, add_bias, a, residual_add_, ba, w["output_b"])
    return y, a_after, r_after
