"""Tensors of every framework go in and come out as what they were: NumPy, torch, JAX, others."""

import ctypes
import gc
import re
import subprocess
import sys
import weakref

import cases
import numpy as np
import pytest
import torch

from postlude import LayerNorm, RMSNorm, Unsupported, ops

X = np.random.default_rng(0).standard_normal((2, 3, 16), np.float32)
W = np.random.default_rng(1).standard_normal((24, 16), np.float32)
B = np.random.default_rng(2).standard_normal(24, np.float32)
BACK = np.random.default_rng(3).standard_normal((16, 24), np.float32)
V = np.random.default_rng(4).standard_normal(16, np.float32)


def expected(function, *args, **kwargs):
    """What the same call gives on torch tensors, as NumPy arrays."""

    def convert(value):
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value)
        if isinstance(value, LayerNorm | RMSNorm):
            return type(value)(**{k: convert(v) for k, v in vars(value).items()})
        return value

    result = function(*map(convert, args), **{k: convert(v) for k, v in kwargs.items()})
    return tuple(r.numpy() for r in result) if isinstance(result, tuple) else result.numpy()


CALLS = {
    "linear": (ops.linear, (X, W, B), {"activation": "silu"}),
    "gated": (ops.linear, (X, W, B), {"activation": "silu", "gated": True}),
    "qkv": (ops.qkv, (X, W), {"norm": RMSNorm(V, 1e-6), "return_normed": True}),
    "mlp": (ops.mlp, (X, W, BACK, B), {"activation": "relu", "norm": LayerNorm(V, V, 1e-6)}),
    "norm": (ops.norm, (X, LayerNorm(V, V, 1e-6)), {"residual": X}),
    "residual_add": (ops.residual_add, (X, X), {"form": "pre_ln", "final_bias": V}),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_numpy(name, dtype):
    def converted(value):
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        if isinstance(value, LayerNorm | RMSNorm):
            return type(value)(**{k: converted(v) for k, v in vars(value).items()})
        return value

    function, args, kwargs = CALLS[name]
    args, kwargs = [converted(a) for a in args], {k: converted(v) for k, v in kwargs.items()}
    result, want = function(*args, **kwargs), expected(function, *args, **kwargs)
    if not isinstance(result, tuple):
        result, want = (result,), (want,)
    for ours, theirs in zip(result, want, strict=True):
        assert type(ours) is np.ndarray and ours.dtype == dtype and ours.flags.writeable
        np.testing.assert_array_equal(ours, theirs)


def test_numpy_views_and_outputs():
    wide = np.zeros((2, 3, 40), np.float32)
    wide[..., 20:36] = X
    out = np.full((2, 3, 30), np.nan, np.float32)
    want = ops.linear(X, W, B, batch_invariant=True)
    target = out[..., 2:26]
    assert ops.linear(wide[..., 20:36], W.T.copy().T, B, out=target, batch_invariant=True) is target
    np.testing.assert_allclose(target, want, rtol=1e-5, atol=1e-5)
    assert np.isnan(out[..., :2]).all() and np.isnan(out[..., 26:]).all()
    backwards = X[:, ::-1]
    np.testing.assert_array_equal(
        ops.norm(backwards, None), np.ascontiguousarray(backwards), "negative row strides"
    )


def test_read_only_numpy_arrays_are_read_and_not_written():
    locked = [array.copy() for array in (X, W, B)]
    for array in locked:
        array.flags.writeable = False
    np.testing.assert_array_equal(ops.linear(*locked), ops.linear(X, W, B))
    packed = ops.pack_weight(np.frombuffer(W.tobytes(), np.float32).reshape(W.shape))
    np.testing.assert_array_equal(packed.unpack(), W)
    op = ops.Linear(locked[1], locked[2], pack=False)
    want = ops.linear(X, W, B)
    del locked
    np.testing.assert_array_equal(op(X), want)
    target = np.empty((2, 3, 24), np.float32)
    target.flags.writeable = False
    with pytest.raises(ValueError, match=r"\[linear\] out: .*writ.*read-only"):
        ops.linear(X, W, B, out=target)


def test_numpy_weights():
    packed = ops.pack_weight(W)
    assert type(packed.unpack()) is np.ndarray
    np.testing.assert_array_equal(packed.unpack(), W)
    quantized = ops.quantize_weight(W, group="k", group_size=4)
    values, scales = quantized.unpack(), quantized.scales
    assert values.dtype == np.int8 and scales.shape == (24, 4)
    again = ops.quantized_weight(values, scales, group="k")
    np.testing.assert_array_equal(ops.linear(X, quantized), ops.linear(X, again))
    # A Weight goes with the tensors of any framework.
    y = ops.linear(torch.from_numpy(X), packed)
    np.testing.assert_array_equal(y.numpy(), ops.linear(X, packed))
    np.testing.assert_array_equal(ops.Linear(W, B)(X), ops.Linear(packed, B)(X))


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("wrap", [np.asarray, lambda array: Plain(array)], ids=["numpy", "plain"])
def test_bound_ops_keep_what_they_read(wrap, pack):
    arrays = {"weight": W.copy(), "bias": B.copy()}
    memory = {name: weakref.ref(array) for name, array in arrays.items()}
    op = ops.Linear(wrap(arrays["weight"]), wrap(arrays["bias"]), pack=pack)
    arrays.clear()
    gc.collect()
    kept = {name for name, array in memory.items() if array() is not None}
    assert kept == ({"bias"} if pack else {"weight", "bias"})
    x, out = wrap(X), np.empty((2, 3, 24), np.float32)
    op(x, out=wrap(out))
    np.testing.assert_allclose(out, ops.linear(X, W, B), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", [torch.nn.Parameter, torch.nn.Buffer])
def test_torch_subclasses(cls):
    x, weight = torch.from_numpy(X), cls(torch.from_numpy(W).clone())
    with torch.no_grad():
        result = ops.linear(cls(x.clone()), weight)
    assert type(result) is torch.Tensor
    assert torch.equal(result, ops.linear(x, torch.from_numpy(W)))


def test_torch_grad_mode(device):
    x = torch.randn(3, 8, device=device)
    weight = torch.nn.Parameter(torch.randn(8, 8, device=device))
    norm = RMSNorm(torch.nn.Parameter(torch.ones(8, device=device)), 1e-6)
    with pytest.raises(RuntimeError, match=r"\[linear\] weight: .*requires grad"):
        ops.linear(x, weight)
    with pytest.raises(RuntimeError, match=r"\[norm\] norm.weight: .*requires grad"):
        ops.norm(x, norm)
    with pytest.raises(RuntimeError, match=r"\[linear\] x: .*requires grad"):
        ops.Linear(weight)(x.clone().requires_grad_())
    op = ops.Linear(weight)  # binding takes values
    with torch.no_grad():
        want = ops.linear(x, weight, batch_invariant=True)
        assert not want.requires_grad
        cases.assert_accurate(op(x), want.double(), want)
    with torch.inference_mode():
        assert ops.linear(x, weight).is_inference()
    cases.assert_accurate(ops.linear(x, weight.detach()), want.double(), want)


def test_torch_tensors_without_memory():
    weight = torch.randn(8, 8)
    for x in (
        torch.empty(2, 8, device="meta"),
        torch.eye(8).to_sparse(),
        torch.randn(2, 8).to_mkldnn(),
    ):
        with pytest.raises(
            ValueError, match=r"\[linear\] x: expected .*, got Tensor: .*$"
        ) as caught:
            ops.linear(x, weight)
        assert "\n" not in str(caught.value)
    with torch._subclasses.FakeTensorMode():
        fake = torch.empty(2, 8)
    with pytest.raises(ValueError, match=r"\[linear\] x: "):
        ops.linear(fake, weight)


OLD_TORCH = """
import torch
if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    del torch.Tensor.__dlpack_c_exchange_api__
import numpy, postlude
from postlude import ops
torch.manual_seed(0)
x, weight, bias = torch.randn(3, 16), torch.randn(24, 16), torch.randn(24)
numpy_result = ops.linear(x.numpy(), weight.numpy(), bias.numpy(), activation="gelu")
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    args = [t.to(dtype) for t in (x, weight, bias)]
    y = ops.linear(*args, activation="gelu")
    assert type(y) is torch.Tensor and y.dtype == dtype
    out = torch.empty_like(y)
    assert ops.linear(*args, activation="gelu", out=out) is out and torch.equal(out, y)
    assert torch.equal(ops.pack_weight(args[1]).unpack(), args[1])
    op = ops.Linear(torch.nn.Parameter(args[1]), args[2], activation="gelu", pack=False)
    args[1], args[2] = None, None
    assert torch.equal(op(args[0]), y)
    try:
        ops.linear(args[0], torch.nn.Parameter(weight.to(dtype)))
    except RuntimeError as error:
        assert "requires grad" in str(error)
    else:
        raise AssertionError("a weight that requires grad was accepted")
    if dtype == torch.float32:
        assert (y.numpy() == numpy_result).all()
print("passed")
"""


def test_torch_before_the_exchange_api():
    run = subprocess.run([sys.executable, "-c", OLD_TORCH], capture_output=True, text=True)
    assert run.stdout == "passed\n", run.stderr


class Plain:
    """A tensor that knows nothing but DLPack, of a framework whose package has a
    ``from_dlpack``."""

    def __init__(self, array, versioned=True):
        self.array, self.versioned = array, versioned

    def __dlpack__(self, **options):
        if not self.versioned and "max_version" in options:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def from_dlpack(array):
    """Plain's way in."""
    return Plain(np.from_dlpack(array))


@pytest.mark.parametrize("versioned", [True, False])
def test_a_framework_of_dlpack_alone(versioned):
    x, w, b = (Plain(array, versioned) for array in (X, W, B))
    y = ops.linear(x, w, b, activation="silu")
    assert type(y) is Plain
    np.testing.assert_array_equal(y.array, ops.linear(X, W, B, activation="silu"))
    out = Plain(np.empty((2, 3, 24), np.float32), versioned)
    assert ops.linear(x, w, b, out=out) is out
    np.testing.assert_array_equal(out.array, ops.linear(X, W, B))
    y, n = ops.qkv(x, w, norm=RMSNorm(Plain(V), 1e-6), return_normed=True)
    np.testing.assert_array_equal(n.array, ops.norm(X, RMSNorm(V, 1e-6)))
    packed = ops.pack_weight(w)
    assert type(packed.unpack()) is Plain
    np.testing.assert_array_equal(packed.unpack().array, W)
    op = ops.Linear(w, Plain(B.copy()), pack=False)
    np.testing.assert_array_equal(op(x).array, ops.linear(X, W, B))


def test_a_framework_that_makes_no_tensors_on_a_gpu(device):
    """On the CPU an output is our own memory; on a GPU it must be given."""
    x, w = (Plain(torch.from_numpy(array).to(device)) for array in (X, W))
    expected = ops.linear(x.array, w.array)
    if device == "cpu":
        assert torch.equal(torch.from_numpy(ops.linear(x, w).array), expected)
    else:
        words = "a tensor to write to (this framework gives no way to make one on a GPU), got none"
        with pytest.raises(ValueError, match=re.escape(f"[linear] out: expected {words}")):
            ops.linear(x, w)
    out = Plain(torch.empty_like(expected))
    assert ops.linear(x, w, out=out) is out
    assert torch.equal(out.array, expected)


def test_capsules():
    x, w = X.__dlpack__(), torch.utils.dlpack.to_dlpack(torch.from_numpy(W))
    y = ops.linear(x, w)
    np.testing.assert_array_equal(np.from_dlpack(y), ops.linear(X, W))
    for _ in range(2):  # a capsule is looked at, not used up
        np.testing.assert_array_equal(np.from_dlpack(ops.linear(x, w)), ops.linear(X, W))
    mixed = ops.linear(X.__dlpack__(), torch.from_numpy(W))
    assert type(mixed) is torch.Tensor
    used = X.__dlpack__()
    torch.utils.dlpack.from_dlpack(used)
    with pytest.raises(TypeError, match=r"\[linear\] x: .*capsule"):
        ops.linear(used, w)


def test_a_result_that_the_framework_has_no_dtype_for():
    x = torch.utils.dlpack.to_dlpack(torch.ones(3, 8, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"\[norm\] out: .* that numpy has, got bfloat16"):
        ops.norm(x, None, bias=np.ones(8, np.float32))


def test_frameworks_do_not_mix():
    x, w = torch.from_numpy(X), torch.from_numpy(W)
    with pytest.raises(TypeError, match=r"\[linear\] weight: .*torch, as x is, got ndarray"):
        ops.linear(x, W)
    with pytest.raises(TypeError, match=r"\[linear\] bias: .*numpy, as x is, got Tensor"):
        ops.linear(X, W, torch.from_numpy(B))
    with pytest.raises(TypeError, match=r"\[linear\] out: .*torch, as x is, got ndarray"):
        ops.linear(x, w, out=np.empty((2, 3, 24), np.float32))
    with pytest.raises(TypeError, match=r"\[qkv\] norm.weight: .*torch, as x is, got ndarray"):
        ops.qkv(x, w, norm=RMSNorm(V, 1e-6))


def jax_numpy():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_default_device", jax.devices("cpu")[0])  # also on a machine with a GPU
    return pytest.importorskip("jax.numpy")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_jax(dtype):
    jnp = jax_numpy()
    x, w, b = (jnp.asarray(array, dtype) for array in (X, W, B))
    y = ops.linear(x, w, b, activation="silu")
    assert isinstance(y, type(x)) and y.dtype == x.dtype and y.shape == (2, 3, 24)
    want = ops.linear(*(torch.from_dlpack(t) for t in (x, w, b)), activation="silu")
    assert torch.equal(torch.from_dlpack(y), want)
    packed = ops.pack_weight(w)
    assert bool((packed.unpack() == w).all()) and packed.unpack().dtype == w.dtype
    assert isinstance(ops.Linear(w, b)(x), type(x))
    with pytest.raises(ValueError, match=r"\[linear\] out: .*jax.*immutable"):
        ops.linear(x, w, out=y)


class FakeGpuTensor:
    """A tensor that says it lies on a GPU. Nothing may touch its memory."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        capsule = self.array.__dlpack__()
        api = ctypes.pythonapi
        api.PyCapsule_GetPointer.restype = ctypes.c_void_p
        api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        pointer = api.PyCapsule_GetPointer(capsule, b"dltensor")
        after_data = pointer + ctypes.sizeof(ctypes.c_void_p)
        ctypes.c_int32.from_address(after_data).value = 2  # the type of the device
        return capsule


def test_a_gpu_tensor_without_a_gpu_build():
    import postlude

    if "cuda: not built" not in postlude.show_config():
        pytest.skip("this build has CUDA")
    for call in (
        lambda: ops.linear(FakeGpuTensor(X), FakeGpuTensor(W)),
        lambda: ops.pack_weight(FakeGpuTensor(W)),
        lambda: ops.norm(FakeGpuTensor(X), None),
    ):
        with pytest.raises(Unsupported, match=r"(?s)cuda.*CUDA") as caught:
            call()
        assert isinstance(caught.value, NotImplementedError)


def test_importing_postlude_imports_no_framework():
    code = "import sys, postlude; print({'torch', 'numpy', 'jax'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
