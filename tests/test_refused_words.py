"""The words of refusals that tests/test_errors.py does not read: of DLPack structs, of memory that
outputs share, of prepared weights, and of layers while they are made."""

import ctypes
import re

import numpy as np
import pytest
import torch

import postlude
from postlude import RMSNorm, _interop, nn, ops
from postlude.cli.tensors import ManagedTensor, capsule_of
from postlude.nn import _parts

X, W, BACK, V = torch.randn(5, 16), torch.randn(24, 16), torch.randn(16, 24), torch.randn(16)
MEMORY = (ctypes.c_char * 4096)()
SHAPE = (ctypes.c_int64 * 2)(5, 16)
LARGE = (ctypes.c_int64 * 2)(1 << 40, 1 << 40)
NEGATIVE = (ctypes.c_int64 * 2)(5, -16)
KEPT = []  # what capsules point to must outlive them


def capsule(name=b"dltensor", **changes):
    """A float32 tensor (5, 16) of DLPack, but for what is changed."""
    fields = {"data": ctypes.addressof(MEMORY), "device_type": 1, "ndim": 2, "shape": SHAPE}
    tensor = ManagedTensor(**{**fields, "code": 2, "bits": 32, "lanes": 1, **changes})
    KEPT.append(tensor)
    return capsule_of(tensor, name)


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned up to its DLTensor, whose fields do not matter here."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", ctypes.c_char * 48),
    )


def versioned(**fields):
    """A capsule of DLPack's newer form."""
    tensor = Versioned(**fields)
    KEPT.append(tensor)
    return capsule_of(tensor, b"dltensor_versioned")


def norm(**changes):
    return ops.norm(capsule(**changes), None)


def overlapping(begin):
    """linear into memory that begins inside x's."""
    buffer = torch.zeros(400)
    return ops.linear(
        buffer[:80].view(5, 16), torch.randn(16, 16), out=buffer[begin:][:80].view(5, 16)
    )


def into_the_weight():
    weight = torch.randn(24, 16)
    return ops.linear(torch.randn(16, 16), weight, out=weight.view(16, 24))


def unaligned():
    array = np.frombuffer(bytes(4 * 80 + 1), np.uint8)[1:].view(np.float32).reshape(5, 16)
    return ops.norm(array, None)


# What each call says; * stands for any text.
VALUE_ERRORS = {
    "[norm] x: expected float32, bfloat16, float16 or int8, got *": lambda: norm(code=255),
    "[norm] x: expected float32, bfloat16, float16 or int8, got float32x2": lambda: norm(lanes=2),
    "[norm] x: expected at most 8 dimensions, got 9": lambda: norm(ndim=9),
    "[norm] x: expected 0 to 8, got -1": lambda: norm(ndim=-1),
    "[norm] x: expected 2 sizes, got a null pointer": lambda: norm(shape=None),
    "[norm] x: expected sizes >= 0, got -16 in dimension 1": lambda: norm(shape=NEGATIVE),
    "[norm] x: expected at most 2^60 elements, and no more between the first and the last, got "
    "size 1099511627776 with stride 1099511627776 in dimension 0": lambda: norm(shape=LARGE),
    "[norm] x: expected cpu (1), cuda (2) or pinned host memory (3), got type 9": lambda: norm(
        device_type=9
    ),
    f"[norm] x: expected at most {1 << 62}, got {(1 << 64) - 1}": lambda: norm(
        byte_offset=(1 << 64) - 1
    ),
    "[norm] x: expected a tensor with memory of its own, got a null pointer": lambda: norm(
        data=None
    ),
    "[norm] x: expected DLPack 1, got version 2": lambda: ops.norm(versioned(major=2), None),
    "[norm] out: expected a writable tensor, got a read-only one": lambda: ops.norm(
        X.numpy(), None, out=versioned(major=1, flags=1)
    ),
    "[norm] x: expected an address that is a multiple of the element's size, got * for float32 "
    "(5, 16)*": unaligned,
    "[linear] out: expected exactly the same memory or none of it as x, got an overlap of float32 "
    "(5, 16)* with float32 (5, 16)*": lambda: overlapping(16),
    "[linear] out: expected other memory as weight, got an overlap of *": into_the_weight,
    "[linear] out: expected an output whose elements do not overlap, got *": lambda: ops.linear(
        X, W, out=torch.zeros(1, 24).expand(5, 24)
    ),
    f"[linear] stream: expected an int of 64 bits, got {1 << 70}": lambda: ops.linear(
        X, W, stream=1 << 70
    ),
    "[linear] weight: expected a Weight packed with gated=True, got one packed with gated=False": (
        lambda: ops.linear(X, ops.pack_weight(W), gated=True)
    ),
    "[linear] weight: expected a Weight packed with gated=False, got one packed with gated=True": (
        lambda: ops.linear(X, ops.pack_weight(W, gated=True))
    ),
    "[linear] weight: expected float16 (x's dtype), got a Weight of float32": lambda: ops.linear(
        X.half(), ops.pack_weight(W)
    ),
    "[qkv] norm.eps: expected a finite value >= 0, got nan": lambda: ops.qkv(
        X, W, norm=RMSNorm(V, float("nan"))
    ),
    "[mlp] weight_out: expected 16 rows, since the residual is added to the output, got 9": (
        lambda: ops.mlp(X, W, BACK[:9], activation=None)
    ),
    "[QKV] norm: expected 'layer', 'rms' or None, got 'batch'": lambda: nn.QKV(
        16, 2, norm="batch", eps=1e-5
    ),
    "[QKV] eps: expected that of the model which the rms norm comes from, got None": lambda: nn.QKV(
        16, 2, norm="rms"
    ),
    "[MLP] norm_position: expected 'pre' or 'post', got 'middle'": lambda: nn.MLP(
        16, 8, activation="relu", norm_position="middle"
    ),
    "[QKV] num_heads: expected a divisor of hidden_size 16, or a head_dim, got 3": lambda: nn.QKV(
        16, 3
    ),
    "[QKV] head_dim: expected a divisor of the widths *, got 3": lambda: nn.QKV.from_torch(
        *[torch.nn.Linear(16, 16)] * 3, head_dim=3
    ),
}
TYPE_ERRORS = {
    "[norm] x: expected a DLPack capsule that nobody has used, got <capsule object "
    '"used_dltensor" at *>': lambda: ops.norm(capsule(b"used_dltensor"), None),
    "[Linear] module: expected a linear layer with a floating-point weight, got ReLU": lambda: (
        nn.Linear.from_torch(torch.nn.ReLU())
    ),
    "[Linear] module: expected torch.nn.Linear or Conv1D, got Embedding": lambda: (
        nn.Linear.from_torch(torch.nn.Embedding(4, 4))
    ),
    "[QKV] norm: expected a LayerNorm or an RMSNorm over the last dimension, got ReLU": (
        lambda: nn.QKV.from_torch(*[torch.nn.Linear(4, 4)] * 3, norm=torch.nn.ReLU(), head_dim=2)
    ),
}


def test_an_intermediate_result_too_large_for_any_memory():
    x, weight_in = torch.zeros(1, 1).expand(1 << 40, 1), torch.zeros(1 << 21, 1)
    words = r"^\[workspace\] intermediate: expected at most 2\^60 elements, got "
    with pytest.raises(postlude.Unsupported, match=f"{words}{1 << 40} rows of {1 << 21}$"):
        postlude.explain("mlp", x, weight_in, weight_in.t(), activation="relu")


def test_arrays_of_numpy_that_dlpack_does_not_take():
    """Before NumPy 2.1 it lends no read-only array, and never bfloat16, which ml_dtypes adds."""

    class Old(np.ndarray):
        def __dlpack__(self, *, stream=None):
            return np.asarray(self).__dlpack__(stream=stream)

    array = X.numpy().copy().view(Old)
    array.flags.writeable = False
    adapter = _interop._numpy()
    with pytest.raises(BufferError, match=r"^it is read-only$"):
        adapter.export(array, True, None)
    with pytest.raises(TypeError, match=r"^NumPy exchanges no bfloat16$"):
        adapter.empty((2, 3), "bfloat16", "cpu")


@pytest.mark.parametrize("op", ["linear", "qkv", "mlp"])
def test_an_unknown_quantization(op):
    weights = [[W], [None]] if op != "mlp" else [[W], [None], [BACK], [None]]
    options = {"activation": None} if op != "qkv" else {}
    with pytest.raises(
        ValueError, match=rf"^\[{op}\] quantize: expected None or 'int8', got 'int4'$"
    ):
        getattr(torch.ops.postlude, f"bound_{op}")(X, *weights, quantize="int4", **options)


@pytest.mark.parametrize("message", [*VALUE_ERRORS, *TYPE_ERRORS])
def test_refusals_say_what_is_wrong(message):
    error = ValueError if message in VALUE_ERRORS else TypeError
    with pytest.raises(error) as caught:
        (VALUE_ERRORS | TYPE_ERRORS)[message]()
    pattern = ".*".join(map(re.escape, message.split("*")))
    assert re.fullmatch(pattern, str(caught.value), re.DOTALL), str(caught.value)


def test_layers_of_two_layouts():
    """transformers' Conv1D stores its weight the other way round, which from_torch undoes."""
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    words = r"^\[MLP\] module: expected torch.nn.Linear or Conv1D alone, got both$"
    with pytest.raises(TypeError, match=words):
        _parts.source("MLP", torch.nn.Linear(4, 4), conv1d(4, 4))


def test_names_that_are_not():
    with pytest.raises(AttributeError, match=r"^module 'postlude' has no attribute 'gemm'$"):
        postlude.gemm  # noqa: B018
