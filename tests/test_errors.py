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
    return ops.mlp(
        options.pop("x", X), options.pop("weight_in", W), options.pop("weight_out", BACK), **options
    )


def residual_add(**changes):
    return ops.residual_add(X, changes.pop("residual", X), **{"form": "pre_ln", **changes})


# What each call says; * stands for any text.
VALUE_ERRORS = {
    "[linear] x: expected *float32*, got *float64*": lambda: ops.linear(X.double(), W),
    "[linear] x: expected *float32*, got *int64*": lambda: ops.linear(X.long(), W),
    "[linear] x: expected *float32*, got *int8*": lambda: ops.linear(X.char(), W),
    "[linear] x: expected *float32*, got *bool*": lambda: ops.linear(X.bool(), W),
    "[linear] x: expected *float32*, got *complex64*": lambda: ops.linear(X.cfloat(), W),
    "[linear] x: expected *dimension*, got *scalar*": lambda: ops.linear(X[0, 0], W),
    "[linear] x: expected *at most 8 dimensions*, got *9*": lambda: ops.linear(
        X.reshape(1, 1, 1, 1, 1, 1, 1, 5, 16), W
    ),
    "[linear] x: expected *stride 1*, got *strides (32, 2)*": lambda: ops.linear(
        torch.randn(5, 32)[:, ::2], W
    ),
    "[linear] weight: expected *in = 15*, got *(24, 16)*": lambda: ops.linear(X[:, :15], W),
    "[linear] weight: expected *2 dimensions*, got *(16,)*": lambda: ops.linear(X, V),
    "[linear] weight: expected *2 dimensions*, got *(1, 24, 16)*": lambda: ops.linear(X, W[None]),
    "[linear] weight: expected *float32*, got *float16*": lambda: ops.linear(X, HALF),
    "[linear] weight: expected *stride 1*, got *strides (64, 2)*": lambda: ops.linear(
        X, torch.randn(48, 32)[::2, ::2]
    ),
    "[linear] weight: expected *float32*, got *int8*": lambda: ops.linear(X, W.char()),
    "[linear] weight: expected *even*, got *23*": lambda: ops.linear(X, W[:23], gated=True),
    "[linear] weight: expected *float16*, got *float32*": lambda: ops.linear(
        X.half(), ops.pack_weight(torch.randn(256, 16)), gated=True
    ),
    "[linear] bias: expected *(24,)*, got *(16,)*": lambda: ops.linear(X, W, V),
    "[linear] bias: expected *(24,)*, got *(1, 24)*": lambda: ops.linear(X, W, B[None]),
    "[linear] bias: expected *float32*, got *float16*": lambda: ops.linear(X, W, B.half()),
    "[linear] bias: expected *stride 1*, got *strides (2,)*": lambda: ops.linear(
        X, W, torch.randn(48)[::2]
    ),
    "[linear] residual: expected *(5, 24)*, got *(5, 16)*": lambda: ops.linear(X, W, residual=X),
    "[linear] residual: expected *(5, 24)*, got *(1, 5, 24)*": lambda: ops.linear(
        X, W, residual=torch.randn(1, 5, 24)
    ),
    "[linear] out: expected *(5, 24)*, got *(5, 16)*": lambda: ops.linear(X, W, out=X),
    "[linear] out: expected *float32*, got *float16*": lambda: ops.linear(
        X, W, out=torch.empty(5, 24, dtype=torch.float16)
    ),
    "[linear] activation: expected *quick_gelu*, got *'tanh'*": lambda: ops.linear(
        X, W, activation="tanh"
    ),
    "[linear] layout: expected *'gate_up'*, got *'gu'*": lambda: ops.linear(
        X, W, gated=True, layout="gu"
    ),
    "[linear] clamp: expected *gated*, got *1*": lambda: ops.linear(X, W, clamp=1.0),
    "[linear] clamp: expected *> 0*, got *0*": lambda: ops.linear(X, W, gated=True, clamp=0.0),
    "[qkv] norm.weight: expected *(16,)*, got *(24,)*": lambda: ops.qkv(
        X, W, norm=RMSNorm(B, 1e-06)
    ),
    "[qkv] norm.bias: expected *(16,)*, got *(24,)*": lambda: ops.qkv(
        X, W, norm=LayerNorm(V, B, 1e-06)
    ),
    "[qkv] norm.eps: expected *>= 0*, got *-1*": lambda: ops.qkv(X, W, norm=RMSNorm(V, -1.0)),
    "[qkv] normed_out: expected *(5, 16)*, got *(5, 24)*": lambda: ops.qkv(
        X, W, normed_out=torch.empty(5, 24)
    ),
    "[mlp] weight_out: expected *in = 24*, got *(24, 16)*": lambda: mlp(weight_out=W),
    "[mlp] weight_out: expected *16 rows*, got *17*": lambda: mlp(weight_out=torch.randn(17, 24)),
    "[mlp] input_bias: expected *(16,)*, got *(24,)*": lambda: mlp(input_bias=B),
    "[mlp] parallel_residual: expected *(5, 16)*, got *(4, 16)*": lambda: mlp(add_residual=X[:4]),
    "[mlp] residual_out: expected *(5, 16)*, got *(5, 24)*": lambda: mlp(
        residual_out=torch.empty(5, 24)
    ),
    "[norm] add_after: expected *(5, 16)*, got *(1, 16)*": lambda: ops.norm(
        X, None, add_after=X[:1]
    ),
    "[residual_add] form: expected *'pre_ln'*, got *'pre'*": lambda: residual_add(form="pre"),
    "[residual_add] mp_size: expected *>= 1*, got *0*": lambda: residual_add(mp_size=0),
    "[residual_add] residual: expected *(5, 16)*, got *(4, 16)*": lambda: residual_add(
        residual=X[:4]
    ),
    "[residual_add] attention_output: expected *post_ln*, got *a tensor*": lambda: residual_add(
        form="post_ln", attention_output=X
    ),
    "[pack_weight] weight: expected *2 dimensions*, got *(16,)*": lambda: ops.pack_weight(V),
    "[pack_weight] weight: expected *float32*, got *int8*": lambda: ops.pack_weight(W.char()),
    "[pack_weight] weight: expected *even*, got *23*": lambda: ops.pack_weight(W[:23], gated=True),
    "[quantize_weight] bits: expected *8*, got *4*": lambda: ops.quantize_weight(
        W, bits=4, groups=1
    ),
    "[quantize_weight] groups: expected *24*, got *5*": lambda: ops.quantize_weight(W, groups=5),
    "[quantize_weight] groups: expected *an int*, got *None*": lambda: ops.quantize_weight(W),
    "[quantize_weight] group: expected *'rows' or 'k'*, got *'columns'*": lambda: (
        ops.quantize_weight(W, group="columns", groups=1)
    ),
    "[quantize_weight] group_size: expected *16*, got *5*": lambda: ops.quantize_weight(
        W, group="k", group_size=5
    ),
    "[quantize_weight] group_size: expected *None*, got *a value*": lambda: ops.quantize_weight(
        W, groups=1, group_size=4
    ),
    "[quantized_weight] weight: expected *int8*, got *float32*": lambda: ops.quantized_weight(
        W, B, group="rows"
    ),
    "[quantized_weight] scales: expected *24*, got *5*": lambda: ops.quantized_weight(
        W.char(), torch.randn(5), group="rows"
    ),
    "[linear] weight: expected *in = 3*, got *(24, 16)*": lambda: ops.Linear(W)(X[:, :3]),
    "[explain] op: expected *linear, qkv*, got *'matmul'*": lambda: postlude.explain(
        "matmul", X, W
    ),
    "[linear] weight: expected *in = 16*, got *(16, 24)*": lambda: postlude.explain(
        "linear", X, BACK
    ),
    "[norm] x: expected *float32*, got *float64*": lambda: ops.norm(np.zeros((2, 2)), None),
}
TYPE_ERRORS = {
    "[linear] x: expected *a tensor*, got *list*": lambda: ops.linear([1.0], W),
    "[linear] x: expected *a tensor*, got *None*": lambda: ops.linear(None, W),
    "[linear] weight: expected *a tensor or a postlude.Weight*, got *None*": lambda: ops.linear(
        X, None
    ),
    "[linear] weight: expected *a tensor*, got *str*": lambda: ops.linear(X, "W"),
    "[linear] bias: expected *a tensor*, got *float*": lambda: ops.linear(X, W, 1.0),
    "[linear] out: expected *a tensor*, got *list*": lambda: ops.linear(X, W, out=[]),
    "[linear] activation: expected *str*, got *int*": lambda: ops.linear(X, W, activation=1),
    "[linear] gated: expected *True or False*, got *int*": lambda: ops.linear(X, W, gated=2),
    "[linear] alpha: expected *a number*, got *str*": lambda: ops.linear(X, W, alpha="1"),
    "[linear] alpha: expected a number, got complex": lambda: ops.linear(X, W, alpha=1j),
    "[linear] stream: expected *int*, got *str*": lambda: ops.linear(X, W, stream="s"),
    "[linear] batch_invariant: expected *True or False*, got *None*": lambda: ops.linear(
        X, W, batch_invariant=None
    ),
    "[mlp] weights_static: expected *True or False*, got *int*": lambda: mlp(weights_static=0),
    "[Qkv] weights_static: expected *True or False*, got *None*": lambda: ops.Qkv(
        W, weights_static=None
    ),
    "[linear] allow_tf32: expected *True or False*, got *int*": lambda: ops.linear(
        X, W, allow_tf32=1
    ),
    "[qkv] allow_tf32: expected *True or False*, got *str*": lambda: ops.qkv(
        X, W, allow_tf32="tf32"
    ),
    "[Mlp] allow_tf32: expected *True or False*, got *None*": lambda: ops.Mlp(
        W, BACK, activation=None, allow_tf32=None
    ),
    "[qkv] norm: expected *postlude.LayerNorm*, got *LayerNorm*": lambda: ops.qkv(
        X, W, norm=torch.nn.LayerNorm(16)
    ),
    "[qkv] norm.eps: expected *a number*, got *None*": lambda: ops.qkv(X, W, norm=RMSNorm(V, None)),
    "[mlp] add_residual: expected *a tensor*, got *None*": lambda: mlp(add_residual=None),
    "[norm] x: expected *a tensor*, got *list*": lambda: ops.norm([1.0], None),
    "[residual_add] mp_size: expected *int*, got *float*": lambda: residual_add(mp_size=1.5),
    "[pack_weight] weight: expected *a tensor*, got *None*": lambda: ops.pack_weight(None),
    "[Linear] weight: expected *a tensor*, got *None*": lambda: ops.Linear(None),
    "[Linear] pack: expected *True or False*, got *str*": lambda: ops.Linear(W, pack="yes"),
    "[Mlp] add_residual: expected *True or False*, got *Tensor*": lambda: ops.Mlp(
        W, BACK, activation=None, add_residual=X
    ),
    "[LayerNorm] eps: expected *a number*, got *nothing*": lambda: LayerNorm(V, V),
}


@pytest.mark.parametrize("message", [*VALUE_ERRORS, *TYPE_ERRORS])
def test_refusals_say_what_is_wrong(message):
    error = ValueError if message in VALUE_ERRORS else TypeError
    with pytest.raises(error) as caught:
        (VALUE_ERRORS | TYPE_ERRORS)[message]()
    assert type(caught.value) is error
    pattern = ".*".join(map(re.escape, message.split("*")))
    assert re.fullmatch(pattern, str(caught.value), re.DOTALL), str(caught.value)


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


def test_explain_of_calls_with_several_results():
    norm = RMSNorm(V, 1e-6)
    for op, args, kwargs in (
        ("qkv", (X, W), {"norm": norm, "return_normed": True}),
        ("qkv", (X, torch.randn(16, 16)), {"return_normed": True}),
        ("mlp", (X, W, BACK), {"activation": "relu", "return_residual": True}),
        (
            "mlp",
            (X, W, BACK),
            {"activation": "relu", "norm": norm, "return_residual": True, "return_normed": True},
        ),
        ("norm", (X, norm), {"residual": X}),
    ):
        assert "m=5" in postlude.explain(op, *args, **kwargs)


def test_explain_says_which_options_are_set():
    calls = (
        ("linear", (X, W), {}),
        ("qkv", (X, W), {}),
        ("mlp", (X, W, BACK), {"activation": None}),
    )
    for op, args, kwargs in calls:
        text = postlude.explain(op, *args, **kwargs)
        for option in ("batch_invariant", "weights_static", "allow_tf32"):
            assert option not in text
        kwargs |= {"batch_invariant": True, "weights_static": False, "allow_tf32": True}
        text = postlude.explain(op, *args, **kwargs)
        products = text.count("gemm m=")
        assert products == (2 if op == "mlp" else 1)
        assert text.count("batch_invariant weights_static=false allow_tf32") == products


def test_show_config():
    assert f"postlude {postlude.__version__}" in postlude.show_config()
    assert "cpu: " in postlude.show_config() and "cuda: " in postlude.show_config()
