"""The functions that XLA calls, called as XLA would on frames made here, which takes no jax: what
they compute, and every refusal, also of frames that no XLA makes today."""

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from postlude._interop import _C

EXECUTE, BUFFER, SCALAR, TEXT = 3, 1, 3, 4
FLOAT32, INT32, INT64, FLOAT64 = 11, 4, 5, 12
INVALID, UNIMPLEMENTED, INTERNAL = 3, 12, 13
SIZE, POINTER, INT = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int


def structure(name: str, **fields: Any) -> Any:
    """A structure of bindings/xla_abi.hpp, which begins with its size and its extensions."""
    members = [("size", SIZE), ("extensions", POINTER), *fields.items()]
    return type(name, (ctypes.Structure,), {"_fields_": members})


class Text(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", SIZE))


class Scalar(ctypes.Structure):
    _fields_ = (("type", INT), ("value", POINTER))


LIST = {"count": ctypes.c_int64, "kinds": POINTER}
Buffer = structure(
    "Buffer", type=INT, data=POINTER, rank=ctypes.c_int64, shape=ctypes.POINTER(ctypes.c_int64)
)
Buffers = structure("Buffers", **LIST, values=POINTER)
Attributes = structure("Attributes", **LIST, names=POINTER, values=POINTER)
ErrorCreate = structure("ErrorCreate", message=ctypes.c_char_p, code=INT)
CreateError = ctypes.CFUNCTYPE(POINTER, ctypes.POINTER(ErrorCreate))
# Up to what makes errors, and what an older jaxlib has behind that: too little for a device.
Api = structure("Api", version=SIZE * 3, internal=POINTER, create_error=CreateError, rest=SIZE * 8)
CallFrame = structure(
    "CallFrame",
    api=ctypes.POINTER(Api),
    execution=POINTER,
    stage=INT,
    arguments=Buffers,
    results=Buffers,
    attributes=Attributes,
)


def handler_of(op: str, platform: str) -> Callable[[Any], int | None]:
    """The function in the capsule that jax.ffi would be given."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = POINTER, (ctypes.py_object, ctypes.c_char_p)
    ((_, _, capsule),) = (x for x in _C.xla_targets() if x[:2] == (op, platform))
    return ctypes.CFUNCTYPE(POINTER, ctypes.POINTER(CallFrame))(pointer(capsule, None))


class Frame:
    """One call: arrays by their names, attributes, and what may be wrong about it."""

    def __init__(self, inputs, outputs, attributes, **wrong):
        self.kept, self.said = [], []
        said = {"inputs": ",".join(inputs), "outputs": ",".join(outputs), "rank": 2, **attributes}
        kinds = wrong.get("kinds", {})
        names = [self.text(name) for name in said]
        values = [self.attribute(value) for value in said.values()]
        codes = [kinds.get(name, TEXT if isinstance(said[name], str) else SCALAR) for name in said]
        self.frame = CallFrame(
            size=ctypes.sizeof(CallFrame),
            api=self.keep(ctypes.pointer(self.api())),
            stage=wrong.get("stage", EXECUTE),
            arguments=self.buffers(inputs, wrong),
            results=self.buffers(outputs, wrong),
            attributes=Attributes(
                count=len(said),
                kinds=self.array(INT, codes),
                names=self.array(POINTER, names),
                values=self.array(POINTER, values),
            ),
        )

    def keep(self, thing):
        self.kept.append(thing)
        return thing

    def address(self, thing):
        return ctypes.addressof(self.keep(thing))

    def array(self, kind, values):
        return self.address((kind * max(len(values), 1))(*values))

    def text(self, value):
        data = value.encode()
        return self.address(Text(self.keep(data), len(data)))

    def attribute(self, value):
        if isinstance(value, str):
            return self.text(value)
        kind, code = (
            (ctypes.c_int64, INT64) if isinstance(value, int) else (ctypes.c_double, FLOAT64)
        )
        if isinstance(value, np.int32):
            kind, code, value = ctypes.c_int32, INT32, int(value)
        return self.address(Scalar(code, self.address(kind(value))))

    def buffers(self, arrays, wrong):
        values = []
        for name, array in arrays.items():
            shape = self.keep((ctypes.c_int64 * array.ndim)(*array.shape))
            buffer = Buffer(type=wrong.get("types", {}).get(name, FLOAT32), rank=array.ndim)
            buffer.data, buffer.shape = self.keep(array).ctypes.data, shape
            values.append(self.address(buffer))
        codes = [wrong.get("buffers", {}).get(name, BUFFER) for name in arrays]
        count = len(arrays) - wrong.get("missing", 0)
        return Buffers(
            count=count, kinds=self.array(INT, codes), values=self.array(POINTER, values)
        )

    def api(self):
        def create(request):
            self.said.append((request.contents.code, request.contents.message.decode()))
            return 1  # any address but null

        return Api(size=0, create_error=self.keep(CreateError(create)))

    def run(self, op="linear", platform="cpu"):
        """None, or the code and the text of the error that was made."""
        failed = handler_of(op, platform)(ctypes.byref(self.frame))
        assert bool(failed) == bool(self.said)
        return self.said[0] if failed else None


def linear(rank=2, **changes):
    """A call of linear; `changes` are attributes, or by the names in WRONG what is wrong."""
    x, weight = np.ones((3,) * (rank - 1) + (4,), np.float32), np.ones((5, 4), np.float32)
    out = np.zeros((3,) * (rank - 1) + (5,), np.float32)
    wrong = {name: changes.pop(name) for name in WRONG if name in changes}
    frame = Frame({"x": x, "weight": weight}, {"out": out}, {"rank": rank, **changes}, **wrong)
    return frame, out


WRONG = ("kinds", "types", "buffers", "missing", "stage")
REFUSALS = {
    "[linear] x: expected float32, bfloat16 or float16, got XLA's type 4": {"types": {"x": INT32}},
    "[linear] weight: expected a buffer": {"buffers": {"weight": 2}},
    "[linear] expected as many buffers as names in 'x,weight', got 1": {"missing": 1},
    "[linear] alpha: expected a text or a number": {"alpha": 1.0, "kinds": {"alpha": 1}},
    "[postlude.jax] alpha: expected a bool, an int64 or a float64, got type 4": {
        "alpha": np.int32(1)
    },
    "[linear] alpha: expected no text, got 'one'": {"alpha": "one"},
    "[linear] activation: expected no number, got 1.000000": {"activation": 1.0},
    "[linear] norm: expected 'layer' or 'rms', got 'batch'": {"norm": "batch"},
    "[postlude.jax] x: expected at most 8 dimensions, got 9": {"rank": 9},
}


def test_a_right_frame_is_computed():
    frame, out = linear(alpha=0.5, activation="relu", gated=False)
    assert frame.run() is None
    assert (out == 2).all()


@pytest.mark.parametrize("text", REFUSALS)
def test_a_wrong_frame_is_refused(text):
    frame, out = linear(**REFUSALS[text])
    assert frame.run() == (INVALID, text)
    assert (out == 0).all()


def test_another_stage_is_an_error():
    frame, _ = linear(stage=2)
    assert frame.run() == (INTERNAL, "[postlude.jax] wrong stage")


def test_a_jaxlib_that_tells_no_device_is_refused():
    frame, _ = linear()
    code, text = frame.run(platform="CUDA")
    assert code == UNIMPLEMENTED
    assert text == (
        "[postlude.jax] on a GPU: this jaxlib does not tell handlers their device; install a newer "
        "one"
    )


def outputs(op, inputs=(), texts=(), numbers=()):
    """The check of a call while JAX traces it."""
    return _C.xla_outputs(op, list(inputs), list(texts), list(numbers), ["out"])


X, W = ("x", "float32", [3, 4]), ("weight", "float32", [5, 4])
TRACED = {
    "[Request] op: expected an op of postlude.ops, got 'matmul'": ("matmul",),
    "[linear] x: expected fewer tensors": ("linear", [X] * 17),
    "[linear] x: expected float32, bfloat16 or float16, got int8": ("linear", [("x", "int8", [3])]),
    "[linear] x: expected at most 8 dimensions, got 9": ("linear", [("x", "float32", [1] * 9)]),
    "[linear] form: expected no number, got 2.000000": ("linear", [X, W], [], [("form", 2.0)]),
}


@pytest.mark.parametrize("text", TRACED)
def test_a_wrong_call_is_refused_while_it_is_traced(text):
    assert outputs("linear", [X, W]) == [[3, 5]]
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        outputs(*TRACED[text])
