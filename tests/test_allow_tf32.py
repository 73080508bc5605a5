"""allow_tf32: on a GPU a product of float32 may be one TF32 product; nothing else changes."""

import functools

import cases
import pytest
import torch
from cases import DTYPES, tensor

from postlude import RMSNorm, explain, nn, ops, reference

ONE = "one TF32 product"
LAYOUTS = ("[out, in]", "[in, out]", "packed")


def rounds(device, dtype):
    """Whether the option changes anything."""
    return device == "cuda" and dtype == torch.float32


def relative(value, exact):
    """The Frobenius error over the norm."""
    return ((value.double() - exact).norm() / exact.norm()).item()


def problem(op, dtype, device, m=130, k=96):
    """(arguments, options) of a call whose products are not for few rows."""
    x = tensor(m, k, dtype=dtype, device=device)
    weight = cases.weight(200, k, dtype, device)
    if op == "linear":
        return (x, weight, tensor(200, device=device)), {"activation": "gelu_tanh"}
    norm = RMSNorm(tensor(k, device=device), 1e-5)
    if op == "qkv":
        return (x, weight), {"norm": norm}
    back = cases.weight(k, 200, dtype, device)
    return (x, weight, back), {"activation": "silu", "norm": norm}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["linear", "qkv", "mlp"])
@pytest.mark.parametrize("more", [{}, {"batch_invariant": True}], ids=["", "batch_invariant"])
def test_changes_products_of_float32_on_a_gpu_alone(op, more, dtype, device):
    arguments, options = problem(op, dtype, device)
    call = functools.partial(getattr(ops, op), *arguments, **options, **more)
    exact = reference.exact(getattr(reference, op), *arguments, **options)
    plain, allowed = call(), call(allow_tf32=True)
    assert cases.same_bits(call(allow_tf32=True), allowed)
    assert cases.same_bits(call(allow_tf32=False), plain)
    text = explain(op, *arguments, **options, **more)
    assert "allow_tf32" not in text and ONE not in text
    text = explain(op, *arguments, **options, **more, allow_tf32=True)
    products = 2 if op == "mlp" else 1
    assert text.count(" allow_tf32") == text.count("gemm m=") == products
    assert text.count(ONE) == (products if rounds(device, dtype) else 0), text
    if rounds(device, dtype):
        error = relative(allowed, exact)
        assert 20 * relative(plain, exact) < error <= 1e-3
    else:
        assert cases.same_bits(allowed, plain)


def stored_as(layout, weight):
    """The weight, and how the device holds it."""
    if layout == "packed":
        return ops.pack_weight(weight)
    return weight if layout == "[out, in]" else weight.t().contiguous().t()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_invariant", [False, True])
@pytest.mark.parametrize("shape", [(128, 256, 512), (300, 200, 129), (37, 1000, 2052)])
def test_operands_are_rounded_and_sums_are_not(shape, batch_invariant, layout, device):
    m, n, k = shape
    # All of one sign: what a sum lost, or what was cut off the operands, would add up.
    x = tensor(m, k, device=device).abs()
    weight = cases.weight(n, k, torch.float32, device).abs()
    options = {"batch_invariant": batch_invariant, "allow_tf32": True}
    y = ops.linear(x, stored_as(layout, weight), **options)
    if rounds(device, torch.float32):
        x, weight = cases.as_tf32(x), cases.as_tf32(weight)
    assert relative(y, x.double() @ weight.double().t()) < 2e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [33, 36])
def test_integers_of_11_bits_are_exact(k, layout, device):
    x = torch.randint(-2048, 2049, (130, k), device=device).float()
    weight = torch.randint(-2, 3, (72, k), device=device).float()
    for batch_invariant in (False, True):
        y = ops.linear(
            x, stored_as(layout, weight), batch_invariant=batch_invariant, allow_tf32=True
        )
        assert torch.equal(y.double(), x.double() @ weight.double().t())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batch_invariant_holds(layout, device):
    x = tensor(200, 129, device=device)
    weight = stored_as(layout, cases.weight(96, 129, torch.float32, device))
    call = functools.partial(ops.linear, weight=weight, batch_invariant=True, allow_tf32=True)
    y = call(x)
    for first, last in ((0, 1), (7, 40), (100, 200)):
        assert cases.same_bits(call(x[first:last]), y[first:last])


@pytest.mark.parametrize("op", ["linear", "qkv", "mlp"])
def test_bound_ops_take_it(op, device):
    (x, *rest), options = problem(op, torch.float32, device)
    bound = getattr(ops, op.capitalize())
    for allow_tf32 in (False, True):
        expected = getattr(ops, op)(x, *rest, **options, allow_tf32=allow_tf32)
        layer = bound(*rest, **options, pack=False, allow_tf32=allow_tf32)
        assert cases.same_bits(layer(x), expected)


@pytest.mark.parametrize("made", [nn.Linear, nn.MLP, nn.QKV], ids=lambda kind: kind.__name__)
def test_layers_take_it(made, device):
    sizes = {nn.Linear: (96, 200), nn.MLP: (96, 200), nn.QKV: (96, 4)}[made]
    options = {"activation": "gelu_tanh"} if made is nn.MLP else {}
    module = made(*sizes, **options, device=device)
    call = module.merged if made is nn.QKV else module
    x = tensor(130, 96, device=device)
    assert not module.allow_tf32
    plain = call(x)
    module.allow_tf32 = True
    allowed = call(x)
    assert module.allow_tf32 and cases.same_bits(call(x), allowed)
    assert cases.same_bits(allowed, plain) != rounds(device, torch.float32)
    module.allow_tf32 = False
    assert cases.same_bits(call(x), plain), "the packed copy of another option was taken"
    assert made(*sizes, **options, device=device, allow_tf32=True).allow_tf32


@pytest.mark.parametrize("op", ["linear", "qkv", "mlp"])
def test_operators_of_graphs_take_it(op, device):
    arguments, options = problem(op, torch.float32, device)
    norm = options.pop("norm", None)
    if norm is not None:
        options |= {"norm": "rms", "norm_weight": norm.weight, "eps": norm.eps}
    operator = getattr(torch.ops.postlude, op)
    plain, allowed = (operator(*arguments, **options, allow_tf32=allow) for allow in (False, True))
    assert cases.same_bits(operator(*arguments, **options), plain)
    assert cases.same_bits(allowed, plain) != rounds(device, torch.float32)
