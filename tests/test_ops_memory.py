"""Where ops read and write: outputs in place, canaries around them, exact integers, and the same
bits every time."""

import cases
import pytest
import torch
from cases import DTYPES, EPS, Guarded, integers, tensor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postlude import LayerNorm, RMSNorm, ops

SHAPES = ((1, 33, 40), (7, 65, 33), (70, 48, 64))
# Of batch_invariant: on both sides of where kernels and tiles change, up to the largest number.
ROW_COUNTS = (1, 2, 3, 7, 8, 16, 17, 33, 64, 65, 128, 129, 255, 1000)
ALL_ROWS = 8192


def exact_linear(x, weight, bias=None, residual=None, *, alpha=1.0, gated=False, relu=False):
    """What linear must give to the bit where every sum is exact: one rounding, to x's dtype."""
    z = x.double() @ weight.double().t()
    if bias is not None:
        z = z + bias.double()
    gate, up = z.chunk(2, dim=-1) if gated else (z, 1.0)
    h = (torch.relu(gate) if relu else gate) * up
    return (h * alpha + (0.0 if residual is None else residual.double())).to(x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [False, True])
def test_small_integers_are_exact(gated, dtype, device):
    for m, n, k in (*SHAPES, (3, 5, 1), (1, 1, 127), (33, 300, 31)):
        rows = 2 * n if gated else n
        x, weight = (
            integers(size, k, dtype=dtype, device=device, limit=1 if gated else 3)
            for size in (m, rows)
        )
        bias = integers(rows, dtype=dtype, device=device)
        residual = integers(m, n, dtype=dtype, device=device, limit=100)
        expected = exact_linear(x, weight, bias, residual, alpha=0.5, gated=gated, relu=True)
        options = {"activation": "relu", "residual": residual, "alpha": 0.5, "gated": gated}
        assert torch.equal(ops.linear(x, weight, bias, **options), expected)
        packed = ops.pack_weight(weight, gated=gated)
        assert torch.equal(ops.linear(x, packed, bias, **options), expected)


def close(actual, expected):
    """Equal but for rounding: an output's strides may choose another kernel."""
    cases.assert_accurate(actual, expected.double(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [False, True])
def test_outputs_are_written_whole_and_nothing_else(gated, dtype, device):
    for m, n, k in SHAPES:
        rows = 2 * n if gated else n
        x, weight = tensor(m, k, dtype=dtype, device=device), cases.weight(rows, k, dtype, device)
        back = cases.weight(k, n, dtype, device)
        norm = RMSNorm(tensor(k, dtype=dtype, device=device), EPS)
        for gap in (0, 3):
            y = Guarded(m, n, dtype=dtype, device=device, gap=gap)
            wide, r, normed = (Guarded(m, k, dtype=dtype, device=device, gap=gap) for _ in range(3))
            ops.linear(x, weight, activation="silu", gated=gated, out=y.out)
            close(y.check(), ops.linear(x, weight, activation="silu", gated=gated))
            options = {"activation": "silu", "gated": gated, "norm": norm, "residual": x}
            ops.mlp(
                x,
                weight,
                back,
                **options,
                out=wide.out,
                residual_out=r.out,
                normed_out=normed.out,
            )
            expected = ops.mlp(x, weight, back, **options, return_residual=True, return_normed=True)
            for output, want in zip((wide, r, normed), expected, strict=True):
                close(output.check(), want)
            if not gated:
                y.out.fill_(torch.nan)
                normed.out.fill_(torch.nan)
                ops.qkv(x, weight, norm=norm, out=y.out, normed_out=normed.out)
                close(y.check(), ops.qkv(x, weight, norm=norm))
                close(normed.check(), ops.norm(x, norm))
            wide.out.fill_(torch.nan)
            r.out.fill_(torch.nan)
            ops.norm(x, norm, residual=x, out=wide.out, residual_out=r.out)
            n_, r_ = ops.norm(x, norm, residual=x)
            close(wide.check(), n_)
            close(r.check(), r_)
            wide.out.fill_(torch.nan)
            ops.residual_add(x, x, form="parallel", out=wide.out, mp_size=2)
            close(wide.check(), ops.residual_add(x, x, form="parallel", mp_size=2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place(dtype, device):
    for m in (1, 9, 130):
        k = 48
        x, residual = (tensor(m, k, dtype=dtype, device=device) for _ in range(2))
        weight, v = cases.weight(k, k, dtype, device), tensor(k, dtype=dtype, device=device)
        norm = LayerNorm(v, v, EPS)
        gated = cases.weight(2 * k, k, dtype, device)
        runs = {
            "linear": lambda x, r, **o: ops.linear(
                x, weight, v, activation="silu", residual=r, **o
            ),
            "gated": lambda x, r, **o: ops.linear(x, gated, gated=True, residual=r, **o),
            "mlp": lambda x, r, **o: ops.mlp(
                x, weight, weight, v, v, activation="relu", norm=norm, residual=r, **o
            ),
            "mlp without its residual": lambda x, r, **o: ops.mlp(
                x, weight, weight, activation="relu", residual=r, add_residual=False, **o
            ),
            "parallel mlp": lambda x, r, **o: ops.mlp(
                x, gated, weight, activation="silu", gated=True, add_residual=r, **o
            ),
            "norm": lambda x, r, **o: ops.norm(x, norm, add_after=r, **o),
            "residual_add": lambda x, r, **o: ops.residual_add(
                x, r, form="pre_ln", final_bias=v, **o
            ),
        }
        for name, run in runs.items():
            expected = run(x, residual)
            for target in (0, 1):
                inputs = [x.clone(), residual.clone()]
                assert run(*inputs, out=inputs[target]) is inputs[target]
                assert cases.same_bits(inputs[target], expected), name
                assert cases.same_bits(inputs[1 - target], (x, residual)[1 - target]), name
        for target in (0, 1):
            inputs = [x.clone(), residual.clone()]
            y, r, _ = ops.mlp(
                inputs[0],
                weight,
                weight,
                activation="relu",
                norm=norm,
                residual=inputs[1],
                residual_out=inputs[target],
                return_residual=True,
                return_normed=True,
            )
            assert r is inputs[target]
            assert cases.same_bits(r, ops.norm(x, None, residual=residual)[1])
            expected = ops.mlp(x, weight, weight, activation="relu", norm=norm, residual=residual)
            assert cases.same_bits(y, expected)
        inputs = [x.clone(), residual.clone()]
        ops.norm(inputs[0], norm, residual=inputs[1], out=inputs[0], residual_out=inputs[1])
        n_, r = ops.norm(x, norm, residual=residual)
        assert cases.same_bits(inputs[0], n_) and cases.same_bits(inputs[1], r)
        inputs = [x.clone()]
        assert ops.qkv(inputs[0], weight, norm=norm, out=inputs[0]) is inputs[0]
        assert cases.same_bits(inputs[0], ops.qkv(x, weight, norm=norm))


def test_other_overlaps_are_refused(device):
    buffer = torch.zeros(20, 48, device=device)
    weight, x = cases.weight(48, 48, torch.float32, device), tensor(10, 48, device=device)
    with pytest.raises(ValueError, match=r"\[linear\] out: .*x"):
        ops.linear(buffer[:10], weight, out=buffer[1:11])
    with pytest.raises(ValueError, match=r"\[linear\] out: .*residual"):
        ops.linear(x, weight, residual=buffer[:10], out=buffer[1:11])
    with pytest.raises(ValueError, match=r"\[linear\] out: .*weight"):
        ops.linear(x, weight, out=weight[:10])
    with pytest.raises(ValueError, match=r"\[linear\] out: .*overlap"):
        ops.linear(x, weight, out=buffer[:1].expand(10, 48))
    with pytest.raises(ValueError, match=r"\[mlp\] residual_out: "):
        ops.mlp(x, weight, weight, activation=None, residual_out=weight[:10])
    with pytest.raises(ValueError, match=r"\[mlp\] out: .*normed_out"):
        ops.mlp(x, weight, weight, activation=None, out=buffer[:10], normed_out=buffer[:10])
    with pytest.raises(ValueError, match=r"\[norm\] out: .*residual_out"):
        ops.norm(x, None, out=buffer[:10], residual_out=buffer[:10])
    # Side by side in the same rows is no overlap.
    left, right = buffer[:10, :24], buffer[:10, 24:]
    left.copy_(x[:, :24])
    ops.linear(left, weight[:24, :24], out=right)
    assert torch.equal(right, ops.linear(left.contiguous(), weight[:24, :24]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pack", [False, True])
def test_batch_invariant(pack, dtype, device):
    k, n = 96, 130
    x = tensor(ALL_ROWS, k, dtype=dtype, device=device)
    weight, gated = cases.weight(n, k, dtype, device), cases.weight(2 * n, k, dtype, device)
    back, v = cases.weight(k, n, dtype, device), tensor(k, dtype=dtype, device=device)
    norm = LayerNorm(v, v, EPS)
    if pack:
        weight, back = ops.pack_weight(weight), ops.pack_weight(back)
        gated = ops.pack_weight(gated, gated=True)
    runs = {
        "linear": lambda x: ops.linear(x, weight, activation="gelu", batch_invariant=True),
        "gated": lambda x: ops.linear(
            x, gated, activation="silu", gated=True, batch_invariant=True
        ),
        "qkv": lambda x: ops.qkv(x, weight, norm=norm, batch_invariant=True),
        "mlp": lambda x: ops.mlp(
            x, weight, back, activation="gelu", norm=norm, batch_invariant=True
        ),
        "gated mlp": lambda x: ops.mlp(
            x, gated, back, activation="silu", gated=True, batch_invariant=True
        ),
        "norm": lambda x: ops.norm(x, norm, batch_invariant=True),
    }
    for name, run in runs.items():
        everything = run(x)
        for m in ROW_COUNTS:
            last = slice(ALL_ROWS - m, None)
            assert cases.same_bits(run(x[last]), everything[last]), (name, m)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_every_time(dtype, device):
    for m, n, k in (*SHAPES, (1, 512, 2048), (200, 256, 512)):
        x, weight = tensor(m, k, dtype=dtype, device=device), cases.weight(n, k, dtype, device)
        back = cases.weight(k, n, dtype, device)
        first = ops.mlp(x, weight, back, activation="gelu")
        for _ in range(3):
            other = ops.mlp(x.clone(), weight.clone(), back.clone(), activation="gelu")
            assert cases.same_bits(first, other)


SIZES = st.one_of(st.integers(0, 9), st.sampled_from([15, 16, 17, 31, 33, 63, 64, 65, 127, 129]))
QUICK = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def strided(draw, shape, dtype, limit):
    """Integers of this shape, with random room between the slices of every outer dimension."""
    room = [size + draw(st.integers(0, 3)) for size in shape]
    room[-1] = shape[-1] + draw(st.sampled_from([0, 0, 1, 5]))
    whole = integers(*room, dtype=dtype, limit=limit)
    starts = [draw(st.integers(0, extent - size)) for extent, size in zip(room, shape, strict=True)]
    return whole[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))]


@st.composite
def linear_calls(draw):
    """(x, weight, bias, options) of linear, on integers whose sums are exact."""
    dtype, gated = draw(st.sampled_from(DTYPES)), draw(st.booleans())
    leading = draw(st.lists(st.integers(0, 5), max_size=3)) or draw(
        st.lists(SIZES, min_size=1, max_size=1)
    )
    n, k = draw(SIZES), draw(SIZES)
    rows = 2 * n if gated else n
    x = draw(strided((*leading, k), dtype, 1))
    weight = draw(strided((rows, k), dtype, 1))
    if draw(st.booleans()):
        weight = draw(strided((k, rows), dtype, 1)).t()
    bias = integers(rows, dtype=draw(st.sampled_from([dtype, torch.float32])))
    residual = draw(strided((*leading, n), dtype, 50)) if draw(st.booleans()) else None
    alpha = draw(st.sampled_from([1.0, 2.0]))
    options = {"gated": gated, "relu": draw(st.booleans()), "alpha": alpha}
    return x, weight, bias if draw(st.booleans()) else None, residual, options


@QUICK
@given(call=linear_calls(), pack=st.booleans(), guard=st.booleans(), invariant=st.booleans())
def test_any_linear_is_exact(call, pack, guard, invariant, device):
    x, weight, bias, residual, options = call
    expected = exact_linear(x, weight, bias, residual, **options).to(device)
    x, weight, bias, residual = (
        None if t is None else t.to(device) for t in (x, weight, bias, residual)
    )
    out = Guarded(*expected.shape, dtype=x.dtype, device=device) if guard else None
    actual = ops.linear(
        x,
        ops.pack_weight(weight, gated=options["gated"]) if pack else weight,
        bias,
        activation="relu" if options["relu"] else None,
        gated=options["gated"],
        residual=residual,
        alpha=options["alpha"],
        out=None if out is None else out.out,
        batch_invariant=invariant,
    )
    assert torch.equal(actual, expected)
    if out is not None:
        assert actual is out.out
        out.check()


@QUICK
@given(data=st.data())
def test_any_mlp_is_exact(data, device):
    draw = data.draw
    dtype, gated = draw(st.sampled_from(DTYPES)), draw(st.booleans())
    m, h, i = (draw(st.integers(0, 20)) for _ in range(3))
    x, residual = (integers(m, h, dtype=dtype, device=device, limit=1) for _ in range(2))
    # Sparse rows keep every intermediate value exact in bfloat16 too.
    weight_in = integers(2 * i if gated else i, h, dtype=dtype, device=device, limit=1)
    weight_in[:, 5:] = 0
    weight_out = integers(h, i, dtype=dtype, device=device, limit=1)
    bias_out = integers(h, dtype=dtype, device=device)
    r = x + residual
    hidden = exact_linear(r, weight_in, relu=True, gated=gated)
    expected = exact_linear(hidden, weight_out, bias_out, r)
    pack = draw(st.booleans())
    y, r_ = ops.mlp(
        x,
        ops.pack_weight(weight_in, gated=gated) if pack else weight_in,
        ops.pack_weight(weight_out) if pack else weight_out,
        None,
        bias_out,
        activation="relu",
        gated=gated,
        residual=residual,
        return_residual=True,
        batch_invariant=draw(st.booleans()),
    )
    assert torch.equal(r_, r) and torch.equal(y, expected)
