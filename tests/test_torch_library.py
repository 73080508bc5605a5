"""torch.ops.postlude: schemas, opcheck of every operator, and the packed copies they share."""

import copy
import gc
import inspect
import subprocess
import sys

import cases
import pytest
import torch
from cases import EPS, same_bits, tensor
from torch.library import opcheck

from postlude import LayerNorm, RMSNorm, _interop, nn, ops
from postlude.torch_library import OPERATORS, _table

H, INNER = 24, 40
OUTPUTS = ("out", "residual_out", "normed_out")


def operator(name):
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.postlude, packet), overload or "default")


class Inputs:
    """Tensors for one call: strided rows unless there are none, weights of either order."""

    def __init__(self, rows, device, dtype=torch.float32):
        self.options = {"dtype": dtype, "device": device}
        self.rows = rows

    def x(self, columns=H):
        return tensor(*self.rows, columns + 8, **self.options)[..., :columns]

    def empty(self, columns=H):
        return self.x(columns).fill_(torch.nan)

    def weight(self, n, k, transposed=False):
        stored = cases.weight(n, k, self.options["dtype"], self.options["device"])
        return stored.t().contiguous().t() if transposed else stored

    def vector(self, size):
        return tensor(size, **self.options)

    def norm(self, kind="layer"):
        value = {"norm": kind, "norm_weight": self.vector(H), "eps": EPS}
        return value | ({"norm_bias": self.vector(H)} if kind == "layer" else {})


def calls(t):
    """For each operator some (args, kwargs)."""
    linear = (t.x(), t.weight(INNER, H), t.vector(INNER))
    gated = (t.x(), t.weight(2 * INNER, H), t.vector(2 * INNER))
    plain_mlp = (t.x(), t.weight(INNER, H), t.weight(H, INNER, True), t.vector(INNER), t.vector(H))
    swiglu = (t.x(), t.weight(2 * INNER, H), t.weight(H, INNER))
    mlp = {"activation": "silu", "gated": True, **t.norm("rms"), "residual": t.x()}
    sums = {"form": "pre_ln", "attention_output": t.x(), "final_bias": t.vector(H), "mp_size": 2}
    columns = [t.weight(16, H), t.weight(8, H), t.weight(8, H)]
    stored = [t.weight(H, 16), t.weight(H, 8)]
    halves = [t.weight(INNER, H), t.weight(INNER, H)]
    return {
        "linear": [
            (linear, {"activation": "gelu_erf", "residual": t.x(INNER), "alpha": 0.5}),
            ((t.x(), t.weight(INNER, H, True)), {"batch_invariant": True}),
            (gated, {"activation": "silu", "gated": True, "layout": "up_gate", "clamp": 2.0}),
        ],
        "linear.out": [(linear, {"activation": "relu", "out": t.empty(INNER)})],
        "qkv": [(linear, t.norm()), (linear[:2], t.norm("rms") | {"weight_offset": 1.0})],
        "qkv.normed": [(linear, t.norm())],
        "qkv.out": [
            (linear, t.norm() | {"out": t.empty(INNER), "normed_out": t.empty()}),
            (linear, {"out": t.empty(INNER)}),
        ],
        "mlp": [
            (plain_mlp, {"activation": "gelu_tanh", **t.norm(), "input_bias": t.vector(H)}),
            (swiglu, {"activation": "silu", "gated": True, "parallel_residual": t.x()}),
        ],
        "mlp.all": [
            (swiglu, mlp | {"return_residual": True, "return_normed": True}),
            (swiglu, mlp | {"return_normed": True}),
            (swiglu, mlp),
        ],
        "mlp.out": [
            (swiglu, mlp | {name: t.empty() for name in OUTPUTS}),
            (plain_mlp, {"activation": None, "add_residual": False, "out": t.empty()}),
        ],
        "norm": [
            ((t.x(), "layer", t.vector(H), t.vector(H), EPS), {"add_after": t.x()}),
            ((t.x(), "rms", None, None, EPS, 1.0), {}),
        ],
        "norm.residual": [((t.x(),), t.norm() | {"residual": t.x(), "bias": t.vector(H)})],
        "norm.out": [
            ((t.x(),), t.norm() | {"residual": t.x(), "out": t.empty(), "residual_out": t.empty()}),
            ((t.x(),), t.norm("rms") | {"out": t.empty()}),
        ],
        "residual_add": [((t.x(), t.x()), sums)],
        "residual_add.out": [((t.x(), t.x()), sums | {"out": t.empty()})],
        "bound_linear": [
            ((t.x(), halves, [t.vector(INNER), None]), {"activation": "silu", "gated": True}),
            ((t.x(), stored, [None, None], t.x(24)), {"transposed": True, "quantize": "int8"}),
        ],
        "bound_qkv": [((t.x(), columns, [None, t.vector(8), None]), t.norm())],
        "bound_mlp": [
            (
                (t.x(), halves, [None, None], [t.weight(H, INNER)], [t.vector(H)], t.x()),
                {"activation": "silu", "gated": True, **t.norm("rms"), "quantize": "int8"},
            ),
            (
                (t.x(), [t.weight(H, INNER)], [None], [t.weight(INNER, H)], [None]),
                {"activation": "relu", "transposed": True, "parallel_residual": t.x()},
            ),
        ],
    }


ROWS = [(5,), (2, 3), (2, 0)]
ALL = [(name, i) for name, each in calls(Inputs((1,), "cpu")).items() for i in range(len(each))]
each_call = pytest.mark.parametrize(("name", "index"), ALL)


def test_every_operator_is_called():
    assert sorted({name for name, _ in ALL}) == sorted(OPERATORS)


@pytest.mark.parametrize("rows", ROWS, ids=str)
@each_call
def test_opcheck(name, index, rows, device):
    args, kwargs = calls(Inputs(rows, device))[name][index]
    opcheck(operator(name), args, kwargs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_call
def test_opcheck_of_half_precision(name, index, dtype, device):
    args, kwargs = calls(Inputs((3,), device, dtype))[name][index]
    opcheck(operator(name), args, kwargs, test_utils=("test_schema", "test_faketensor"))


# Schemas


@pytest.mark.parametrize("name", OPERATORS)
def test_aliases(name):
    """What is written is an output argument, and nothing that is returned aliases anything."""
    schema = operator(name)._schema
    written = [a.name for a in schema.arguments if a.alias_info is not None]
    assert all(a.alias_info.is_write for a in schema.arguments if a.alias_info is not None)
    assert all(result.alias_info is None for result in schema.returns)
    assert bool(written) == name.endswith(".out") == (len(schema.returns) == 0)
    assert set(written) <= set(OUTPUTS)
    sets = [a.alias_info.before_set for a in schema.arguments if a.alias_info is not None]
    assert len({frozenset(each) for each in sets}) == len(sets)


@pytest.mark.parametrize("name", [name for name in OPERATORS if not name.startswith("bound_")])
def test_arguments_and_defaults_are_those_of_the_function(name):
    """But for the norm, which is spelt out, and the stream, which is torch's."""
    function = getattr(ops, name.partition(".")[0])
    expected = {
        each.name: each.default
        for each in inspect.signature(function).parameters.values()
        if each.name not in ("stream", "norm", "return_residual", "return_normed", *OUTPUTS)
    }
    norm = {"norm", "norm_weight", "norm_bias", "eps", "weight_offset"}
    for argument in operator(name)._schema.arguments:
        if argument.name in norm or argument.name in (*OUTPUTS, "parallel_residual"):
            continue
        if name == "mlp.all" and argument.name.startswith("return_"):
            continue
        default = argument.default_value if argument.has_default_value() else inspect._empty
        assert expected.pop(argument.name) == default, argument.name
    if name == "norm":  # with these it is norm.residual
        assert set(expected) == {"residual", "bias"}
    else:
        assert not expected


# Results


def eager(name, args, kwargs):
    """The same by the functions of postlude.ops."""
    kwargs = dict(kwargs)
    if name == "norm":
        kwargs |= dict(zip(("norm", "norm_weight", "norm_bias", "eps"), args[1:5], strict=True))
        kwargs["weight_offset"] = args[5] if len(args) > 5 else 0.0
        args = args[:1]
    kind, weight, bias = (kwargs.pop(key, None) for key in ("norm", "norm_weight", "norm_bias"))
    eps, offset = kwargs.pop("eps", 0.0), kwargs.pop("weight_offset", 0.0)
    norm = LayerNorm(weight, bias, eps) if kind == "layer" else RMSNorm(weight, eps, offset)
    norm = None if kind is None else norm
    if "parallel_residual" in kwargs:
        kwargs["add_residual"] = kwargs.pop("parallel_residual")
    packet = name.partition(".")[0]
    if packet == "norm":
        args = (*args, norm)
    elif packet in ("qkv", "mlp"):
        kwargs["norm"] = norm
    if name == "qkv.normed":
        kwargs["return_normed"] = True
    return getattr(ops, packet)(*args, **kwargs)


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if not c[0].startswith("bound_")])
def test_same_bits_as_the_function(name, index, device):
    args, kwargs = calls(Inputs((5,), device))[name][index]
    actual = operator(name)(*args, **kwargs)
    if name.endswith(".out"):
        assert actual is None
        written = [key for key in OUTPUTS if key in kwargs]
        actual = [kwargs[key].clone() for key in written]
        eager(name, args, kwargs)
        expected = [kwargs[key] for key in written]
    else:
        expected = eager(name, args, kwargs)
        actual = actual if isinstance(actual, (tuple, list)) else [actual]
        expected = expected if isinstance(expected, tuple) else [expected]
    assert len(actual) == len(expected)
    for ours, wanted in zip(actual, expected, strict=True):
        assert same_bits(ours, wanted)


@each_call
def test_meta_tensors_give_the_shape(name, index):
    args, kwargs = calls(Inputs((2, 3), "cpu"))[name][index]
    result = operator(name)(*args, **kwargs)
    args, kwargs = torch.utils._pytree.tree_map_only(
        torch.Tensor, lambda each: torch.empty_like(each, device="meta"), (args, kwargs)
    )
    meta = operator(name)(*args, **kwargs)
    flat = torch.utils._pytree.tree_leaves((result, meta))
    assert len(flat) % 2 == 0
    for real, fake in zip(flat[: len(flat) // 2], flat[len(flat) // 2 :], strict=True):
        assert fake is real is None or (
            (fake.shape, fake.dtype, fake.stride()) == (real.shape, real.dtype, real.stride())
        )


# Errors


def test_a_wrong_shape_is_refused_while_tracing():
    x, weight = torch.empty(3, 8, device="meta"), torch.empty(5, 9, device="meta")
    with pytest.raises(ValueError, match=r"\[linear\] weight: expected shape \(out, 8\)"):
        torch.ops.postlude.linear(x, weight)
    with pytest.raises(ValueError, match=r"\[qkv\] weight: expected 2 dimensions, got 1"):
        torch.ops.postlude.qkv(x, weight[0])
    with pytest.raises(ValueError, match=r"\[mlp\] weight_out: expected shape \(out, 5\)"):
        torch.ops.postlude.mlp(x, weight[:, :8], weight, activation=None)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="expected 'layer', 'rms' or None, got 'batch'"):
        torch.ops.postlude.norm(torch.ones(2, 4), "batch")


@pytest.mark.parametrize("name", ["linear", "qkv", "norm", "mlp", "residual_add"])
def test_requires_grad_is_refused_in_the_words_of_the_function(name, device):
    args, kwargs = calls(Inputs((3,), device))[name][0]
    places = [*enumerate(args), *kwargs.items()]
    tensors = [place for place, value in places if isinstance(value, torch.Tensor)]
    assert len(tensors) >= 2
    for place in tensors:
        marked, options = list(args), dict(kwargs)
        holder = marked if isinstance(place, int) else options
        holder[place] = holder[place].clone().requires_grad_()
        with pytest.raises(RuntimeError) as refused:
            eager(name, marked, options)
        with pytest.raises(RuntimeError) as error:
            operator(name)(*marked, **options)
        assert str(error.value) == str(refused.value)
        with torch.no_grad():
            operator(name)(*marked, **options)
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fakes = [mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for v in marked]
            with pytest.raises(RuntimeError) as error:
                operator(name)(*fakes, **options)
        if "norm." not in str(refused.value):
            assert str(error.value) == str(refused.value)


# Packed copies


def entries():
    """How many packed copies there are."""
    return len({id(entry.op) for kept in _table._entries.values() for entry in kept.values()})


def bound(module, x):
    """The operator's call that the layer becomes."""
    return torch.ops.postlude.bound_linear(x, [module.weight], [module.bias])


def test_a_layer_and_its_operator_share_the_packed_copy(device):
    gc.collect()
    before = entries()
    module, x = nn.Linear(16, 8, device=device), tensor(3, 16, device=device)
    first = module(x)
    assert entries() == before + 1
    assert torch.equal(bound(module, x), first)
    assert entries() == before + 1
    twin = copy.deepcopy(module)
    assert torch.equal(bound(twin, x), first)
    twin(x)
    assert entries() == before + 2
    module.refresh()
    assert entries() == before + 1
    del module, twin
    gc.collect()
    assert entries() == before


@pytest.mark.parametrize("eager_first", [True, False])
def test_a_changed_parameter_is_packed_again(eager_first, device):
    gc.collect()
    module, x = nn.Linear(16, 8, device=device), tensor(3, 16, device=device)
    before = entries()
    for _ in range(3):
        for call in (module, lambda x: bound(module, x))[:: 1 if eager_first else -1]:
            expected = torch.nn.functional.linear(x, module.weight, module.bias)
            cases.assert_accurate(call(x), expected.double(), expected)
        assert entries() == before + 1
        module.weight.mul_(-2)
        module.bias.add_(1)


def test_another_tensor_at_the_same_address_is_not_mistaken(device):
    x = tensor(3, 64, device=device)
    for _ in range(30):  # whether a new weight gets an old one's address is up to the allocator
        weight = tensor(64, 64, device=device)
        y = torch.ops.postlude.bound_linear(x, [weight], [None])
        expected = torch.nn.functional.linear(x, weight)
        cases.assert_accurate(y, expected.double(), expected)
        del weight


def test_options_and_companions_tell_copies_apart():
    x, weight = tensor(3, 16), tensor(16, 16)
    biases = [None, tensor(16), tensor(16)]
    call = torch.ops.postlude.bound_linear
    for _ in range(2):
        for bias in biases:
            for activation in (None, "relu"):
                y = call(x, [weight], [bias], activation=activation)
                assert same_bits(y, ops.Linear(weight, bias, activation=activation)(x))


def test_the_places_and_strides_of_companions_tell_copies_apart():
    x, first, second, bias = tensor(3, 16), tensor(16, 16), tensor(16, 16), tensor(16)
    call = torch.ops.postlude.bound_linear
    for other in (second, second.t()):
        for biases in ([bias, None], [None, bias]):
            y = call(x, [first, other], biases)
            zeros = torch.zeros(16)
            merged = torch.cat([zeros if each is None else each for each in biases])
            assert same_bits(y, ops.Linear(torch.cat([first, other]), merged)(x))


def test_inference_tensors_are_bound():
    with torch.inference_mode():
        module, x = nn.Linear(16, 8), tensor(3, 16)
        assert torch.equal(bound(module, x), module(x))
        assert entries() >= 1


def test_a_packed_copy_is_not_made_inside_a_capture(monkeypatch):
    module, x = nn.Linear(16, 8), tensor(2, 16)
    monkeypatch.setattr(_table, "_gpus", lambda tensors: {torch.device("cuda")})
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match=r"\[bound_linear\] a parameter changed.* capture"):
        bound(module, x)


# Registration

# They make or take a postlude.Weight, which no schema can name, or tell of a call.
NO_OPERATORS = {"pack_weight", "quantize_weight", "quantized_weight", "explain"}


def test_every_operation_is_registered():
    packets = {name.partition(".")[0] for name in OPERATORS}
    # A bound op is the operator of the layer that holds it.
    wanted = {
        name if name.islower() else f"bound_{name.lower()}"
        for name in ops.__all__
        if inspect.isroutine(getattr(ops, name)) or issubclass(getattr(ops, name), ops._Bound)
    }
    assert wanted - NO_OPERATORS == packets
    assert wanted >= NO_OPERATORS
    for name in OPERATORS:
        for key in ("CPU", "CUDA", "Meta"):
            kernel = torch._C._dispatch_has_kernel_for_dispatch_key
            assert kernel(operator(name)._schema.name + operator_suffix(name), key), (name, key)


def operator_suffix(name):
    """What a qualified name ends with."""
    overload = name.partition(".")[2]
    return f".{overload}" if overload else ""


class Dispatched(torch.utils._python_dispatch.TorchDispatchMode):
    """The names of all that passes through torch's dispatcher."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_eager_calls_pass_by_the_registry(device):
    linear, x = nn.Linear(16, 16, device=device), tensor(3, 16, device=device)
    qkv = nn.QKV(16, 2, norm="rms", eps=EPS, device=device)
    mlp = nn.MLP(16, 24, activation="relu", device=device)
    weight = linear.weight.detach()
    with Dispatched() as seen:
        for call in (linear, qkv, mlp, lambda x: ops.linear(x, weight)):
            call(x)
    assert not [name for name in seen.names if name.startswith("postlude")]
    with Dispatched() as seen:
        torch.ops.postlude.linear(x, weight)
    assert "postlude.linear.default" in seen.names


def test_import_of_postlude_alone_registers_nothing():
    program = """
import sys, postlude
assert "torch" not in sys.modules
import numpy, torch
assert "postlude.torch_library" not in sys.modules
x = numpy.ones((2, 4), numpy.float32)
postlude.ops.linear(torch.ones(2, 4), torch.ones(3, 4))
assert "postlude.torch_library" not in sys.modules
f = torch.compile(lambda x, w: postlude.ops.linear(x, w), backend="eager", fullgraph=True)
assert torch.equal(f(torch.ones(2, 4), torch.ones(3, 4)), torch.full((2, 3), 4.0))
with torch.compiler.set_stance("fail_on_recompile"):
    f(torch.ones(2, 4), torch.ones(3, 4))
assert "postlude.torch_library" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_calls_of_other_threads_run_while_torch_compiles(monkeypatch):
    """The flag that torch sets is the process's."""
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", True)
    assert _interop.tracing()
    x, layer = tensor(3, 16), torch.nn.Linear(16, 8, bias=False).requires_grad_(False)
    expected, weight = layer(x), layer.weight
    for y in (
        torch.from_numpy(ops.linear(x.numpy(), weight.numpy())),
        ops.linear(x, ops.pack_weight(weight)),
        ops.linear(x, weight, stream=0),
        nn.Linear.from_torch(layer)(x),
    ):
        cases.assert_accurate(y, expected.double(), expected)
