"""Tensors of any shape, dtype and device for plans alone, as DLPack capsules: they need no
framework and no memory."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

# DLPack's (type code, bits).
DTYPES = {"f32": (2, 32), "bf16": (4, 16), "f16": (2, 16)}
TORCH_NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_DEVICES = {"cpu": 1, "cuda": 2}
_ALIGNMENT = 4096
_LARGEST = 1 << 60  # of postlude::TensorView
_NAME = b"dltensor"  # the capsules point to it


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor, its DLTensor first."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


def capsule_of(tensor: ManagedTensor, name: bytes) -> Any:
    """A capsule that points to the tensor and the name, both of which must outlive it."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(tensor), name, None)


class Tensors:
    """Makes the tensors of one plan, which live as long as this object."""

    def __init__(self, dtype: str, device: str) -> None:
        kind, _, index = device.partition(":")
        if kind not in _DEVICES or not (index or "0").isdigit():
            raise ValueError(f"[explain] device: expected cpu, cuda or cuda:N, got {device!r}")
        self._dtype = dtype
        self._device = (_DEVICES[kind], int(index or 0))
        self._next = 1 << 40
        self._kept: list[Any] = []

    @property
    def on_cpu(self) -> bool:
        """Whether tensors may be readable."""
        return self._device[0] == _DEVICES["cpu"]

    def _address(self, size: int) -> int:
        """Addresses of memory that is not there, one tensor after the other."""
        address = self._next
        self._next += (size // _ALIGNMENT + 1) * _ALIGNMENT
        return address

    def _memory(self, size: int) -> int:
        """The address of memory in the host."""
        memory = mmap.mmap(-1, max(size, 1))
        self._kept.append(memory)
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def __call__(self, *shape: int, readable: bool = False) -> Any:
        """A compact tensor, with zeros in it where it must be ``readable``; else nothing may read
        it. ValueError for a size that no tensor has."""
        if not all(0 <= size <= _LARGEST for size in shape):
            raise ValueError(f"[explain] sizes: expected 0 to 2^60, got {shape}")
        code, bits = DTYPES[self._dtype]
        size = math.prod(shape) * bits // 8
        tensor = ManagedTensor(
            data=self._memory(size) if readable else self._address(size),
            device_type=self._device[0],
            device_id=self._device[1],
            ndim=len(shape),
            code=code,
            bits=bits,
            lanes=1,
            shape=(ctypes.c_int64 * len(shape))(*shape),
        )
        self._kept.append(tensor)
        return capsule_of(tensor, _NAME)
