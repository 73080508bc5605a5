"""The fp32 tensor-core GEMMs: their tiles, their accuracy and special values; collected on GPU
machines only."""

import functools

import cases
import pytest
import torch

from postlude import explain, ops, reference

HOPPER, ANY = "cuda.tf32x3_sm90", "cuda.cutlass_tf32x3"
# Kernel and tile, each with a problem (M, weight rows, K) for which 132 multiprocessors make it the
# choice. K that is no multiple of 4 leaves TMA nothing to read.
TILES = {
    (HOPPER, "128x128x32"): (1000, 4096, 200),
    (HOPPER, "64x128x32"): (30, 28672, 264),
    (ANY, "128x64x32"): (1000, 4096, 202),
    (ANY, "64x64x32"): (1000, 1024, 138),
    (ANY, "32x64x32"): (30, 4096, 266),
}
# Rows of the Hopper kernel's tiles, each with a problem for which it splits k.
SPLIT = {128: (128, 6400, 1604), 64: (16, 640, 6404)}


def is_hopper():
    return torch.cuda.get_device_capability() == (9, 0)


def is_h200():
    """The device that the choices above are for."""
    return is_hopper() and torch.cuda.get_device_properties("cuda").multi_processor_count == 132


def in_out(weight):
    """The same weight, stored as [in, out]."""
    return weight.t().contiguous().t()


def plainly(weight):
    """The weight as it is: [out, in]."""
    return weight


def padded(value):
    """The same matrix, stored with rows of a multiple of 4 elements and some more."""
    m, n = value.shape
    store = torch.full((m, (n + 3) // 4 * 4 + 8), torch.nan, device=value.device)
    store[:, :n] = value
    return store[:, :n]


LAYOUTS = pytest.mark.parametrize("stored", [plainly, in_out])
ALLOWED = pytest.mark.parametrize("allow_tf32", [False, True], ids=["three", "one"])


def product(x, weight):
    return x.double() @ weight.double().t()


def products_text(allow_tf32):
    return "one TF32 product" if allow_tf32 else "three TF32 products"


def assert_kernel(text, *names):
    """On Hopper that explain names this kernel, elsewhere that of any machine."""
    name, *more = names
    assert f"kernel {name if is_hopper() else ANY}" in text, text
    if is_h200():
        assert all(part in text for part in more), text


@ALLOWED
@LAYOUTS
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("kernel", "tile"), TILES)
def test_tile(kernel, tile, gated, stored, allow_tf32):
    m, n, k = TILES[kernel, tile]
    if stored is in_out and kernel == ANY:
        n -= 2  # rows of the stored matrix that are not aligned
    x = torch.randn(m, k, device="cuda")
    weight = stored(cases.weight(n, k, torch.float32, "cuda"))
    bias = torch.randn(n, device="cuda")
    residual = torch.randn(m, n // 2 if gated else n, device="cuda")
    expected = {"activation": "silu", "gated": gated, "residual": residual}
    options = {**expected, "allow_tf32": allow_tf32}
    # What is multiplied: the operands as they are, or as one product takes them.
    operands = [cases.as_tf32(each) for each in (x, weight)] if allow_tf32 else [x, weight]
    text = explain("linear", x, weight, bias, **options)
    assert_kernel(text, kernel, f"tile {tile}", products_text(allow_tf32))
    y = ops.linear(x, weight, bias, **options)
    cases.assert_as_reference(y, reference.linear, *operands, bias, **expected)
    assert cases.same_bits(ops.linear(x, weight, bias, **options), y)
    # The same with a row's bits that do not depend on the others.
    options["batch_invariant"] = True
    y = ops.linear(x, weight, bias, **options)
    cases.assert_as_reference(y, reference.linear, *operands, bias, **expected)
    options["residual"] = residual[:7]
    few = ops.linear(x[:7], weight, bias, **options)
    assert cases.same_bits(few, y[:7]), "the rows show in the bits"


@ALLOWED
@LAYOUTS
@pytest.mark.parametrize("rows", SPLIT)
def test_split(rows, stored, allow_tf32):
    m, n, k = SPLIT[rows]
    x = torch.randn(m, k, device="cuda")
    weight = stored(cases.weight(n, k, torch.float32, "cuda"))
    operands = [x, weight]
    if allow_tf32:  # nothing is left to round, so that the reference multiplies the same
        operands = [cases.as_tf32(each) for each in operands]
    linear = functools.partial(ops.linear, allow_tf32=allow_tf32)
    for options in (
        {},
        {"activation": "gelu_erf"},
        {"activation": "silu", "gated": True, "layout": "up_gate"},
    ):
        columns = n // 2 if options.get("gated") else n
        bias, residual = torch.randn(n, device="cuda"), torch.randn(m, columns, device="cuda")
        for more in ({}, {"bias": bias}, {"bias": bias, "residual": residual}):
            case = {**options, **more}
            text = explain("linear", x, weight, **case, allow_tf32=allow_tf32)
            assert_kernel(text, HOPPER, f"tile {rows}x128x32", "k in", products_text(allow_tf32))
            y = linear(x, weight, **case)
            cases.assert_as_reference(y, reference.linear, *operands, **case)
            assert cases.same_bits(linear(x, weight, **case), y)
    for each in (x, operands[0]):
        each[1, 5], each[2, k - 1] = torch.inf, torch.nan
    for each in (weight, operands[1]):
        each[3, 700] = -torch.inf
    y, expected = linear(x, weight), product(*operands).float()
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(y[expected.isinf()], expected[expected.isinf()])
    finite = expected.isfinite()
    assert (y[finite] - expected[finite]).abs().max() < 1e-4


@LAYOUTS
@pytest.mark.parametrize("shape", [(1000, 4096, 200), (65, 48, 64), (130, 31, 40), (33, 70, 129)])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_small_integers_are_exact(shape, start, stored):
    m, n, k = shape
    # Views: some with aligned rows, some with a first element or a row stride that aligns nothing.
    x = cases.integers(m, k + 4, device="cuda")[:, start : start + k]
    weight = stored(cases.integers(n, k, device="cuda"))
    assert "tf32x3" in explain("linear", x, weight)
    assert torch.equal(ops.linear(x, weight).double(), product(x, weight))
    half = n // 2
    weight = stored(cases.integers(2 * half, k, device="cuda"))
    z = product(x, weight)
    expected = z[:, :half] * z[:, half:]
    assert expected.abs().max() < 2**24
    assert torch.equal(ops.linear(x, weight, gated=True).double(), expected)


@LAYOUTS
@pytest.mark.parametrize("layout", cases.LAYOUTS)
@pytest.mark.parametrize("m", [1, 5, 65, 300])
@pytest.mark.parametrize(("n", "k"), [(7, 33), (200, 130), (136, 1), (328, 1003)])
def test_tails_between_aligned_rows(m, n, k, layout, stored):
    # What lies behind the operands' rows is NaN, and must not be read.
    x = padded(cases.integers(m, k, device="cuda", limit=1))
    weight = cases.integers(2 * n, k, device="cuda", limit=1)
    weight = padded(weight) if stored is plainly else padded(weight.t()).t()
    out = cases.Guarded(m, 2 * n, dtype=torch.float32, device="cuda", gap=4)
    if m > 4 and k > 1:
        assert_kernel(explain("linear", x, weight, out=out.out), HOPPER)
    ops.linear(x, weight, out=out.out)
    z = product(x, weight)
    assert torch.equal(out.check().double(), z)
    gate, up = (z[:, :n], z[:, n:]) if layout == "gate_up" else (z[:, n:], z[:, :n])
    out = cases.Guarded(m, n, dtype=torch.float32, device="cuda", gap=5)
    options = {"gated": True, "layout": layout, "activation": "relu"}
    ops.linear(x, weight, out=out.out, **options)
    assert torch.equal(out.check().double(), gate.relu() * up)
    residual = padded(cases.integers(m, n, device="cuda"))
    y = ops.linear(x, weight, residual=residual, **options)
    assert torch.equal(y.double(), gate.relu() * up + residual)


@LAYOUTS
@pytest.mark.parametrize("k", [33, 64, 516])
def test_batch_invariant_rows(k, stored):
    weight = stored(cases.weight(192, k, torch.float32, "cuda"))
    together = torch.randn(200, k, device="cuda")
    for x in (together, padded(together)):
        y = ops.linear(x, weight, batch_invariant=True)
        for first, last in ((0, 1), (17, 18), (7, 40), (100, 200)):
            some = ops.linear(x[first:last], weight, batch_invariant=True)
            assert cases.same_bits(some, y[first:last])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("k", [64, 1024, 4096, 14336])
def test_error_is_that_of_fp32(k, positive):
    x = torch.randn(512, k, device="cuda")
    weight = cases.weight(512, k, torch.float32, "cuda")
    if positive:
        # No sum of these passes near zero: what truncation takes away adds up.
        x, weight = x.abs(), weight.abs()
    exact = product(x, weight)

    def error(y):
        return ((y.double() - exact).norm() / exact.norm()).item()

    ours, torchs = error(ops.linear(x, weight)), error(x @ weight.t())
    print(f"K={k}, positive={positive}: {ours:.2e}, torch {torchs:.2e}")
    assert ours <= max(2 * torchs, 1e-6)


@ALLOWED
@LAYOUTS
@pytest.mark.parametrize("batch_invariant", [False, True])
def test_special_values(batch_invariant, stored, allow_tf32):
    options = {"batch_invariant": batch_invariant, "allow_tf32": allow_tf32}
    linear = functools.partial(ops.linear, **options)
    m, n, k = 200, 192, 520
    x = torch.randn(m, k, device="cuda")
    weight = cases.weight(n, k, torch.float32, "cuda")
    plain = linear(x, stored(weight))
    inf, largest = torch.inf, torch.finfo(torch.float32).max
    x[1, 5], x[2, 500], x[3, 0] = inf, -inf, torch.nan
    x[4, 3], x[4, 4] = inf, -inf
    x[5] = 0
    x[5, 7] = largest  # rounds up to infinity in TF32
    x[6] = 1e37
    x[7].view(torch.int32)[9] = 0x7F800001  # a NaN whose bits TF32 lacks
    weight[0] = 0.5  # nothing is left of it after its first TF32 number
    weight[1, 11], weight[2, 12] = inf, torch.nan
    weight[3] = 2.0
    weight[1, 5] = weight[130, 5] = 0
    weight = stored(weight)
    assert_kernel(explain("linear", x, weight, **options), ANY if batch_invariant else HOPPER)
    y = linear(x, weight)
    expected = product(x, weight).float()  # what is too large becomes an infinity
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(y.isinf(), expected.isinf())
    assert torch.equal(y[expected.isinf()], expected[expected.isinf()])
    limit = (2.0**-10 if allow_tf32 else 1e-6) * expected[5].abs()
    assert ((y[5] - expected[5]).abs() <= limit)[expected[5].isfinite()].all()
    # What shares no operand with a special value has the same bits as without them.
    assert cases.same_bits(y[8:, 4:130], plain[8:, 4:130])
    assert cases.same_bits(y[8:, 131:], plain[8:, 131:])


def test_small_numbers_keep_their_precision():
    x = torch.randn(64, 256, device="cuda") * 1e-30
    weight = torch.randn(64, 256, device="cuda")
    exact = product(x, weight)
    assert (ops.linear(x, weight).double() - exact).norm() <= 1e-6 * exact.norm()
    zero = torch.zeros(64, 256, device="cuda")
    assert torch.equal(ops.linear(zero, weight), zero[:, :64])
