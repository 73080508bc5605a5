"""The Hopper GEMM where the plan chooses its tile, from few rows to many; collected on GPU machines
only. The tiles themselves are forced in cpp_tests/test_sm90_tiles.cu."""

import re

import cases
import pytest
import torch

from postlude import explain, ops, reference

# Weight rows, K and whether gated: GPT-2 XL's QKV, TinyLlama's MLP.
PROBLEMS = {"qkv": (4800, 1600, False), "gated": (11264, 2048, True)}
ROWS = (5, 16, 33, 64, 65, 127, 128, 129, 256, 333, 512, 1000, 1024, 2048)


def assert_names_a_tile(text):
    """On Hopper, that explain's text names the kernel and its tile."""
    if torch.cuda.get_device_capability() == (9, 0):
        assert re.search(r"kernel cuda\.sm90 .*\b\d+x\d+x64\b", text), text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_any_number_of_rows(problem, dtype):
    n, k, gated = PROBLEMS[problem]
    options = {"activation": "silu", "gated": True} if gated else {}
    columns = n // 2 if gated else n
    weight = cases.weight(n, k, dtype, "cuda")
    bias = torch.randn(n, device="cuda").to(dtype)
    for m in ROWS:
        x = torch.randn(m, k, device="cuda").to(dtype)
        residual = torch.randn(m, columns, device="cuda").to(dtype)
        # A gated product with a residual takes another epilogue than one without.
        for more in ({}, {"residual": residual}):
            assert_names_a_tile(explain("linear", x, weight, bias, **options, **more))
            y = ops.linear(x, weight, bias, **options, **more)
            cases.assert_as_reference(y, reference.linear, x, weight, bias, **options, **more)
            assert cases.same_bits(ops.linear(x, weight, bias, **options, **more), y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_small_integers_are_exact(problem, dtype):
    n, k, gated = PROBLEMS[problem]
    # A wrong index or a missed tail shows whatever the tolerance is.
    everything = torch.randint(-1, 2, (max(ROWS), k), device="cuda").to(dtype)
    weight = torch.randint(-1, 2, (n, k), device="cuda").to(dtype)
    z = everything.double() @ weight.double().t()
    exact = z[:, : n // 2] * z[:, n // 2 :] if gated else z
    assert exact.abs().max() < 60000
    for m in ROWS:
        x = everything[max(ROWS) - m :]
        out = cases.Guarded(m, exact.shape[1], dtype=dtype, device="cuda", gap=8)
        assert_names_a_tile(explain("linear", x, weight, gated=gated, out=out.out))
        ops.linear(x, weight, gated=gated, out=out.out)
        assert torch.equal(out.check(), exact[max(ROWS) - m :].to(dtype)), m


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("k", [520, 4096])
def test_batch_invariant_whatever_the_row_stride(k, dtype):
    # Rows that TMA cannot read take another kernel, a single row of them may not: the same bits.
    weight = cases.weight(392, k, dtype, "cuda")
    aligned = torch.randn(200, k, device="cuda").to(dtype)
    apart = torch.empty(200, k + 3, dtype=dtype, device="cuda")[:, :k].copy_(aligned)
    expected = ops.linear(aligned, weight, batch_invariant=True)
    for x in (aligned, apart):
        for rows in (slice(0, 1), slice(1, 2), slice(0, 7), slice(60, 200)):
            y = ops.linear(x[rows], weight, batch_invariant=True)
            assert cases.same_bits(y, expected[rows])
