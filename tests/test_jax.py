"""postlude.jax: every op and option under jax.jit against float64, layouts, vmap, errors; and JAX
arrays in postlude.ops."""

import functools
import os
import subprocess
import sys

import cases
import pytest
import torch
from cases import tensor

from postlude import LayerNorm, RMSNorm, ops

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax_support import called, expected, on, to_jax, to_torch  # noqa: E402

import postlude.jax  # noqa: E402

DTYPES = pytest.mark.parametrize("dtype", cases.DTYPES, ids=str)
# Rows, outputs, inputs.
SIZES = ((0, 7, 33), (1, 33, 7), (7, 1, 33), (33, 7, 1), (7, 33, 0), (7, 0, 33), (33, 65, 48))


def jitted(function):
    """The function with its arrays and norms as arguments of a compiled program."""

    def run(*args, **kwargs):
        traced = jax.Array, LayerNorm, RMSNorm
        arrays = {name: value for name, value in kwargs.items() if isinstance(value, traced)}
        rest = {name: value for name, value in kwargs.items() if name not in arrays}
        return jax.jit(lambda args, arrays: function(*args, **arrays, **rest))(args, arrays)

    return run


def check(op, args, kwargs, device):
    """The op jitted, and as it is, against float64."""
    function = getattr(postlude.jax, op)
    for form in (function, jitted(function)):
        actual = called(form, args, kwargs, device)
        cases.assert_as_reference(actual, expected(op), *args, **kwargs)


@DTYPES
@pytest.mark.parametrize("size", SIZES)
def test_linear(size, dtype, device):
    m, n, k = size
    args = (tensor(m, k, dtype=dtype), cases.weight(n, k, dtype), tensor(n, dtype=dtype))
    check("linear", args, {"activation": "gelu_erf"}, device)
    residual = tensor(m, n, dtype=dtype)
    gated = (args[0], cases.weight(2 * n, k, dtype), tensor(2 * n))  # a float32 bias
    options = {"activation": "silu", "gated": True, "residual": residual, "alpha": 0.75}
    check("linear", gated, options, device)
    check("linear", gated, {**options, "layout": "up_gate", "clamp": 0.5}, device)


@DTYPES
@pytest.mark.parametrize("kind", cases.NORMS)
def test_qkv(kind, dtype, device):
    for m, n, k in ((1, 33, 7), (7, 65, 33), (0, 7, 33)):
        args = (tensor(m, k, dtype=dtype), cases.weight(n, k, dtype), tensor(n, dtype=dtype))
        norm = cases.norm_of(kind, k, dtype)
        check("qkv", args, {"norm": norm, "return_normed": True}, device)
        check("qkv", args[:2], {"norm": norm}, device)


@DTYPES
@pytest.mark.parametrize("gated", [False, True])
def test_mlp(gated, dtype, device):
    for leading, h, i in (((1,), 33, 7), ((2, 7), 64, 33), ((0,), 7, 1)):
        x, r = tensor(*leading, h, dtype=dtype), tensor(*leading, h, dtype=dtype)
        rows = 2 * i if gated else i
        weights = (cases.weight(rows, h, dtype), cases.weight(h, i, dtype))
        biases = (tensor(rows, dtype=dtype), tensor(h, dtype=dtype))
        options = {"activation": "silu", "gated": gated, "norm": cases.norm_of("rms", h, dtype)}
        check("mlp", (x, *weights), options, device)
        options |= {"residual": r, "input_bias": tensor(h, dtype=dtype)}
        returned = {"return_residual": True, "return_normed": True}
        check("mlp", (x, *weights, *biases), {**options, **returned}, device)
        check("mlp", (x, *weights, *biases), {**options, "add_residual": r}, device)
        check("mlp", (x, *weights), {**options, "add_residual": False}, device)


@DTYPES
@pytest.mark.parametrize("kind", cases.NORMS[1:])
def test_norm(kind, dtype, device):
    for shape in ((1, 33), (2, 7, 65), (0, 7), (7, 1)):
        x, r = tensor(*shape, dtype=dtype), tensor(*shape, dtype=dtype)
        norm = cases.norm_of(kind, shape[-1], dtype)
        check("norm", (x, norm), {}, device)
        bias = tensor(shape[-1], dtype=dtype)
        check("norm", (x, norm), {"residual": r, "bias": bias, "add_after": x}, device)


@DTYPES
@pytest.mark.parametrize("form", ["pre_ln", "post_ln", "parallel"])
def test_residual_add(form, dtype, device):
    for shape in ((1, 33), (2, 7, 65), (0, 7)):
        h, r, a = (tensor(*shape, dtype=dtype) for _ in range(3))
        options = {"form": form, "final_bias": tensor(shape[-1], dtype=dtype)}
        if form != "post_ln":
            options |= {"attention_output": a, "mp_size": 2}
            options |= {"attention_bias": tensor(shape[-1], dtype=dtype)}
        check("residual_add", (h, r), options, device)


@DTYPES
def test_weights_stored_in_out(dtype, device):
    x, kernel = tensor(7, 33, dtype=dtype), cases.weight(33, 65, dtype)  # [in, out]
    x_, kernel_ = to_jax(x, device), to_jax(kernel, device)
    program = jax.jit(lambda x, kernel: postlude.jax.linear(x, kernel.T, stored="in_out"))
    cases.assert_as_reference(to_torch(program(x_, kernel_)), expected("linear"), x, kernel.T)
    back = cases.weight(65, 33, dtype)
    y = jax.jit(lambda x, a, b: postlude.jax.mlp(x, a.T, b.T, activation="relu", stored="in_out"))(
        x_, kernel_, to_jax(back, device)
    )
    options = {"activation": "relu"}
    cases.assert_as_reference(to_torch(y), expected("mlp"), x, kernel.T, back.T, **options)
    # The program holds no copy of the kernel.
    compiled = program.lower(x_, kernel_).compile().as_text()
    assert "transpose(" not in compiled and "copy(" not in compiled, compiled


def test_a_new_shape_compiles_anew_and_an_old_one_does_not(device):
    weight = tensor(33, 48)
    traced = []

    @jax.jit
    def program(x, weight):
        traced.append(x.shape)
        return jnp.tanh(postlude.jax.linear(jnp.sin(x), weight, activation="relu"))

    for rows in (1, 7, 33, 7, 1):
        x = tensor(rows, 48)
        y = to_torch(program(to_jax(x, device), to_jax(weight, device)))
        exact = torch.tanh(torch.relu(torch.sin(x.double()) @ weight.double().T))
        cases.assert_accurate(y, exact, exact.float())
    assert traced == [(1, 48), (7, 48), (33, 48)]


def test_many_calls_in_one_program(device):
    x, weights = tensor(7, 64), [cases.weight(64, 64, torch.float32) for _ in range(9)]

    @jax.jit
    def program(x, weights):
        for weight in weights:
            x = postlude.jax.mlp(x, weight, weight, activation="relu")
        return x

    y = program(to_jax(x, device), [to_jax(w, device) for w in weights])
    exact, eager = x.double(), x
    for w in weights:
        exact = exact + torch.relu(exact @ w.double().T) @ w.double().T
        eager = eager + torch.relu(eager @ w.T) @ w.T
    cases.assert_accurate(to_torch(y), exact, eager)
    z = program(to_jax(x, device), [to_jax(w, device) for w in weights])
    assert jnp.array_equal(y, z)


class TestVmap:
    """Against a call for each element, in float32, where both are the reference's formula."""

    def arrays(self, device, *shapes):
        return [to_jax(tensor(*shape), device) for shape in shapes]

    def check(self, function, in_axes, *arrays, out_axes=0):
        got = jax.jit(jax.vmap(function, in_axes, out_axes))(*arrays)
        mapped = list(zip(arrays, in_axes, strict=True))
        (size,) = {x.shape[axis] for x, axis in mapped if axis is not None}
        each = [
            function(*(x if axis is None else x.take(i, axis) for x, axis in mapped))
            for i in range(size)
        ]
        want = jnp.stack(each, out_axes)
        assert got.shape == want.shape and size > 1
        torch.testing.assert_close(to_torch(got), to_torch(want), rtol=1e-5, atol=2e-5)

    def linear(self, x, weight, bias):
        return postlude.jax.linear(x, weight, bias, activation="silu")

    @pytest.mark.parametrize("axis", [0, 1])
    def test_over_activations(self, axis, device):
        x, w, b = self.arrays(device, (3, 5, 33), (7, 33), (7,))
        self.check(self.linear, (axis, None, None), x, w, b)

    def test_over_weights(self, device):
        x, w, b = self.arrays(device, (5, 33), (3, 7, 33), (3, 7))
        self.check(self.linear, (None, 0, 0), x, w, b)
        self.check(self.linear, (None, None, 0), x, w[0], b)

    def test_over_both(self, device):
        x, w, b = self.arrays(device, (3, 5, 33), (3, 7, 33), (7,))
        self.check(self.linear, (0, 0, None), x, w, b)

    def test_over_a_residual_alone(self, device):
        x, w, r = self.arrays(device, (5, 33), (7, 33), (3, 5, 7))
        self.check(lambda x, w, r: postlude.jax.linear(x, w, residual=r), (None, None, 0), x, w, r)

    def test_stored_in_out(self, device):
        x, w = self.arrays(device, (3, 5, 33), (33, 7))

        def function(x, w):
            return postlude.jax.linear(x, w.T, stored="in_out")

        self.check(function, (0, None), x, w)
        (many,) = self.arrays(device, (3, 33, 7))
        self.check(function, (0, 0), x, many)

    def test_norms(self, device):
        x, g, r = self.arrays(device, (3, 5, 33), (3, 33), (5, 33))

        def function(x, g, r):
            return postlude.jax.norm(x, RMSNorm(g, 1e-6), residual=r)[0]

        self.check(function, (0, None, None), x, g[0], r)
        self.check(function, (0, 0, None), x, g, r)

    def test_in_vmap(self, device):
        x, w, b = self.arrays(device, (2, 3, 5, 33), (3, 7, 33), (7,))
        inner = jax.vmap(self.linear, (0, 0, None))
        self.check(inner, (0, None, None), x, w, b)
        y, w = self.arrays(device, (3, 5, 33), (2, 7, 33))
        inner = jax.vmap(self.linear, (0, None, None))
        self.check(inner, (None, 0, None), y, w, b)

    def test_over_nothing(self, device):
        x, w = self.arrays(device, (0, 5, 33), (7, 33))
        y = jax.vmap(lambda x: postlude.jax.linear(x, w))(x)
        assert y.shape == (0, 5, 7)
        (w,) = self.arrays(device, (0, 7, 33))
        y = jax.vmap(lambda w: postlude.jax.linear(jnp.ones((5, 33)), w))(w)
        assert y.shape == (0, 5, 7)


X, W = jnp.ones((5, 16)), jnp.ones((24, 16))
V = jnp.ones(16)
ERRORS = {
    r"\[linear\] weight: expected shape .*, got \(24, 15\)": lambda: postlude.jax.linear(
        X, W[:, :15]
    ),
    r"\[linear\] weight: expected .*dimensions": lambda: postlude.jax.linear(X, V),
    r"\[linear\] bias: expected shape \(24,\), got \(16,\)": lambda: postlude.jax.linear(X, W, V),
    r"\[linear\] x: expected float32, .*, got int32": lambda: postlude.jax.linear(
        jnp.ones((5, 16), jnp.int32), W
    ),
    r"\[linear\] weight: expected bfloat16 .*got float32": lambda: postlude.jax.linear(
        X.astype(jnp.bfloat16), W
    ),
    r"\[linear\] x: expected .*dimension.*scalar": lambda: postlude.jax.linear(X[0, 0], W),
    r"\[linear\] x: expected at most 8 dimensions, got 9": lambda: postlude.jax.linear(
        X.reshape(1, 1, 1, 1, 1, 1, 1, 5, 16), W
    ),
    r"\[linear\] activation: expected one of .*, got 'tanh'": lambda: postlude.jax.linear(
        X, W, activation="tanh"
    ),
    r"\[linear\] layout: expected .*, got 'up'": lambda: postlude.jax.linear(X, W, layout="up"),
    r"\[linear\] clamp: expected none unless gated": lambda: postlude.jax.linear(X, W, clamp=1.0),
    r"\[linear\] stored: expected .*, got 'rows'": lambda: postlude.jax.linear(X, W, stored="rows"),
    r"\[mlp\] weight_out: expected .*": lambda: postlude.jax.mlp(X, W, W, activation=None),
    r"\[qkv\] norm.weight: expected shape \(16,\)": lambda: postlude.jax.qkv(
        X, W, norm=RMSNorm(X[0, :3], 1e-6)
    ),
    r"\[norm\] norm.eps: expected a finite value": lambda: postlude.jax.norm(X, RMSNorm(V, -1.0)),
    r"\[residual_add\] form: expected .*, got 'pre'": lambda: postlude.jax.residual_add(
        X, X, form="pre"
    ),
    r"\[residual_add\] mp_size: expected .*": lambda: postlude.jax.residual_add(
        X, X, form="pre_ln", mp_size=0
    ),
}
TYPE_ERRORS = {
    r"\[linear\] x: expected an array of jax, got builtins.list": lambda: postlude.jax.linear(
        [1.0], W
    ),
    r"\[linear\] x: expected an array of jax, got torch.Tensor": lambda: postlude.jax.linear(
        torch.ones(5, 16), W
    ),
    r"\[linear\] weight: expected an array of jax, got postlude._C.Weight": lambda: (
        postlude.jax.linear(X, ops.pack_weight(W))
    ),
    r"\[linear\] gated: expected True or False, got int": lambda: postlude.jax.linear(
        X, W, gated=1
    ),
    r"\[qkv\] allow_tf32: expected True or False, got int": lambda: postlude.jax.qkv(
        X, W, allow_tf32=1
    ),
    r"\[norm\] norm: expected a postlude.LayerNorm": lambda: postlude.jax.norm(X, "rms"),
    r"\[mlp\] add_residual: .* got NoneType": lambda: postlude.jax.mlp(
        X, W, W.T, activation=None, add_residual=None
    ),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_come_while_jax_traces(text):
    with pytest.raises(ValueError, match=text):
        ERRORS[text]()
    with pytest.raises(ValueError, match=text):
        jax.jit(ERRORS[text]).lower()


@pytest.mark.parametrize("text", TYPE_ERRORS)
def test_type_errors(text):
    with pytest.raises(TypeError, match=text):
        TYPE_ERRORS[text]()


def test_weights_and_bound_ops_do_not_take_what_jax_traces():
    op, packed = ops.Linear(W), ops.pack_weight(W)
    for call in (
        lambda: jax.jit(lambda x: op(x))(X),
        lambda: jax.jit(lambda x: ops.linear(x, packed))(X),
        lambda: jax.jit(ops.pack_weight)(W),
    ):
        with pytest.raises(ValueError, match=r"got \w+: JAX traces it, .* postlude.jax"):
            call()


def test_a_gradient_is_an_error():
    with pytest.raises(ValueError, match=r"postlude\.linear.* cannot be differentiated"):
        jax.grad(lambda x: postlude.jax.linear(x, W).sum())(X)
    with pytest.raises(ValueError, match=r"postlude\.linear.* cannot be differentiated"):
        jax.grad(lambda x: ops.linear(x, W).sum())(X)
    zero = jax.grad(lambda x: postlude.jax.linear(jax.lax.stop_gradient(x), W).sum())(X)
    assert not zero.any()


def test_without_jax():
    code = "import sys; sys.modules['jax'] = None\ntry:\n    import postlude.jax\n"
    code += "except ImportError as error:\n    print(error)\n"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "postlude.jax needs the package jax: install it with 'pip install jax'" in run.stdout


@DTYPES
def test_ops_take_arrays_and_give_arrays(dtype, device):
    x, w, v = tensor(2, 7, 33, dtype=dtype), cases.weight(48, 33, dtype), tensor(33, dtype=dtype)
    back = cases.weight(33, 48, dtype)
    calls = {
        "linear": ((x, w), {"activation": "silu"}),
        "qkv": ((x, w), {"norm": RMSNorm(v, 1e-6), "return_normed": True}),
        "mlp": ((x, w, back), {"activation": "relu", "norm": LayerNorm(v, v, 1e-6)}),
        "norm": ((x, LayerNorm(v, v, 1e-6)), {"residual": x}),
        "residual_add": ((x, x), {"form": "pre_ln", "final_bias": v}),
    }
    for op, (args, kwargs) in calls.items():
        arrays = [to_jax(a, device) for a in args]
        options = {name: to_jax(value, device) for name, value in kwargs.items()}
        result = getattr(ops, op)(*arrays, **options)
        for part in result if isinstance(result, tuple) else (result,):
            assert isinstance(part, jax.Array) and part.devices() == {on(device)}
        cases.assert_as_reference(to_torch(result), expected(op), *args, **kwargs)


def test_ops_in_a_jitted_function(device):
    x, w = tensor(7, 33), cases.weight(48, 33, torch.float32)
    x_, w_ = to_jax(x, device), to_jax(w, device)
    y = to_torch(jax.jit(ops.linear)(x_, w_))
    cases.assert_as_reference(y, expected("linear"), x, w)
    y = to_torch(jax.jit(lambda w: ops.linear(x_, w))(w_))  # only the weight is traced
    cases.assert_as_reference(y, expected("linear"), x, w)
    y = jax.jit(lambda x: ops.norm(jnp.ones_like(x), RMSNorm(x[0], 1e-6)))(x_)
    assert y.shape == x.shape


@DTYPES
@pytest.mark.parametrize("module", [postlude.jax, ops], ids=["jax", "ops"])
def test_allow_tf32(module, dtype, device):
    x, w = tensor(130, 96, dtype=dtype), cases.weight(96, 96, dtype)
    args = [to_jax(each, device) for each in (x, w)]
    linear = functools.partial(module.linear, *args)
    qkv = functools.partial(module.qkv, *args)
    mlp = functools.partial(module.mlp, *args, args[1], activation=None)
    for call in (linear, qkv, mlp):
        plain, allowed = (to_torch(call(allow_tf32=allow)) for allow in (False, True))
        assert cases.same_bits(to_torch(call()), plain)
        rounds = device == "cuda" and dtype == torch.float32
        assert cases.same_bits(allowed, plain) != rounds
        assert (allowed.double() - plain.double()).norm() <= 2e-3 * plain.double().norm()


def test_ops_refuse_outputs_and_streams_of_jax(device):
    x, w = to_jax(tensor(7, 33), device), to_jax(tensor(33, 33), device)
    with pytest.raises(ValueError, match=r"\[linear\] out: .*jax.*immutable"):
        ops.linear(x, w, out=x)
    with pytest.raises(ValueError, match=r"\[norm\] residual_out: .*jax.*immutable"):
        ops.norm(x, None, residual=x, residual_out=x)
    with pytest.raises(ValueError, match=r"\[linear\] out: .*jax.*immutable"):
        jax.jit(lambda x: ops.linear(x, w, out=x))(x)
    with pytest.raises(ValueError, match=r"\[linear\] stream: expected None .*jax.*, got 7"):
        jax.jit(lambda x: ops.linear(x, w, stream=7))(x)


def test_a_call_waits_for_its_inputs_and_for_nothing_else(device):
    """x is still being computed when the op is called; its result is used at once."""
    x, w = torch.arange(256.0).repeat(256, 1) / 256, cases.weight(256, 256, torch.float32)
    steps, size = (40, 8192) if device == "cuda" else (10, 512)  # a tenth of a second, about

    @jax.jit
    def slow(a, x):
        for _ in range(steps):
            a = jnp.tanh(a @ a) * 0.01 + 1e-3
        return a[:256, :256] * 0 + x

    x_, w_ = to_jax(x, device), to_jax(w, device)
    start = jax.device_put(jnp.ones((size, size)), on(device))
    for function in (ops.linear, postlude.jax.linear, jax.jit(postlude.jax.linear)):
        function(slow(start, x_), w_).block_until_ready()  # compiled
        y = function(slow(start, x_), w_)
        if device == "cuda":
            assert not y.is_ready(), "the call waited for the GPU"
        cases.assert_as_reference(to_torch(jnp.abs(y)), lambda x, w: (x @ w.T).abs(), x, w)


DEVICES = """
import threading
import jax, jax.numpy as jnp, numpy as np
import postlude.jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

mesh = Mesh(np.array(jax.devices()), ("rows",))
x = jnp.asarray(np.random.default_rng(0).standard_normal((64, 33)), "float32")
weight = jnp.asarray(np.random.default_rng(1).standard_normal((65, 33)), "float32")
exact = np.asarray(x, np.float64) @ np.asarray(weight, np.float64).T
each = jax.jit(
    jax.shard_map(postlude.jax.linear, mesh=mesh, in_specs=(P("rows"), P()), out_specs=P("rows"))
)
whole = jax.jit(postlude.jax.linear)
far = jax.device_put(x, NamedSharding(mesh, P("rows")))
wrong = []

def work():
    for _ in range(20):
        for y in (each(x, weight), whole(far, weight), whole(x, weight)):
            if not np.allclose(y, exact, rtol=1e-5, atol=1e-5):
                wrong.append(y)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(jax.devices()), len(wrong), len(each(x, weight).sharding.device_set))
"""


@pytest.mark.skipif(not hasattr(jax, "shard_map"), reason="this jax has no jax.shard_map")
def test_several_devices_and_threads():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", DEVICES],
        capture_output=True,
        text=True,
        env={**os.environ, **flags, "OMP_NUM_THREADS": "2"},
    )
    assert run.stdout == "4 0 4\n", run.stderr
