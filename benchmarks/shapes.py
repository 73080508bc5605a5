"""The models whose block shapes the benchmarks measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One transformer layer's sizes and kinds; its blocks are measured with their norm first."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    activation: str
    gated: bool
    bias: bool
    norm: str
    eps: float

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return self.hidden // self.heads

    @property
    def qkv_features(self) -> int:
        """Output features of the merged query, key and value projection."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


def encoder(hidden: int, heads: int, activation: str, eps: float) -> Shape:
    """A layer with LayerNorm, biases and an intermediate size of four times the hidden size."""
    return Shape(hidden, 4 * hidden, heads, heads, activation, False, True, "layer", eps)


MODELS = {
    "bert-base": encoder(768, 12, "gelu_erf", 1e-12),
    "bert-large": encoder(1024, 16, "gelu_erf", 1e-12),
    "gpt2-xl": encoder(1600, 25, "gelu_tanh", 1e-5),
    "llama-3-8b": Shape(4096, 14336, 32, 8, "silu", True, False, "rms", 1e-5),
}
