"""postlude.ops on torch tensors: every op and option against float64, on shapes of every kind."""

import cases
import pytest
import torch
from cases import ACTIVATIONS, DTYPES, EPS, FEW, LAYOUTS, LEADING, MODELS, NORMS, TAILS, tensor

from postlude import LayerNorm, RMSNorm, ops, reference


def linear_inputs(shape, dtype, device, *, gated=False, bias=True, residual=True, leading=None):
    """(x, weight, bias or None), and residual or None, for (m, n, k)."""
    m, n, k = shape
    rows = 2 * n if gated else n
    leading = (m,) if leading is None else leading
    arguments = (
        tensor(*leading, k, dtype=dtype, device=device),
        cases.weight(rows, k, dtype, device),
        tensor(rows, dtype=dtype, device=device) if bias else None,
    )
    return arguments, tensor(*leading, n, dtype=dtype, device=device) if residual else None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*TAILS, *MODELS])
def test_linear_shapes(shape, dtype, device):
    arguments, residual = linear_inputs(shape, dtype, device)
    options = {"activation": "gelu_erf", "residual": residual}
    cases.assert_as_reference(
        ops.linear(*arguments, **options), reference.linear, *arguments, **options
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_linear_options(activation, gated, dtype, device):
    for shape in FEW:
        for option in cases.grid(bias=(False, True), residual=(False, True), layout=LAYOUTS):
            layout = option.pop("layout")
            arguments, residual = linear_inputs(shape, dtype, device, gated=gated, **option)
            options = {
                "activation": activation,
                "gated": gated,
                "layout": layout,
                "residual": residual,
                "alpha": 0.75,
            }
            cases.assert_as_reference(
                ops.linear(*arguments, **options), reference.linear, *arguments, **options
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_clamp(dtype, device):
    (x, weight, bias), _ = linear_inputs((9, 33, 40), dtype, device, gated=True)
    z = x.double() @ weight.double().t() + bias.double()
    gate, up = z.chunk(2, dim=-1)
    for clamp in (0.5, 1.0, 1e6):
        limited = torch.sigmoid(gate.clamp(max=clamp)) * gate.clamp(max=clamp)
        exact = limited * up.clamp(-clamp, clamp)
        actual = ops.linear(x, weight, bias, activation="silu", gated=True, clamp=clamp)
        cases.assert_accurate(actual, exact, exact.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["linear", "qkv", "mlp"])
def test_float32_biases_and_norm_weights(op, dtype, device):
    x = tensor(5, 33, dtype=dtype, device=device)
    weight = cases.weight(48, 33, dtype, device)
    back = cases.weight(33, 48, dtype, device)
    bias, bias_out = tensor(48, device=device), tensor(33, device=device)
    norm = cases.norm_of("layer", 33, torch.float32, device)
    if op == "linear":
        arguments, options = (x, weight, bias), {}
    elif op == "qkv":
        arguments, options = (x, weight, bias), {"norm": norm}
    else:
        arguments, options = (x, weight, back, bias, bias_out), {"norm": norm, "activation": "silu"}
        options["input_bias"] = bias_out
    exact = reference.exact(getattr(reference, op), *arguments, **options)
    actual = getattr(ops, op)(*arguments, **options)
    cases.assert_accurate(actual, exact, exact.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_qkv(norm, bias, dtype, device):
    for m, n, k in FEW:
        x, weight = tensor(m, k, dtype=dtype, device=device), cases.weight(n, k, dtype, device)
        arguments = (x, weight, tensor(n, dtype=dtype, device=device) if bias else None)
        options = {"norm": cases.norm_of(norm, k, dtype, device)}
        cases.assert_as_reference(
            ops.qkv(*arguments, **options), reference.qkv, *arguments, **options
        )
        options["return_normed"] = True
        both = ops.qkv(*arguments, **options)
        cases.assert_as_reference(both, reference.qkv, *arguments, **options)
        normed_out = torch.empty_like(x)
        y, n_ = ops.qkv(*arguments, **options, normed_out=normed_out)
        assert n_ is normed_out
        assert cases.same_bits(y, both[0]) and cases.same_bits(n_, both[1])


def mlp_inputs(shape, dtype, device, *, gated=False, bias=True):
    """(x, weight_in, weight_out, bias_in, bias_out) for (m, h, i)."""
    m, h, i = shape
    rows = 2 * i if gated else i
    return (
        tensor(m, h, dtype=dtype, device=device),
        cases.weight(rows, h, dtype, device),
        cases.weight(h, i, dtype, device),
        tensor(rows, dtype=dtype, device=device) if bias else None,
        tensor(h, dtype=dtype, device=device) if bias else None,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_mlp(bias, gated, norm, dtype, device):
    for shape in ((1, 200, 257), (7, 65, 48), (70, 40, 31)):
        arguments = mlp_inputs(shape, dtype, device, gated=gated, bias=bias)
        x = arguments[0]
        for form in cases.grid(residual=(False, True), add_residual=(False, True, "parallel")):
            options = {
                "activation": "silu",
                "gated": gated,
                "norm": cases.norm_of(norm, shape[1], dtype, device),
                "residual": torch.randn_like(x) if form["residual"] else None,
                "input_bias": torch.randn_like(x[0]) if form["residual"] else None,
                "add_residual": torch.randn_like(x)
                if form["add_residual"] == "parallel"
                else form["add_residual"],
            }
            y = ops.mlp(*arguments, **options)
            cases.assert_as_reference(y, reference.mlp, *arguments, **options)
            options |= {"return_residual": True, "return_normed": True}
            everything = ops.mlp(*arguments, **options)
            cases.assert_as_reference(everything, reference.mlp, *arguments, **options)
            assert cases.same_bits(everything[0], y), "what is returned changes what is computed"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_mlp_activations(layout, activation, dtype, device):
    for gated in (False, True):
        arguments = mlp_inputs((9, 64, 80), dtype, device, gated=gated)
        options = {"activation": activation, "gated": gated, "layout": layout}
        cases.assert_as_reference(
            ops.mlp(*arguments, **options), reference.mlp, *arguments, **options
        )


def test_mlp_returns_what_is_asked_for(device):
    arguments = mlp_inputs((3, 16, 24), torch.float32, device)
    x = arguments[0]
    options = {"activation": "relu", "norm": cases.norm_of("rms", 16, x.dtype, device)}
    y = ops.mlp(*arguments, **options)
    r_out, n_out = torch.empty_like(x), torch.empty_like(x)
    filled = ops.mlp(*arguments, **options, residual_out=r_out, normed_out=n_out)
    assert cases.same_bits(filled, y), "buffers alone do not change what is returned"
    result = ops.mlp(*arguments, **options, residual_out=r_out, return_residual=True)
    assert len(result) == 2 and result[1] is r_out
    result = ops.mlp(*arguments, **options, normed_out=n_out, return_normed=True)
    assert len(result) == 2 and result[1] is n_out
    assert cases.same_bits(r_out, x)
    assert cases.same_bits(n_out, ops.norm(x, options["norm"]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("size", [1, 2, 33, 64, 769, 1600])
def test_norm(size, kind, dtype, device):
    norm = cases.norm_of(kind, size, dtype, device)
    for m in (1, 6):
        x = tensor(m, size, dtype=dtype, device=device)
        cases.assert_as_reference(ops.norm(x, norm), reference.norm, x, norm)
        for given in cases.grid(residual=(0, 1), bias=(0, 1), add_after=(0, 1)):
            options = {
                "residual": torch.randn_like(x) if given["residual"] else None,
                "bias": torch.randn_like(x[0]) if given["bias"] else None,
                "add_after": torch.randn_like(x) if given["add_after"] else None,
            }
            cases.assert_as_reference(
                ops.norm(x, norm, **options), reference.norm, x, norm, **options
            )


def test_norm_returns_r_where_it_was_made(device):
    x = tensor(3, 8, device=device)
    norm, r = RMSNorm(tensor(8, device=device), EPS), torch.empty_like(x)
    n, returned = ops.norm(x, norm, residual_out=r)
    assert returned is r and cases.same_bits(r, x)
    assert cases.same_bits(n, ops.norm(x, norm))


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_norm_without_parameters(kind, device):
    x = tensor(4, 24, device=device)
    ones, zeros = torch.ones(24, device=device), torch.zeros(24, device=device)
    if kind == "layer":
        bare, full = LayerNorm(None, None, EPS), LayerNorm(ones, zeros, EPS)
    else:
        bare, full = RMSNorm(None, EPS), RMSNorm(ones, EPS)
    assert torch.equal(ops.norm(x, bare), ops.norm(x, full))


@pytest.mark.parametrize(("dtype", "ratio"), [(torch.float32, 1000), (torch.bfloat16, 30)])
def test_norm_of_rows_far_from_zero(dtype, ratio, device):
    x = tensor(9, 768, device=device) + ratio
    x = x.to(dtype)
    norm = LayerNorm(torch.ones(768, dtype=dtype, device=device), None, EPS)
    exact = reference.exact(reference.norm, x, norm)
    eager = torch.nn.functional.layer_norm(x, (768,), norm.weight, None, EPS)
    cases.assert_accurate(ops.norm(x, norm), exact, eager)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["pre_ln", "post_ln", "parallel"])
@pytest.mark.parametrize("mp_size", [1, 3])
def test_residual_add(mp_size, form, dtype, device):
    h, r, a = (tensor(5, 33, dtype=dtype, device=device) for _ in range(3))
    ba, bf = (tensor(33, dtype=dtype, device=device) for _ in range(2))
    post = form == "post_ln"
    for given in cases.grid(output=(0, 1), bias=(0, 1), final=(0, 1)):
        options = {
            "form": form,
            "attention_output": a if given["output"] and not post else None,
            "attention_bias": ba if given["bias"] and not post else None,
            "final_bias": bf if given["final"] else None,
            "mp_size": mp_size,
        }
        actual = ops.residual_add(h, r, **options)
        cases.assert_as_reference(actual, reference.residual_add, h, r, **options)


CALLS = {
    "linear": lambda x, w, v, **o: ops.linear(x, w, v, activation="silu", **o),
    "qkv": lambda x, w, v, **o: ops.qkv(x, w, v, norm=RMSNorm(v, EPS), **o),
    "mlp": lambda x, w, v, **o: ops.mlp(x, w, w, v, v, activation="relu", **o),
    "norm": lambda x, w, v, **o: ops.norm(x, LayerNorm(v, v, EPS), **o),
    "residual_add": lambda x, w, v, **o: ops.residual_add(x, x, form="pre_ln", final_bias=v, **o),
}


@pytest.fixture(params=CALLS)
def call(request):
    """One op on x (*, K), a square weight and a vector, with options such as ``out``."""
    return CALLS[request.param]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", LEADING)
def test_leading_dimensions(leading, dtype, call, device):
    k = 40
    x, w = tensor(*leading, k, dtype=dtype, device=device), cases.weight(k, k, dtype, device)
    v = tensor(k, dtype=dtype, device=device)
    y = call(x, w, v)
    assert y.shape == x.shape and y.is_contiguous()
    assert cases.same_bits(y.reshape(-1, k), call(x.reshape(-1, k), w, v))


STRIDED = {
    "rows of a wider matrix": lambda t: t(7, 60)[:, 4:44],
    "every second row": lambda t: t(14, 40)[::2],
    "odd row stride": lambda t: t(7, 41)[:, :40],
    "one row for all": lambda t: t(1, 40).expand(7, 40),
    "transposed leading": lambda t: t(3, 4, 40).transpose(0, 1),
    "sliced leading": lambda t: t(4, 6, 40)[:, 1:4],
    "heads apart": lambda t: t(2, 5, 3, 40).permute(0, 2, 1, 3),
    "size 1 with any stride": lambda t: t(5, 40).as_strided((1, 5, 1, 40), (999, 40, 7, 1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", STRIDED)
def test_strides(view, dtype, call, device):
    x = STRIDED[view](lambda *shape: tensor(*shape, dtype=dtype, device=device))
    w, v = cases.weight(40, 40, dtype, device), tensor(40, dtype=dtype, device=device)
    # Some layouts run in several batches of rows: batch_invariant makes that the same bits.
    y = call(x.contiguous(), w, v, batch_invariant=True)
    assert cases.same_bits(call(x, w, v, batch_invariant=True), y)
    cases.assert_accurate(call(x, w, v), y.double(), y)
    if 0 not in x.stride():
        out = torch.empty_strided(x.shape, x.stride(), dtype=dtype, device=device)
        assert call(x, w, v, out=out, batch_invariant=True) is out
        assert cases.same_bits(out, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_layouts(dtype, device):
    for m, n, k in (*FEW, (1, 1, 8), (4, 8, 1)):
        x, w = tensor(m, k, dtype=dtype, device=device), cases.weight(n, k, dtype, device)
        views = {
            "[in, out]": w.t().contiguous().t(),
            "rows apart": torch.zeros(n, k + 5, dtype=dtype, device=device)[:, :k].copy_(w),
            "columns apart": torch.zeros(k, n + 3, dtype=dtype, device=device)[:, :n].t().copy_(w),
        }
        for view in views.values():
            cases.assert_as_reference(ops.linear(x, view), reference.linear, x, w)
            packed = ops.pack_weight(view)
            assert cases.same_bits(packed.unpack(), w)
            cases.assert_as_reference(ops.linear(x, packed), reference.linear, x, w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 7, 5), (3, 0, 5), (3, 7, 0), (0, 0, 0), (1, 33, 0)])
def test_size_0(shape, dtype, device):
    m, n, k = shape
    for gated in (False, True):
        arguments, residual = linear_inputs(shape, dtype, device, gated=gated)
        for pack in (False, True):
            w = ops.pack_weight(arguments[1], gated=gated) if pack else arguments[1]
            y = ops.linear(arguments[0], w, arguments[2], residual=residual, gated=gated)
            exact = reference.exact(reference.linear, *arguments, residual=residual, gated=gated)
            cases.assert_accurate(y, exact, exact.to(dtype))
    x, square = tensor(m, k, dtype=dtype, device=device), cases.weight(k, k, dtype, device)
    v = tensor(k, dtype=dtype, device=device)
    for call in CALLS.values():
        assert call(x, square, v).shape == (m, k)
    y, r, n_ = ops.mlp(
        x,
        cases.weight(n, k, dtype, device),
        cases.weight(k, n, dtype, device),
        bias_out=v,
        activation="relu",
        return_residual=True,
        return_normed=True,
    )
    assert y.shape == r.shape == n_.shape == (m, k)
    if n == 0:  # an empty sum is 0
        cases.assert_accurate(y, (x + v).double(), x + v)
    assert ops.norm(tensor(2, 0, 3, k, dtype=dtype, device=device), None).shape == (2, 0, 3, k)
