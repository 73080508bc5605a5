"""What the tests of ops share: dtypes, shapes, tolerances, inputs and guarded outputs."""

import itertools

import torch

from postlude import LayerNorm, RMSNorm, reference

# Relative Frobenius error that is always allowed.
FLOOR = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}
DTYPES = tuple(FLOOR)
ACTIVATIONS = (None, "relu", "gelu_erf", "gelu_tanh", "quick_gelu", "silu", "relu2")
LAYOUTS = ("gate_up", "up_gate")
NORMS = (None, "layer", "rms")
EPS = 1e-5

# Rows, outputs, inputs: no multiples of a tile or of a vector, each size in each place.
TAILS = (
    (1, 7, 33),
    (7, 1, 65),
    (2, 300, 1),
    (33, 33, 33),
    (5, 64, 127),
    (65, 48, 64),
    (130, 31, 40),
)
FEW = ((1, 65, 33), (7, 32, 64), (70, 33, 48))
# Products of real models (MiniLM, BERT-large, GPT-2), few rows each.
MODELS = ((1, 1152, 384), (16, 384, 1536), (37, 768, 768), (1, 1024, 4096))
LEADING = ((), (5,), (2, 3), (2, 1, 3))


def tensor(*shape, dtype=torch.float32, device="cpu", scale=1.0):
    """Normal numbers."""
    return (torch.randn(shape) * scale).to(device, dtype)


def integers(*shape, dtype=torch.float32, device="cpu", limit=3):
    """Small integers: sums of their products are exact in every dtype's accumulator."""
    return torch.randint(-limit, limit + 1, shape).to(device, dtype)


def weight(n, k, dtype, device="cpu"):
    """A weight (n, k) scaled so that products with unit rows are about 1."""
    return tensor(n, k, dtype=dtype, device=device, scale=max(k, 1) ** -0.5)


def norm_of(kind, size, dtype, device="cpu"):
    """A norm of that kind with parameters that are neither 0 nor 1."""
    if kind is None:
        return None
    gamma = tensor(size, dtype=dtype, device=device, scale=0.2) + 1
    if kind == "layer":
        return LayerNorm(gamma, tensor(size, dtype=dtype, device=device, scale=0.2), EPS)
    return RMSNorm(gamma, EPS, 0.5)


def as_tf32(value):
    """Finite float32 values rounded to TF32: 11 bits, to the nearest, ties away from zero."""
    bits = value.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def on_bits(value):
    """The bytes of a tensor as integers, so that equality is bitwise, NaN and the sign of 0
    included."""
    sizes = {1: torch.int8, 2: torch.int16, 4: torch.int32}
    return value.contiguous().view(sizes[value.element_size()])


def same_bits(a, b):
    """Whether two tensors agree in shape, dtype and every bit."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(on_bits(a), on_bits(b))


def _norm(value):
    return torch.linalg.norm(value.double()).item()


def assert_accurate(actual, exact, eager):
    """``actual`` is about as close to the float64 ``exact`` as torch's own ``eager`` is.

    Frobenius error: at most 1.25 times torch's, or the floor. Worst element, over the largest: at
    most twice torch's plus the floor.
    """
    assert actual.shape == exact.shape
    assert actual.dtype == eager.dtype
    assert torch.isfinite(actual).all()
    if actual.numel() == 0:
        return
    floor = FLOOR[actual.dtype]
    exact = exact.double()
    size, largest = _norm(exact), exact.abs().max().item()
    error, torchs = _norm(actual.double() - exact), _norm(eager.double() - exact)
    said = f"Frobenius error {error:.3e}, torch's {torchs:.3e}, of {size:.3e}"
    assert error <= max(1.25 * torchs, floor * size), said
    worst = (actual.double() - exact).abs().max().item()
    torchs = (eager.double() - exact).abs().max().item()
    said = f"worst element off by {worst:.3e}, torch's by {torchs:.3e}, of {largest:.3e}"
    assert worst <= 2 * torchs + floor * largest, said


def assert_as_reference(actual, function, *args, **kwargs):
    """Compares a result, or a tuple of them, with what a function of postlude.reference gives."""
    exact = reference.exact(function, *args, **kwargs)
    eager = function(*args, **kwargs)
    if not isinstance(exact, tuple):
        actual, exact, eager = (actual,), (exact,), (eager,)
    assert len(actual) == len(exact)
    for ours, double, torchs in zip(actual, exact, eager, strict=True):
        assert_accurate(ours, double, torchs)


class Guarded:
    """An output inside a larger buffer: full of NaN, with canaries around and between its rows."""

    CANARY = 7.0

    def __init__(self, *shape, dtype, device="cpu", gap=3, margin=64):
        rows = 1
        for size in shape[:-1]:
            rows *= size
        columns = shape[-1] if shape else 1
        pitch = columns + gap
        extent = 2 * margin + rows * pitch
        self.buffer = torch.full((extent,), self.CANARY, dtype=dtype, device=device)
        strides, step = [1], pitch
        for size in reversed(shape[:-1]):
            strides.insert(0, step)
            step *= size
        self.out = self.buffer.as_strided(shape, strides[-len(shape) :], margin)
        self.out.fill_(torch.nan)

    def check(self):
        """Every element of ``out`` was written, and nothing outside it."""
        assert not self.out.isnan().any(), "an element was not written"
        outside = torch.ones_like(self.buffer, dtype=torch.bool)
        inside = self.out.shape, self.out.stride(), self.out.storage_offset()
        outside.as_strided(*inside).fill_(False)
        assert (self.buffer[outside] == self.CANARY).all(), "memory outside the output was written"
        return self.out


def grid(**options):
    """Every combination of the options, as dicts."""
    combinations = itertools.product(*options.values())
    return [dict(zip(options, values, strict=True)) for values in combinations]
