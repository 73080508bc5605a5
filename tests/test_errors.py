"""Every refusal names the op and the argument, says what was expected, and says what came."""

import re

import numpy as np
import pytest
import torch

import postlude
from postlude import LayerNorm, RMSNorm, ops

X, W, BACK = torch.randn(5, 16), torch.randn(24, 16), torch.randn(16, 24)
B, V = torch.randn(24), torch.randn(16)
HALF = W.to(torch.float16)


def mlp(**changes):
    options = {"activation": "relu", **changes}
    return ops.mlp(options.pop("x", X), options.pop("weight_in", W), options.pop("weight_out", BACK), **options)


def residual_add(**changes):
    return ops.residual_add(X, changes.pop("residual", X), **{"form": "pre_ln", **changes})


# (call, error, op, argument, expected, got): parts of the message.
REFUSED = {
    "x of float64": (lambda: ops.linear(X.double(), W), ValueError, "linear", "x", "float32", "float64"),
    "x of int64": (lambda: ops.linear(X.long(), W), ValueError, "linear", "x", "float32", "int64"),
    "x of int8": (lambda: ops.linear(X.char(), W), ValueError, "linear", "x", "float32", "int8"),
    "x of bool": (lambda: ops.linear(X.bool(), W), ValueError, "linear", "x", "float32", "bool"),
    "x of complex": (lambda: ops.linear(X.cfloat(), W), ValueError, "linear", "x", "float32", "complex64"),
    "x a scalar": (lambda: ops.linear(X[0, 0], W), ValueError, "linear", "x", "dimension", "scalar"),
    "x of rank 9": (
        lambda: ops.linear(X.reshape(1, 1, 1, 1, 1, 1, 1, 5, 16), W),
        ValueError,
        "linear",
        "x",
        "0 to 8",
        "9",
    ),
    "x a list": (lambda: ops.linear([1.0], W), TypeError, "linear", "x", "a tensor", "list"),
    "x None": (lambda: ops.linear(None, W), TypeError, "linear", "x", "a tensor", "None"),
    "x with inner stride 2": (
        lambda: ops.linear(torch.randn(5, 32)[:, ::2], W),
        ValueError,
        "linear",
        "x",
        "stride 1",
        "strides (32, 2)",
    ),
    "other K": (lambda: ops.linear(X[:, :15], W), ValueError, "linear", "weight", "in = 15", "(24, 16)"),
    "weight of rank 1": (lambda: ops.linear(X, V), ValueError, "linear", "weight", "2 dimensions", "(16,)"),
    "weight of rank 3": (lambda: ops.linear(X, W[None]), ValueError, "linear", "weight", "2 dimensions", "(1, 24, 16)"),
    "weight of another dtype": (lambda: ops.linear(X, HALF), ValueError, "linear", "weight", "float32", "float16"),
    "weight of strides 2": (
        lambda: ops.linear(X, torch.randn(48, 32)[::2, ::2]),
        ValueError,
        "linear",
        "weight",
        "stride 1",
        "strides (64, 2)",
    ),
    "weight None": (lambda: ops.linear(X, None), TypeError, "linear", "weight", "a tensor or a postlude.Weight", "None"),
    "weight a str": (lambda: ops.linear(X, "W"), TypeError, "linear", "weight", "a tensor", "str"),
    "weight of int8": (lambda: ops.linear(X, W.char()), ValueError, "linear", "weight", "float32", "int8"),
    "an odd gated weight": (lambda: ops.linear(X, W[:23], gated=True), ValueError, "linear", "weight", "even", "23"),
    "weight packed without gates": (
        lambda: ops.linear(X.half(), ops.pack_weight(torch.randn(256, 16)), gated=True),
        ValueError,
        "linear",
        "weight",
        "float16",
        "float32",
    ),
    "bias too short": (lambda: ops.linear(X, W, V), ValueError, "linear", "bias", "(24,)", "(16,)"),
    "bias of rank 2": (lambda: ops.linear(X, W, B[None]), ValueError, "linear", "bias", "(24,)", "(1, 24)"),
    "bias of float16": (lambda: ops.linear(X, W, B.half()), ValueError, "linear", "bias", "float32", "float16"),
    "bias with stride 2": (
        lambda: ops.linear(X, W, torch.randn(48)[::2]),
        ValueError,
        "linear",
        "bias",
        "stride 1",
        "strides (2,)",
    ),
    "bias a number": (lambda: ops.linear(X, W, 1.0), TypeError, "linear", "bias", "a tensor", "float"),
    "residual of another shape": (lambda: ops.linear(X, W, residual=X), ValueError, "linear", "residual", "(5, 24)", "(5, 16)"),
    "residual of another rank": (
        lambda: ops.linear(X, W, residual=torch.randn(1, 5, 24)),
        ValueError,
        "linear",
        "residual",
        "(5, 24)",
        "(1, 5, 24)",
    ),
    "out of another shape": (lambda: ops.linear(X, W, out=X), ValueError, "linear", "out", "(5, 24)", "(5, 16)"),
    "out of another dtype": (
        lambda: ops.linear(X, W, out=torch.empty(5, 24, dtype=torch.float16)),
        ValueError,
        "linear",
        "out",
        "float32",
        "float16",
    ),
    "out a list": (lambda: ops.linear(X, W, out=[]), TypeError, "linear", "out", "a tensor", "list"),
    "unknown activation": (lambda: ops.linear(X, W, activation="tanh"), ValueError, "linear", "activation", "quick_gelu", "'tanh'"),
    "activation a number": (lambda: ops.linear(X, W, activation=1), TypeError, "linear", "activation", "str", "int"),
    "unknown layout": (lambda: ops.linear(X, W, gated=True, layout="gu"), ValueError, "linear", "layout", "'gate_up'", "'gu'"),
    "gated a number": (lambda: ops.linear(X, W, gated=2), TypeError, "linear", "gated", "True or False", "int"),
    "alpha a str": (lambda: ops.linear(X, W, alpha="1"), TypeError, "linear", "alpha", "a number", "str"),
    "clamp without gates": (lambda: ops.linear(X, W, clamp=1.0), ValueError, "linear", "clamp", "gated", "1"),
    "clamp of 0": (lambda: ops.linear(X, W, gated=True, clamp=0.0), ValueError, "linear", "clamp", "> 0", "0"),
    "a stream object": (lambda: ops.linear(X, W, stream="s"), TypeError, "linear", "stream", "int", "str"),
    "batch_invariant None": (
        lambda: ops.linear(X, W, batch_invariant=None),
        TypeError,
        "linear",
        "batch_invariant",
        "True or False",
        "None",
    ),
    "norm a module": (
        lambda: ops.qkv(X, W, norm=torch.nn.LayerNorm(16)),
        TypeError,
        "qkv",
        "norm",
        "postlude.LayerNorm",
        "LayerNorm",
    ),
    "norm weight too long": (lambda: ops.qkv(X, W, norm=RMSNorm(B, 1e-6)), ValueError, "qkv", "norm.weight", "(16,)", "(24,)"),
    "norm bias too long": (lambda: ops.qkv(X, W, norm=LayerNorm(V, B, 1e-6)), ValueError, "qkv", "norm.bias", "(16,)", "(24,)"),
    "norm eps negative": (lambda: ops.qkv(X, W, norm=RMSNorm(V, -1.0)), ValueError, "qkv", "norm.eps", ">= 0", "-1"),
    "norm eps None": (lambda: ops.qkv(X, W, norm=RMSNorm(V, None)), TypeError, "qkv", "norm.eps", "a number", "None"),
    "normed_out too wide": (
        lambda: ops.qkv(X, W, normed_out=torch.empty(5, 24)),
        ValueError,
        "qkv",
        "normed_out",
        "(5, 16)",
        "(5, 24)",
    ),
    "mlp weights that do not chain": (lambda: mlp(weight_out=W), ValueError, "mlp", "weight_out", "in = 24", "(24, 16)"),
    "mlp residual of other size": (
        lambda: mlp(weight_out=torch.randn(17, 24)),
        ValueError,
        "mlp",
        "weight_out",
        "16 rows",
        "17",
    ),
    "mlp input_bias": (lambda: mlp(input_bias=B), ValueError, "mlp", "input_bias", "(16,)", "(24,)"),
    "mlp add_residual": (lambda: mlp(add_residual=X[:4]), ValueError, "mlp", "parallel_residual", "(5, 16)", "(4, 16)"),
    "mlp add_residual None": (lambda: mlp(add_residual=None), TypeError, "mlp", "add_residual", "a tensor", "None"),
    "mlp residual_out": (lambda: mlp(residual_out=torch.empty(5, 24)), ValueError, "mlp", "residual_out", "(5, 16)", "(5, 24)"),
    "norm of a list": (lambda: ops.norm([1.0], None), TypeError, "norm", "x", "a tensor", "list"),
    "norm add_after": (lambda: ops.norm(X, None, add_after=X[:1]), ValueError, "norm", "add_after", "(5, 16)", "(1, 16)"),
    "residual_add form": (lambda: residual_add(form="pre"), ValueError, "residual_add", "form", "'pre_ln'", "'pre'"),
    "residual_add mp_size 0": (lambda: residual_add(mp_size=0), ValueError, "residual_add", "mp_size", ">= 1", "0"),
    "residual_add mp_size 1.5": (lambda: residual_add(mp_size=1.5), TypeError, "residual_add", "mp_size", "int", "float"),
    "residual_add shape": (lambda: residual_add(residual=X[:4]), ValueError, "residual_add", "residual", "(5, 16)", "(4, 16)"),
    "residual_add post_ln": (
        lambda: residual_add(form="post_ln", attention_output=X),
        ValueError,
        "residual_add",
        "attention_output",
        "post_ln",
        "a tensor",
    ),
    "pack_weight of rank 1": (lambda: ops.pack_weight(V), ValueError, "pack_weight", "weight", "2 dimensions", "(16,)"),
    "pack_weight of int8": (lambda: ops.pack_weight(W.char()), ValueError, "pack_weight", "weight", "float32", "int8"),
    "pack_weight odd": (lambda: ops.pack_weight(W[:23], gated=True), ValueError, "pack_weight", "weight", "even", "23"),
    "pack_weight None": (lambda: ops.pack_weight(None), TypeError, "pack_weight", "weight", "a tensor", "None"),
    "quantize bits": (lambda: ops.quantize_weight(W, bits=4, groups=1), ValueError, "quantize_weight", "bits", "8", "4"),
    "quantize groups": (lambda: ops.quantize_weight(W, groups=5), ValueError, "quantize_weight", "groups", "24", "5"),
    "quantize no groups": (lambda: ops.quantize_weight(W), ValueError, "quantize_weight", "groups", "an int", "None"),
    "quantize group": (
        lambda: ops.quantize_weight(W, group="columns", groups=1),
        ValueError,
        "quantize_weight",
        "group",
        "'rows' or 'k'",
        "'columns'",
    ),
    "quantize group_size": (
        lambda: ops.quantize_weight(W, group="k", group_size=5),
        ValueError,
        "quantize_weight",
        "group_size",
        "16",
        "5",
    ),
    "quantize both": (
        lambda: ops.quantize_weight(W, groups=1, group_size=4),
        ValueError,
        "quantize_weight",
        "group_size",
        "None",
        "a value",
    ),
    "quantized_weight weight": (
        lambda: ops.quantized_weight(W, B, group="rows"),
        ValueError,
        "quantized_weight",
        "weight",
        "int8",
        "float32",
    ),
    "quantized_weight scales": (
        lambda: ops.quantized_weight(W.char(), torch.randn(5), group="rows"),
        ValueError,
        "quantized_weight",
        "scales",
        "24",
        "5",
    ),
    "Linear weight None": (lambda: ops.Linear(None), TypeError, "Linear", "weight", "a tensor", "None"),
    "Linear pack": (lambda: ops.Linear(W, pack="yes"), TypeError, "Linear", "pack", "True or False", "str"),
    "Linear x": (lambda: ops.Linear(W)(X[:, :3]), ValueError, "linear", "weight", "in = 3", "(24, 16)"),
    "Mlp add_residual": (
        lambda: ops.Mlp(W, BACK, activation=None, add_residual=X),
        TypeError,
        "Mlp",
        "add_residual",
        "True or False",
        "Tensor",
    ),
    "explain": (lambda: postlude.explain("matmul", X, W), ValueError, "explain", "op", "linear, qkv", "'matmul'"),
    "explain's op": (lambda: postlude.explain("linear", X, V), ValueError, "linear", "weight", "2 dimensions", "(16,)"),
    "LayerNorm": (lambda: LayerNorm(V, V), TypeError, "LayerNorm", "eps", "a number", "nothing"),
    "float64 NumPy": (
        lambda: ops.linear(np.zeros((2, 2)), np.zeros((2, 2))),
        ValueError,
        "linear",
        "x",
        "float32",
        "float64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_is_wrong(name):
    call, error, op, argument, expected, got = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith(f"[{op}] {argument}: "), message
    said = re.search(r": expected (.*), got (.*)", message, re.DOTALL)
    assert said, message
    assert expected in said[1] and got in said[2], message


def test_unknown_options_are_refused():
    for call in (
        lambda: ops.linear(X, W, act="relu"),
        lambda: ops.mlp(X, W, BACK),
        lambda: postlude.explain("linear", X, W, act="relu"),
        lambda: ops.linear(X, W, None, "relu"),
    ):
        with pytest.raises(TypeError, match=r"act|positional"):
            call()


def test_a_refused_call_changes_nothing():
    x, out = X.clone(), torch.full((5, 24), 7.0)
    with pytest.raises(ValueError):
        ops.linear(x, W, V, out=out)
    assert torch.equal(x, X) and (out == 7).all()


def test_unsupported_is_a_not_implemented_error():
    assert issubclass(postlude.Unsupported, NotImplementedError)
    assert postlude.Unsupported.__module__ == "postlude"
    assert postlude.Unsupported.__doc__


def test_explain_names_kernels_and_computes_nothing():
    out = torch.full((5, 24), 7.0)
    text = postlude.explain("linear", X, W, B, activation="silu", out=out)
    assert "silu" in text and "kernel" in text and (out == 7).all()
    for op, args, kwargs in (
        ("qkv", (X, W), {"norm": RMSNorm(V, 1e-6)}),
        ("mlp", (X, W, BACK), {"activation": "relu"}),
        ("norm", (X, RMSNorm(V, 1e-6)), {}),
        ("residual_add", (X, X), {"form": "pre_ln"}),
    ):
        assert "m=5" in postlude.explain(op, *args, **kwargs)


def test_show_config():
    assert f"postlude {postlude.__version__}" in postlude.show_config()
    assert "cpu: " in postlude.show_config() and "cuda: " in postlude.show_config()
