"""
The compiled core of Postlude. Use postlude.ops; this module's functions take all arguments in order.
"""

from collections.abc import Sequence
from typing import Any


class Unsupported(NotImplementedError):
    """
    A valid request that no kernel of this build and device can run; the text says what was refused and why.
    """

version: str

def show_config() -> str:
    """
    Version, build options, backends, oneDNN version, instruction set, CUDA architectures, one a line.
    """

def clear_workspaces() -> None:
    """
    Frees the workspaces that ops have kept, of all threads; a thread inside an op frees its own at the end of it.
    """

def set_adapter_factory(factory: Any) -> None:
    """Sets the function (type) -> postlude._interop.Adapter | None."""

class Weight:
    """
    A weight matrix (out, in) prepared once for the kernels of a device: packed, or int8 with scales.

    Made by ops.pack_weight, ops.quantize_weight and ops.quantized_weight; taken by every op as its weight.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(out features, in features); a gated weight counts both halves."""

    @property
    def dtype(self) -> str:
        """"float32", "bfloat16", "float16", or "int8" where quantised."""

    @property
    def device(self) -> str:
        """"cpu" or "cuda:<index>"."""

    @property
    def packed(self) -> bool:
        """Whether it holds a copy in the kernels' own layout."""

    @property
    def quantized(self) -> bool:
        """Whether it is int8 with scales."""

    @property
    def group(self) -> str | None:
        """How scales are shared, "rows" or "k"; None where not quantised."""

    @property
    def bytes(self) -> int:
        """Bytes of memory that it owns; 0 where it only borrows."""

    @property
    def scales(self) -> Any:
        """
        The float32 scales, (groups,) or (out, in / group_size), as a tensor that keeps this Weight alive; None where not quantised.
        """

    def unpack(self) -> Any:
        """
        The matrix (out, in) as it went in, bit for bit, as a new tensor; int8 values where quantised.
        """

    def __repr__(self) -> str: ...

def pack_weight(weight: Any, gated: bool, layout: str, norm: Any, stream: int | None) -> Weight: ...

def quantize_weight(weight: Any, bits: int, group: str, groups: int | None, group_size: int | None, stream: int | None) -> Weight: ...

def quantized_weight(weight: Any, scales: Any, group: str) -> Weight: ...

def linear(x: object | None, weight: object | None, bias: object | None, activation: object | None, gated: object | None, layout: object | None, residual: object | None, alpha: object | None, clamp: object | None, out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

def explain_linear(x: object | None, weight: object | None, bias: object | None, activation: object | None, gated: object | None, layout: object | None, residual: object | None, alpha: object | None, clamp: object | None, out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

class Linear:
    def __init__(self, weight: object | None, bias: object | None, activation: object | None, gated: object | None, layout: object | None, alpha: object | None, clamp: object | None, pack: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> None: ...

    def __call__(self, x: object | None, residual: object | None, out: object | None, stream: object | None) -> Any: ...

    @property
    def packed_bytes(self) -> int: ...

def qkv(x: object | None, weight: object | None, bias: object | None, norm: object | None, return_normed: object | None, out: object | None, normed_out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

def explain_qkv(x: object | None, weight: object | None, bias: object | None, norm: object | None, return_normed: object | None, out: object | None, normed_out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

class Qkv:
    def __init__(self, weight: object | None, bias: object | None, norm: object | None, return_normed: object | None, pack: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> None: ...

    def __call__(self, x: object | None, out: object | None, normed_out: object | None, stream: object | None) -> Any: ...

    @property
    def packed_bytes(self) -> int: ...

def mlp(x: object | None, weight_in: object | None, weight_out: object | None, bias_in: object | None, bias_out: object | None, activation: object | None, gated: object | None, layout: object | None, clamp: object | None, norm: object | None, residual: object | None, input_bias: object | None, add_residual: object | None, return_residual: object | None, return_normed: object | None, out: object | None, residual_out: object | None, normed_out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

def explain_mlp(x: object | None, weight_in: object | None, weight_out: object | None, bias_in: object | None, bias_out: object | None, activation: object | None, gated: object | None, layout: object | None, clamp: object | None, norm: object | None, residual: object | None, input_bias: object | None, add_residual: object | None, return_residual: object | None, return_normed: object | None, out: object | None, residual_out: object | None, normed_out: object | None, stream: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> Any: ...

class Mlp:
    def __init__(self, weight_in: object | None, weight_out: object | None, bias_in: object | None, bias_out: object | None, activation: object | None, gated: object | None, layout: object | None, clamp: object | None, norm: object | None, add_residual: object | None, return_residual: object | None, return_normed: object | None, pack: object | None, batch_invariant: object | None, weights_static: object | None, allow_tf32: object | None) -> None: ...

    def __call__(self, x: object | None, residual: object | None, input_bias: object | None, add_residual: object | None, out: object | None, residual_out: object | None, normed_out: object | None, stream: object | None) -> Any: ...

    @property
    def packed_bytes(self) -> int: ...

def norm(x: object | None, norm: object | None, residual: object | None, bias: object | None, add_after: object | None, out: object | None, residual_out: object | None, stream: object | None, batch_invariant: object | None) -> Any: ...

def explain_norm(x: object | None, norm: object | None, residual: object | None, bias: object | None, add_after: object | None, out: object | None, residual_out: object | None, stream: object | None, batch_invariant: object | None) -> Any: ...

def residual_add(hidden_state: object | None, residual: object | None, form: object | None, attention_output: object | None, attention_bias: object | None, final_bias: object | None, mp_size: object | None, out: object | None, stream: object | None, batch_invariant: object | None) -> Any: ...

def explain_residual_add(hidden_state: object | None, residual: object | None, form: object | None, attention_output: object | None, attention_bias: object | None, final_bias: object | None, mp_size: object | None, out: object | None, stream: object | None, batch_invariant: object | None) -> Any: ...

def changed(slots: tuple[object, ...], contents: tuple[object, ...]) -> bool:
    """
    Whether a table lacks the value of its slot, or a tensor has another pointer or version; see postlude.nn._bound for Slot and Content.
    """

class TuneTable:
    """A tune file, read. TuneTable() is none."""

    def __init__(self) -> None: ...

    @staticmethod
    def parse(text: str, name: str) -> TuneTable:
        """
        The table of a file's text; ValueError with the name, the line and what is wrong.
        """

    @staticmethod
    def read(path: str) -> TuneTable:
        """The same of a file."""

    @property
    def name(self) -> str:
        """Of the file; empty for none."""

    @property
    def header(self) -> str:
        """The first five lines."""

    @property
    def entries(self) -> list[tuple[str, str]]:
        """The key of each entry, as tune_key's, and its line."""

def exchange_tune_table(table: TuneTable | None) -> TuneTable | None:
    """
    Sets the table that this thread's calls on GPUs take, and returns the one before; None: that of POSTLUDE_TUNE_FILE.
    """

def tune_header(gpu: int) -> str:
    """The first five lines of a tune file for this GPU."""

def tune_tiles(key: str, gpu: int) -> list[str]:
    """
    "kernel=... tile=..." of each tile that runs the problem of a key, such as "dtype=bf16 m=16 n=4096 k=14336 epilogue=residual".
    """

def xla_targets() -> list[tuple[str, str, Any]]:
    """
    (op, platform, capsule of the function that XLA calls) of every op and platform.
    """

def xla_outputs(op: str, inputs: Sequence[tuple[str, str, Sequence[int]]], texts: Sequence[tuple[str, str]], numbers: Sequence[tuple[str, float]], outputs: Sequence[str]) -> list[list[int]]:
    """
    The shapes of a call's outputs. `inputs` are (name, dtype, shape); ValueError for what the call itself would refuse.
    """
