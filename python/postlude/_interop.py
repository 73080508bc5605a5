"""The one module that knows tensor frameworks: how each lends its tensors and makes new ones.

The compiled core asks ``adapter_for`` once about every type of tensor that it meets, and keeps the
answer.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native

if TYPE_CHECKING:
    from . import _C as _C
else:
    _C = _native.load()

_DLPACK = (1, 3)
_DLPACK_CUDA = 2
_LEGACY_STREAM = 1  # DLPack's number for CUDA's default stream, which has the handle 0


class Adapter(NamedTuple):
    """What the core needs to know of a framework; None for what the framework lacks.

    Without ``table`` and ``export``, a tensor is a DLPack capsule itself. Without ``new_like``,
    results are made as DLPack buffers in CPU memory and handed to ``wrap`` when they are filled.
    """

    framework: str  # its name, for messages and to keep frameworks apart; "" goes with any
    table: Any = None  # capsule of DLPack's C exchange functions: the fast way in
    # (tensor, writable, stream) -> DLPack capsule
    export: Callable[[Any, bool, int | None], Any] | None = None
    new_like: Callable[[Any, tuple[int, ...]], Any] | None = None  # same dtype and device
    # Same shape, dtype and device, for a contiguous tensor; where that costs less than new_like.
    empty_like: Callable[[Any], Any] | None = None
    empty: Callable[[tuple[int, ...], str, str], Any] | None = None  # (shape, dtype, device)
    wrap: Callable[[Any], Any] | None = None  # (object with __dlpack__) -> tensor, no copy
    keep: Callable[[Any], Any] | None = None  # (tensor) -> what keeps its memory alive
    stream: Callable[[int], int] | None = None  # (device index) -> handle of the current stream
    grad_enabled: Callable[[], bool] | None = None  # whether `requires_grad` matters now
    writable: bool = True  # whether a tensor may be given as an output


def adapter_for(kind: type) -> Adapter | None:
    """The adapter for tensors of this type, or None where it is no type of tensor."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and issubclass(kind, torch.Tensor):
        return _torch()
    if numpy is not None and issubclass(kind, numpy.ndarray):
        return _numpy()
    cupy = sys.modules.get("cupy")
    if cupy is not None and issubclass(kind, cupy.ndarray):
        return _cupy()
    if kind.__name__ == "PyCapsule":
        return _CAPSULE
    if hasattr(kind, "__dlpack__"):
        return _other(kind)
    return None


_CAPSULE = Adapter("")


def _package(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


@functools.cache
def _torch() -> Adapter:
    import torch
    import torch.utils.dlpack as dlpack

    def empty(shape: tuple[int, ...], dtype: str, device: str) -> Any:
        return torch.empty(shape, dtype=getattr(torch, dtype), device=device)

    def export(tensor: Any, writable: bool, stream: int | None) -> Any:
        return dlpack.to_dlpack(tensor)  # type: ignore[attr-defined]

    return Adapter(
        "torch",
        table=getattr(torch.Tensor, "__dlpack_c_exchange_api__", None),
        export=export,
        new_like=torch.Tensor.new_empty,
        empty_like=torch.empty_like,
        empty=empty,
        wrap=dlpack.from_dlpack,
        keep=torch.Tensor.detach,  # shares the storage, also after `tensor.data = ...`
        stream=lambda index: torch.cuda.current_stream(index).cuda_stream,
        grad_enabled=torch.is_grad_enabled,
    )


class _Unlocked:
    """Lets NumPy see the memory of a read-only array as writable; for reading only."""

    def __init__(self, array: Any) -> None:
        pointer, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (pointer, False)}


@functools.cache
def _numpy() -> Adapter:
    import numpy

    def export(array: Any, writable: bool, stream: int | None) -> Any:
        if array.flags.writeable:
            return array.__dlpack__()
        try:
            return array.__dlpack__(max_version=_DLPACK)  # which says that it is read-only
        except TypeError:  # NumPy before 2.1, which exports no read-only array
            if writable:
                raise BufferError("it is read-only") from None
            return numpy.asarray(_Unlocked(array)).__dlpack__()

    def empty(shape: tuple[int, ...], dtype: str, device: str) -> Any:
        if dtype == "bfloat16":  # where ml_dtypes adds it, DLPack still refuses it
            raise TypeError("NumPy exchanges no bfloat16")
        return numpy.empty(shape, dtype)

    return Adapter(
        "numpy",
        export=export,
        new_like=lambda array, shape: numpy.empty(shape, array.dtype),
        empty=empty,
        wrap=numpy.from_dlpack,
    )


@functools.cache
def _cupy() -> Adapter:
    import cupy

    def export(array: Any, writable: bool, stream: int | None) -> Any:
        # On the current stream, where the array's own work is, there is nothing to wait for.
        options: dict[str, Any] = {"stream": -1 if stream is None else stream or _LEGACY_STREAM}
        try:
            return array.__dlpack__(max_version=_DLPACK, **options)
        except TypeError:  # CuPy before 13.4
            return array.__dlpack__(**options)

    def new_like(array: Any, shape: tuple[int, ...]) -> Any:
        with array.device:
            return cupy.empty(shape, array.dtype)

    def empty(shape: tuple[int, ...], dtype: str, device: str) -> Any:
        with cupy.cuda.Device(int(device.partition(":")[2])):
            return cupy.empty(shape, dtype)

    return Adapter(
        "cupy",
        export=export,
        new_like=new_like,
        empty=empty,
        wrap=cupy.from_dlpack,
        stream=lambda index: cupy.cuda.get_current_stream(index).ptr,
    )


@functools.cache
def _other(kind: type) -> Adapter:
    """Any other framework, through the ``__dlpack__`` of its tensors and the ``from_dlpack`` of its
    package."""
    package = _package(kind)
    framework = "jax" if package == "jaxlib" else package
    immutable = framework == "jax"
    traced = immutable and not hasattr(kind, "__dlpack_device__")

    def export(tensor: Any, writable: bool, stream: int | None) -> Any:
        if traced:
            raise BufferError(
                "JAX traces it, so it has no memory yet; what JAX traces goes into the functions "
                "of postlude.jax, with arrays as weights"
            )
        options: dict[str, Any] = {"max_version": _DLPACK}
        if tensor.__dlpack_device__()[0] == _DLPACK_CUDA:
            # So that its own work on the tensor comes first.
            options["stream"] = stream or _LEGACY_STREAM
        try:
            return tensor.__dlpack__(**options)
        except TypeError:
            del options["max_version"]
            return tensor.__dlpack__(**options)

    def new_like(tensor: Any, shape: tuple[int, ...]) -> Any:
        namespace = tensor.__array_namespace__()
        return namespace.empty(shape, dtype=tensor.dtype, device=tensor.device)

    module = sys.modules.get("jax.numpy" if framework == "jax" else package)
    return Adapter(
        framework,
        export=export,
        new_like=None if immutable or not hasattr(kind, "__array_namespace__") else new_like,
        wrap=getattr(module, "from_dlpack", None),
        writable=not immutable,
    )


def tracing() -> bool:
    """Whether torch.compile or torch.export traces a call now, in any thread.

    ``postlude.torch_library`` puts torch's own function in its place.
    """
    compiler = getattr(sys.modules.get("torch"), "compiler", None)
    is_compiling = getattr(compiler, "is_compiling", None)
    return is_compiling is not None and bool(is_compiling())


def traced() -> Any:
    """The module whose functions take the place of the core's while torch traces."""
    from .torch_library import _traced

    return _traced


class _Cores(dict[type, Any]):
    """By the type of a call's first argument, the module whose functions compute the call."""

    def __missing__(self, kind: type) -> Any:
        core = _C
        if _package(kind) in ("jax", "jaxlib") and hasattr(sys.modules.get("jax"), "ffi"):
            from .jax import _routed as core  # type: ignore[no-redef]
        self[kind] = core
        return core


cores = _Cores()

_C.set_adapter_factory(adapter_for)
