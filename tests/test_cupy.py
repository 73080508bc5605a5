"""CuPy's arrays in postlude.ops: every op and dtype against float64, on CuPy's current stream or
one given, after delayed producers and without waiting; on the CPU, what the adapter asks for."""

import subprocess
import sys

import cases
import numpy as np
import pytest
import torch
from cases import tensor
from conftest import REQUIRE_GPU, missing_gpu

from postlude import LayerNorm, RMSNorm, ops, reference

# A package that acts as CuPy: its arrays say that they lie on a GPU, and note how they are lent.
FAKE = """
import sys, types
import numpy, postlude
sys.path.insert(0, "tests")
from test_dlpack import FakeGpuTensor
from postlude import ops

said = []

class ndarray(FakeGpuTensor):
    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    def __dlpack__(self, **options):
        said.append(options["stream"])
        return super().__dlpack__(**options)

class Stream:
    ptr = 4711

def current(index):
    said.append(("current", index))
    return Stream

cupy = types.ModuleType("cupy")
cupy.ndarray, ndarray.__module__ = ndarray, "cupy"
cupy.from_dlpack = None
cupy.cuda = types.SimpleNamespace(get_current_stream=current)
sys.modules["cupy"] = cupy
x = ndarray(numpy.eye(3, dtype="float32"))
for stream in (None, 0, 7):
    said.clear()
    try:
        ops.linear(x, x, stream=stream)
    except postlude.Unsupported:
        print(*said)
"""


def test_the_current_stream_is_asked_for_and_nothing_waits_on_it():
    import postlude

    if "cuda: not built" not in postlude.show_config():
        pytest.skip("this build has CUDA; the fake arrays have no memory there")
    run = subprocess.run([sys.executable, "-c", FAKE], capture_output=True, text=True)
    # -1: the producer must not wait; 1: CUDA's default stream.
    assert run.stdout.splitlines() == ["-1 -1 ('current', 0)", "1 1", "7 7"], run.stderr


try:
    import cupy
except ImportError:
    cupy = None

on_gpu = pytest.mark.skipif(
    cupy is None or (not REQUIRE_GPU and bool(missing_gpu())),
    reason="cupy is not installed" if cupy is None else missing_gpu(),
)
DTYPES = pytest.mark.parametrize("dtype", cases.DTYPES, ids=str)
MILLISECOND = 2_000_000  # of torch.cuda._sleep, about


def on_cupy(value):
    """A tensor, or those in a norm, as arrays of CuPy; anything else as it is."""
    if isinstance(value, LayerNorm | RMSNorm):
        return type(value)(**{name: on_cupy(part) for name, part in vars(value).items()})
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype == torch.bfloat16:
        return cupy.asarray(value.view(torch.int16).numpy()).view("bfloat16")
    return cupy.asarray(value.numpy())


def back(value):
    """An array, or a tuple of them, as tensors on the CPU, after the current stream's work."""
    if isinstance(value, tuple):
        return tuple(map(back, value))
    assert isinstance(value, cupy.ndarray)
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.view(np.int16).get()).view(torch.bfloat16)
    return torch.from_numpy(value.get())


def lends(dtype):
    """Whether this CuPy has the dtype and lends its arrays: bfloat16 came late."""
    if dtype != torch.bfloat16:
        return True
    try:
        on_cupy(torch.zeros(1, dtype=dtype)).__dlpack__(max_version=(1, 0))
    except (BufferError, TypeError, ValueError):
        return False
    return True


@on_gpu
@DTYPES
@pytest.mark.parametrize("size", [(0, 7, 33), (1, 33, 7), (7, 1, 33), (33, 7, 1), (33, 64, 48)])
def test_every_op(size, dtype):
    m, n, k = size
    x, weight = tensor(m, k, dtype=dtype), cases.weight(n, k, dtype)
    out, vector = cases.weight(k, n, dtype), tensor(k, dtype=dtype)
    norm = LayerNorm(vector, vector, 1e-5)
    calls = {
        "linear": ((x, weight, tensor(n)), {"activation": "silu"}),
        "qkv": ((x, weight), {"norm": RMSNorm(vector, 1e-6), "return_normed": True}),
        "mlp": ((x, weight, out), {"activation": "relu", "norm": norm}),
        "norm": ((x, norm), {"residual": x}),
        "residual_add": ((x, x), {"form": "pre_ln", "final_bias": vector}),
    }
    if not lends(dtype):
        with pytest.raises((TypeError, ValueError)):
            ops.linear(on_cupy(x), on_cupy(weight))
        return
    for op, (args, kwargs) in calls.items():
        arrays = [on_cupy(value) for value in args]
        options = {name: on_cupy(value) for name, value in kwargs.items()}
        result = back(getattr(ops, op)(*arrays, **options))
        cases.assert_as_reference(result, getattr(reference, op), *args, **kwargs)


@on_gpu
def test_views_outputs_and_weights():
    x, weight = tensor(7, 64), cases.weight(33, 64, torch.float32)
    want = x.double() @ weight.double().T
    x_, weight_ = on_cupy(x), on_cupy(weight)
    wide = on_cupy(torch.cat([x, x], 1))[:, 64:]
    kernel = on_cupy(weight.T.contiguous()).T  # [in, out] in memory
    out = on_cupy(torch.full((7, 40), torch.nan))
    assert ops.linear(wide, kernel, out=out[:, 3:36]) is not None
    cases.assert_accurate(back(out)[:, 3:36], want, want.float())
    assert back(out)[:, :3].isnan().all() and back(out)[:, 36:].isnan().all()
    packed = ops.pack_weight(weight_)
    assert torch.equal(back(packed.unpack()), weight)
    quantized = ops.quantize_weight(weight_, group="rows", groups=3)
    assert isinstance(quantized.scales, cupy.ndarray) and quantized.scales.shape == (3,)
    cases.assert_accurate(back(ops.Linear(weight_)(x_)), want, want.float())
    cases.assert_accurate(back(ops.linear(x_, packed)), want, want.float())


def delayed(stream, target, source):
    """Work on the stream: a long wait, and then a copy of the source into the target."""
    with torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
        torch.cuda._sleep(50 * MILLISECOND)
    target.data.copy_from_device_async(source.data, source.nbytes, stream)


@on_gpu
@pytest.mark.parametrize("non_blocking", [True, False])
@pytest.mark.parametrize("given", [False, True], ids=["current", "given"])
def test_a_delayed_producer(non_blocking, given):
    """x is written late, on a stream of its own; the result is right, and nothing waited."""
    x, weight = tensor(7, 256), cases.weight(512, 256, torch.float32)
    back_weight = cases.weight(256, 512, torch.float32)
    source, x_ = on_cupy(x), on_cupy(torch.full_like(x, torch.nan))
    weight_, out_ = on_cupy(weight), on_cupy(back_weight)
    stream, other = cupy.cuda.Stream(non_blocking=non_blocking), cupy.cuda.Stream(non_blocking=True)
    ops.mlp(source, weight_, out_, activation="relu")  # prepares what a first call prepares
    with stream:
        ops.mlp(source, weight_, out_, activation="relu")
    ops.mlp(source, weight_, out_, activation="relu", stream=other.ptr)
    cupy.cuda.Device().synchronize()
    used = other if given else stream
    for _ in range(3):
        x_.data.memset_async(255, x_.nbytes, cupy.cuda.Stream.null)
        cupy.cuda.Device().synchronize()
        with stream:
            delayed(stream, x_, source)
            y = ops.mlp(x_, weight_, out_, activation="relu", stream=other.ptr if given else None)
            assert not stream.done, "the call waited for the producer"
        used.synchronize()
        args, kwargs = (x, weight, back_weight), {"activation": "relu"}
        cases.assert_as_reference(back(y), reference.mlp, *args, **kwargs)


@on_gpu
def test_memory_that_the_stream_still_uses_is_not_taken():
    """Results whose memory CuPy's pool gives again to another call, while the first still runs."""
    weight = cases.weight(256, 256, torch.float32)
    inputs = [tensor(64, 256) for _ in range(8)]
    weight_, arrays = on_cupy(weight), [on_cupy(x) for x in inputs]
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    results = []
    with stream:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
            torch.cuda._sleep(50 * MILLISECOND)
        for x in arrays:
            hidden = ops.linear(x, weight_, activation="relu")  # freed at once
            results.append(ops.linear(hidden, weight_))
        del hidden
    stream.synchronize()
    for x, y in zip(inputs, results, strict=True):
        hidden = torch.relu(x.double() @ weight.double().T)
        exact = hidden @ weight.double().T
        cases.assert_accurate(back(y), exact, (hidden.float() @ weight.T))
