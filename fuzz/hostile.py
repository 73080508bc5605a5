"""Random calls of ``postlude.ops``: right ones, and ones with something wrong about a tensor or an
option.

A tensor always has the memory that it claims, or a null pointer or none at all: what a tensor
claims cannot be checked by a library, so that only such calls are fair.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import postlude
from postlude import LayerNorm, RMSNorm, ops
from postlude.cli.tensors import ManagedTensor, capsule_of

DTYPES = {"torch": ("float32", "bfloat16", "float16"), "numpy": ("float32", "float16")}
ACTIVATIONS = (None, "relu", "gelu_erf", "gelu_tanh", "quick_gelu", "silu", "relu2", "gelu")
INTEGERS = (
    0,
    1,
    -1,
    2,
    7,
    33,
    1 << 31,
    1 << 32,
    1 << 59,
    1 << 60,
    1 << 62,
    (1 << 63) - 1,
    -1 << 63,
)
RANKS = (-(1 << 31), -1, 0, 1, 3, 8, 9, 64, (1 << 31) - 1)


@dataclasses.dataclass
class Call:
    """A call to be made, and whether all about it is right."""

    op: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    right: bool
    kept: list[Any] = dataclasses.field(default_factory=list)  # what its capsules point to


class Lender:
    """Something with ``__dlpack__`` that hands out a capsule whose tensor may be hostile."""

    def __init__(self, tensor: ManagedTensor, name: bytes, *keep: Any) -> None:
        self.tensor, self.name, self.keep = tensor, name, keep

    def __dlpack__(self, **_: Any) -> Any:
        return capsule_of(self.tensor, self.name)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.device_type, self.tensor.device_id


def hostile_capsule(rng: random.Random) -> Lender:
    """A DLTensor of random fields, over 4 KiB of memory where it stays within them."""
    rank = rng.choice((1, 2, 2, 3)) if rng.random() < 0.7 else rng.choice(RANKS)
    count = min(max(rank, 0), 9)
    wild = rng.random() < 0.5
    sizes = [rng.choice(INTEGERS) if wild else rng.randint(0, 9) for _ in range(count)]
    steps = [rng.choice(INTEGERS) if rng.random() < 0.3 else 1 for _ in range(count)]
    shape, strides = ((ctypes.c_int64 * max(count, 1))(*values) for values in (sizes, steps))
    code, bits = rng.choice(
        ((2, 32), (2, 32), (2, 16), (4, 16), (0, 8), (2, 64), (6, 8), (255, 255))
    )
    tensor = ManagedTensor(
        device_type=rng.choice((1, 1, 1, 1, 0, 3, 9, -1)),
        device_id=rng.choice((0, 0, 5, -1)),
        ndim=rank,
        code=code,
        bits=bits,
        lanes=rng.choice((1, 1, 1, 1, 0, 2, 65535)),
        shape=shape if rng.random() < 0.9 else None,
        strides=strides if rng.random() < 0.7 else None,
        byte_offset=rng.choice((0, 0, 0, 1, 4, 1 << 40, (1 << 64) - 1)),
    )
    memory = (ctypes.c_char * 4096)()
    if not tensor.strides:  # compact
        steps = [1] * count
        for d in range(count - 2, -1, -1):
            steps[d] = steps[d + 1] * sizes[d + 1]
    reach = [step * (size - 1) for size, step in zip(sizes, steps, strict=True)]
    inside = 0 <= sum(reach) * (bits // 8 or 1) + tensor.byte_offset < 4096 - 64
    # Many elements in little memory would be right, and take all day.
    few = 0 < math.prod(sizes) < 1 << 16 and min(sizes, default=1) > 0
    if inside and few and min([0, *reach]) >= 0:
        tensor.data = ctypes.addressof(memory)
    name = (
        b"dltensor"
        if rng.random() < 0.9
        else rng.choice((b"used_dltensor", b"", b"dltensor_versioned "))
    )
    return Lender(tensor, name, memory, shape, strides)


class Maker:
    """Makes calls on tensors of one framework and device."""

    def __init__(self, rng: random.Random, device: str) -> None:
        self.rng, self.device = rng, device

    def call(self) -> Call:
        """The next call; about half are right."""
        rng = self.rng
        self.framework = "torch" if self.device != "cpu" else rng.choice(("torch", "numpy"))
        self.dtype = rng.choice(DTYPES[self.framework])
        self.wrong = rng.choice((0.0, 0.0, 0.1, 0.4))
        self.right = True
        self.kept: list[Any] = []
        self.lead = tuple(rng.randint(0, 9) for _ in range(rng.randint(0, 2)))
        self.k, self.n = self.size(), self.size()
        name = rng.choice(("linear", "qkv", "mlp", "norm", "residual_add", "weight", "bound"))
        op, function, args, options = getattr(self, name)()
        if rng.random() < 0.2 and name != "weight" and name != "bound":
            options["batch_invariant"] = True
        return Call(op, function, args, options, self.right, self.kept)

    def size(self) -> int:
        """A size, mostly small."""
        return 0 if self.rng.random() < 0.06 else self.rng.randint(1, 80)

    def tensor(self, *shape: int, dtype: str | None = None) -> Any:
        """A tensor of the shape, or another one, or none."""
        if self.rng.random() < self.wrong:
            self.right = False
            return self.spoilt(*shape)
        return self.make(*shape, dtype=dtype or self.dtype)

    def make(self, *shape: int, dtype: str) -> Any:
        """With rows that may have a gap between them; the data are the same for the same draw."""
        wide = (*shape[:-1], shape[-1] + self.rng.choice((0, 0, 3)))
        values = np.asarray(self.rng.choices(range(-8, 9), k=64), np.float32) / 16
        array = np.resize(values, wide)[..., : shape[-1]]
        if self.framework == "numpy":
            return array.astype(dtype)
        return torch.from_numpy(array.copy()).to(self.device, getattr(torch, dtype))

    def spoilt(self, *shape: int) -> Any:
        """Something that is wrong in its place, or at least unusual."""
        rng = self.rng
        good = self.make(*shape, dtype=self.dtype)
        forms: list[Callable[[], Any]] = [
            lambda: None,
            lambda: rng.choice((3, 0.5, "text", [1.0, 2.0], object(), b"bytes", {})),
            lambda: hostile_capsule(rng),
            lambda: self.capsule(hostile_capsule(rng)),
            lambda: self.make(*shape, 2, dtype=self.dtype),
            lambda: (
                self.make(*shape[1:], dtype=self.dtype)
                if len(shape) > 1
                else self.make(1, 1, dtype=self.dtype)
            ),
            lambda: self.make(*shape[:-1], shape[-1] + 1, dtype=self.dtype),
            lambda: self.make(*shape, dtype=rng.choice(("float64", "int32", "int8", "bool"))),
            lambda: self.make(*shape[:-1], 2 * shape[-1] + 1, dtype=self.dtype)[..., ::2],
        ]
        if self.framework == "numpy":
            forms += [
                lambda: np.lib.stride_tricks.as_strided(good, strides=(0,) * good.ndim),
                lambda: good.astype(">f4"),
                lambda: (
                    np.frombuffer(b"\0" * (good.size * good.itemsize + 1), np.uint8)[1:]
                    .view(good.dtype)
                    .reshape(shape)
                ),
                lambda: good[..., ::-1],
                lambda: good.astype(object),
                lambda: torch.zeros(shape),
            ]
        else:
            forms += [
                lambda: good.requires_grad_(),
                lambda: torch.empty(shape, device="meta"),
                lambda: torch.zeros((), device=self.device, dtype=good.dtype).expand(shape),
                lambda: torch.zeros(1, device=self.device, dtype=good.dtype).expand(
                    1 << 45, *shape[1:], 1
                ),
                lambda: good.to_sparse() if good.dim() == 2 else good.to(torch.complex64),
                lambda: np.zeros(shape, np.float32),
            ]
        return rng.choice(forms)()

    def capsule(self, lender: Lender) -> Any:
        """What it lends, which the call keeps alive."""
        self.kept.append(lender)
        return lender.__dlpack__()

    def maybe(self, *shape: int, dtype: str | None = None) -> Any:
        """The same, or None."""
        return self.tensor(*shape, dtype=dtype) if self.rng.random() < 0.4 else None

    def vector(self, size: int) -> Any:
        """A bias, perhaps in float32; or None."""
        return self.maybe(size, dtype=self.rng.choice((self.dtype, "float32")))

    def option(self, *good: Any, wrong: tuple[Any, ...] = ("text", -1, 0.5, [], b"")) -> Any:
        """One of the good values, or something else."""
        if self.rng.random() < self.wrong / 3:
            self.right = False
            return self.rng.choice(wrong)
        return self.rng.choice(good)

    def activation(self) -> dict[str, Any]:
        """The options of a gate."""
        gated = self.rng.random() < 0.5
        options = {"activation": self.option(*ACTIVATIONS), "gated": gated}
        if gated:
            options["layout"] = self.option("gate_up", "up_gate")
            options["clamp"] = self.option(None, 0.75, wrong=(0.0, -1.0, float("nan"), "text"))
        return options

    def norm_value(self, width: int) -> Any:
        """A norm, or None."""
        eps = self.option(1e-5, 1e-6, wrong=(-1.0, float("nan"), float("inf")))
        return self.rng.choice(
            (
                None,
                LayerNorm(self.vector(width), self.vector(width), eps),
                RMSNorm(self.vector(width), eps, 1.0),
            )
        )

    def matrix(self, rows: int, columns: int, gated: bool = False) -> Any:
        """A weight in either layout, plain or prepared."""
        kind = self.rng.random()
        if kind < 0.3:
            return self.tensor(columns, rows).T if self.wrong == 0.0 else self.tensor(rows, columns)
        if kind < 0.7 or self.framework == "capsule":
            return self.tensor(rows, columns)
        plain = self.make(rows, columns, dtype=self.dtype)
        if kind < 0.85:
            return ops.pack_weight(plain, gated=gated)
        return ops.quantize_weight(plain, groups=1)

    def linear(self) -> tuple[Any, ...]:
        """The arguments of ops.linear."""
        gate = self.activation()
        rows = 2 * self.n if gate["gated"] else self.n
        args = (
            self.tensor(*self.lead, self.k),
            self.matrix(rows, self.k, gate["gated"]),
            self.vector(rows),
        )
        out = (*self.lead, self.n)
        options = {
            "residual": self.maybe(*out),
            "alpha": self.option(1.0, 0.5, wrong=("text", None, [])),
            **gate,
        }
        return "linear", ops.linear, args, {**options, "out": self.maybe(*out)}

    def qkv(self) -> tuple[Any, ...]:
        """The arguments of ops.qkv."""
        args = (self.tensor(*self.lead, self.k), self.matrix(self.n, self.k), self.vector(self.n))
        options = {"norm": self.norm_value(self.k), "return_normed": self.rng.random() < 0.5}
        return "qkv", ops.qkv, args, {**options, "out": self.maybe(*self.lead, self.n)}

    def mlp(self) -> tuple[Any, ...]:
        """The arguments of ops.mlp."""
        gate, inner = self.activation(), self.size()
        add: Any = self.rng.choice((True, False))
        n = self.k if add else self.n
        rows = 2 * inner if gate["gated"] else inner
        args = (
            self.tensor(*self.lead, self.k),
            self.matrix(rows, self.k, gate["gated"]),
            self.matrix(n, inner),
            self.vector(rows),
            self.vector(n),
        )
        options = {
            **gate,
            "norm": self.norm_value(self.k),
            "residual": self.maybe(*self.lead, self.k),
            "input_bias": self.vector(self.k),
            "add_residual": add,
            "return_residual": self.rng.random() < 0.3,
            "out": self.maybe(*self.lead, n),
        }
        return "mlp", ops.mlp, args, options

    def norm(self) -> tuple[Any, ...]:
        """The arguments of ops.norm."""
        wide = (*self.lead, self.k)
        args = (self.tensor(*wide), self.norm_value(self.k))
        options = {
            "residual": self.maybe(*wide),
            "bias": self.vector(self.k),
            "add_after": self.maybe(*wide),
        }
        return "norm", ops.norm, args, {**options, "out": self.maybe(*wide)}

    def residual_add(self) -> tuple[Any, ...]:
        """The arguments of ops.residual_add."""
        wide = (*self.lead, self.k)
        form = self.option("pre_ln", "post_ln", "parallel")
        options = {
            "form": form,
            "final_bias": self.vector(self.k),
            "mp_size": self.option(1, 2, wrong=(0, -3, "text")),
        }
        if form != "post_ln":
            options["attention_output"] = self.maybe(*wide)
        return "residual_add", ops.residual_add, (self.tensor(*wide), self.tensor(*wide)), options

    def weight(self) -> tuple[Any, ...]:
        """Packing and quantising, and the matrix back."""
        plain = self.tensor(self.n, self.k)
        if self.rng.random() < 0.5:
            return "pack_weight", lambda w: ops.pack_weight(w).unpack(), (plain,), {}
        groups = self.option(1, wrong=(0, -1, 7919, 1 << 62, "text"))
        return (
            "quantize_weight",
            lambda w: ops.quantize_weight(w, groups=groups).unpack(),
            (plain,),
            {},
        )

    def bound(self) -> tuple[Any, ...]:
        """ops.Linear, bound and called."""
        weight, x = self.tensor(self.n, self.k), self.tensor(*self.lead, self.k)
        pack = self.rng.random() < 0.5
        return "linear", lambda w, x: ops.Linear(w, pack=pack)(x), (weight, x), {}


def outcome(call: Call) -> tuple[Any, ...] | Exception:
    """The results of a call, or the exception that a wrong one may raise. AssertionError where it
    raises another, or says too little, or where a right call fails."""
    try:
        result = call.function(*call.args, **call.options)
    except (ValueError, TypeError, postlude.Unsupported, RuntimeError, MemoryError) as error:
        said = str(error)
        assert not call.right, f"a right call of {call.op} failed: {said}"
        if type(error) in (ValueError, TypeError, postlude.Unsupported):
            assert said.startswith("["), f"{call.op} does not say where: {type(error)} {said}"
            assert "expected" in said or isinstance(error, postlude.Unsupported), said
        return error
    return result if isinstance(result, tuple) else (result,)
