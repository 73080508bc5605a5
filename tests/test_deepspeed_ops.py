"""The ops of postlude.compat.deepspeed against the contract, with the kernels and without."""

import itertools

import cases
import deepspeed_contract as contract
import deepspeed_support as support
import pytest
import torch
from deepspeed_support import ACTS, DTYPES, NORMS, SIZES, double, stored, terms, vector

from postlude import reference
from postlude.compat.deepspeed import (
    BaseOp,
    GELUGemmOp,
    MLPGemmOp,
    NormType,
    QKVGemmOp,
    ResidualAddOp,
    VectorMatMulOp,
)
from postlude.compat.deepspeed import fallback as pytorch


@pytest.fixture(params=["kernels", "fallback"])
def path(request, monkeypatch):
    """With Postlude's kernels, and with PyTorch because every kernel refuses."""
    if request.param == "kernels":

        def unwanted(*args, **kwargs):
            raise AssertionError("a kernel fits, and PyTorch computed it")

        for function in ("linear", "qkv", "mlp", "norm", "residual_add"):
            monkeypatch.setattr(pytorch, function, unwanted)
        yield request.param
        return
    refusing = support.Refusing()
    monkeypatch.setattr(BaseOp, "kernels", refusing)
    yield request.param
    assert refusing.asked > 0


def compare(actual, exact, eager):
    for ours, double_, torchs in zip(actual, exact, eager, strict=True):
        cases.assert_accurate(ours, double_, torchs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("hidden", SIZES)
def test_mlp_gemm(hidden, norm, dtype, path, device):
    inner, leadings = SIZES[hidden]
    options = itertools.product(ACTS, (False, True), (False, True), (False, True))
    for index, (act, transposed, after, biased) in enumerate(options):
        if (hidden != 384 or path == "fallback") and index % 5:
            continue  # fewer of the large ones; every option still comes in some size
        config = support.config(
            dtype, hidden, inner, norm, act, transposed_mode=transposed, mlp_after_attn=after
        )
        leading = leadings[index % len(leadings)]
        width = support.mlp_width(config, inner)
        w1 = stored(config, hidden, width, device)
        w2 = stored(config, inner, 8 if norm == "layer" and index % 2 else hidden, device)
        x, residual = (support.rows(config, leading, hidden, device) for _ in range(2))
        input_bias = vector(config, hidden, device) if biased else None
        bias = vector(config, width, device) if biased else None
        gamma, beta = vector(config, hidden, device, 1.0), vector(config, hidden, device)

        c, rest = terms(config), (input_bias, bias, gamma, beta)
        exact = contract.mlp_gemm(c, *double((x, residual)), w1.exact, w2.exact, *double(rest))
        eager = contract.mlp_gemm(c, x, residual, w1.eager, w2.eager, *rest)
        x_in, residual_in = x.clone(), residual.clone()
        weights = w1.parameter, w2.parameter
        output, residual_add = MLPGemmOp(config)(x_in, residual_in, *weights, *rest)

        compare((output, residual_add, x_in, residual_in), exact, eager)
        if norm == "rms":
            assert residual_add is residual_in
        else:
            assert cases.same_bits(x_in, x) and cases.same_bits(residual_in, residual)
            support.assert_owned(output, residual_add, inputs=(x, residual))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("hidden", SIZES)
def test_qkv_gemm(hidden, norm, dtype, path, device):
    for index, transposed in enumerate((False, True)):
        config = support.config(dtype, hidden, norm=norm, transposed_mode=transposed)
        leadings = SIZES[hidden][1]
        w = stored(config, hidden, 60, device, groups=3)
        x = support.rows(config, leadings[index % len(leadings)], hidden, device)
        bias = None if index else vector(config, 60, device)
        gamma, beta = vector(config, hidden, device, 1.0), vector(config, hidden, device)
        exact = contract.qkv_gemm(terms(config), double(x), w.exact, *double((bias, gamma, beta)))
        eager = contract.qkv_gemm(terms(config), x, w.eager, bias, gamma, beta)
        before = x.clone()
        actual = QKVGemmOp(config)(x, w.parameter, bias, gamma, beta)
        compare(actual, exact, eager)
        support.assert_owned(*actual, inputs=(x,))
        assert cases.same_bits(x, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden", SIZES)
def test_gelu_gemm(hidden, dtype, path, device):
    inner, leadings = SIZES[hidden]
    for index, transposed in enumerate((False, True)):
        config = support.config(dtype, hidden, inner, act="ReLU", transposed_mode=transposed)
        w1 = stored(config, hidden, inner, device)
        w2 = stored(config, inner, hidden, device)
        x = support.rows(config, leadings[index % len(leadings)], hidden, device)
        bias = None if index else vector(config, inner, device)
        exact = contract.gelu_gemm(double(x), w1.exact, double(bias), w2.exact)
        eager = contract.gelu_gemm(x, w1.eager, bias, w2.eager)
        before = x.clone()
        actual = GELUGemmOp(config)(x, w1.parameter, bias, w2.parameter)
        compare((actual,), (exact,), (eager,))
        assert cases.same_bits(x, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden", SIZES)
@pytest.mark.parametrize("async_op", [False, True])
def test_vector_matmul(async_op, hidden, dtype, path, device):
    for transposed in (False, True):
        config = support.config(dtype, hidden, transposed_mode=transposed)
        w = stored(config, hidden, 36, device)
        x = support.rows(config, SIZES[hidden][1][0], hidden, device)
        before = x.clone()
        actual = VectorMatMulOp(config)(x, w.parameter, async_op=async_op)
        compare((actual,), (double(x) @ w.exact,), (x @ w.eager,))
        assert cases.same_bits(x, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mp_size", [1, 2, 4])
@pytest.mark.parametrize("hidden", SIZES)
def test_residual_add(hidden, mp_size, dtype, path, device):
    present = list(itertools.product((False, True), repeat=4))
    for index, (form, given) in enumerate(itertools.product(support.FORMS, present)):
        if hidden != 384 and index % 3:
            continue
        pre, after = form
        config = support.config(
            dtype, hidden, mp_size=mp_size, pre_layer_norm=pre, mlp_after_attn=after
        )
        leading = SIZES[hidden][1][0]
        h, r, a, other = (support.rows(config, leading, hidden, device) for _ in range(4))
        ba, bf = vector(config, hidden, device), vector(config, hidden, device)
        optional = [
            t if there else None for t, there in zip((a, other, ba, bf), given, strict=True)
        ]
        for add_bias in (False, True):
            arguments = (h, r, add_bias, *optional)
            exact = contract.residual_add(terms(config), *map(double, arguments))
            eager = contract.residual_add(terms(config), *arguments)
            copies = [t.clone() if isinstance(t, torch.Tensor) else t for t in arguments]
            actual = ResidualAddOp(config)(*copies)
            compare((actual,), (exact,), (eager,))
            for copy, before in zip(copies, arguments, strict=True):
                assert copy is before or cases.same_bits(copy, before)
            support.assert_owned(actual, inputs=[t for t in copies if torch.is_tensor(t)])


def test_small_integers_are_exact(device):
    config = support.config(act="ReLU", mlp_after_attn=True)
    config.norm_type = NormType.RMSNorm
    x, residual = cases.integers(3, 8, device=device), cases.integers(3, 8, device=device)
    bias, w = cases.integers(8, device=device), cases.integers(8, 8, device=device)
    sums = residual + x + bias
    assert torch.equal(VectorMatMulOp(config)(x, w), x @ w)
    MLPGemmOp(config)(x, residual, w, w, bias, None, None, None)
    assert torch.equal(residual, sums)


def test_strides_and_sizes(device):
    """Any leading dimensions, row strides and sizes; DeepSpeed takes 3-D, contiguous, multiples of
    8."""
    for leading, hidden, inner in (((), 7, 3), ((2, 1, 3), 33, 1), ((0, 4), 5, 6), ((4,), 0, 2)):
        config = support.config(hidden=hidden, inner=inner)
        x, residual = (support.rows(config, leading, hidden + 3, device) for _ in range(2))
        x, residual = x[..., :hidden], residual[..., 1 : hidden + 1]
        w1, w2 = stored(config, hidden, inner, device), stored(config, inner, hidden, device)
        gamma, beta = vector(config, hidden, device, 1.0), vector(config, hidden, device)
        rest = (None, None, gamma, beta)
        op, c = MLPGemmOp(config), terms(config)
        actual = op(x, residual, w1.parameter, w2.parameter, *rest)
        exact = contract.mlp_gemm(c, *double((x, residual)), w1.exact, w2.exact, *double(rest))
        eager = contract.mlp_gemm(c, x, residual, w1.eager, w2.eager, *rest)
        compare(actual, exact[:2], eager[:2])
        wide = x.mT.contiguous().mT if x.dim() > 1 and x.numel() else None
        if wide is not None and wide.stride(-1) != 1:
            with pytest.raises(ValueError, match=r"\[VectorMatMulOp\] input: expected stride 1"):
                VectorMatMulOp(config)(wide, w1.parameter)


def test_fp32_biases_and_norms(device):
    config = support.config(torch.bfloat16)
    x = support.rows(config, (2, 3), 384, device)
    w = stored(config, 384, 24, device)
    bias, gamma, beta = (cases.tensor(n, device=device) for n in (24, 384, 384))
    actual = QKVGemmOp(config)(x, w.parameter, bias, gamma, beta)
    exact = reference.exact(
        reference.qkv,
        x,
        w.eager.t(),
        bias,
        norm=cases.LayerNorm(gamma, beta, support.EPS),
        return_normed=True,
    )
    compare(actual, exact, actual)
