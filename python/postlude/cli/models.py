"""The sizes of models that the command line knows by name, or reads from a config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACTIVATIONS = ("relu", "gelu_erf", "gelu_tanh", "quick_gelu", "silu", "relu2")


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
    head: int | None = None  # features of one head, where they are not hidden / heads

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return self.head or self.hidden // self.heads

    @property
    def qkv_features(self) -> int:
        """Output features of the merged query, key and value projection."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


def encoder(hidden: int, heads: int, activation: str, eps: float) -> Shape:
    """A layer with LayerNorm, biases and an intermediate size of four times the hidden size."""
    return Shape(hidden, 4 * hidden, heads, heads, activation, False, True, "layer", eps)


def llama(hidden: int, intermediate: int, heads: int, kv_heads: int) -> Shape:
    """A layer with RMSNorm, SwiGLU and no biases."""
    return Shape(hidden, intermediate, heads, kv_heads, "silu", True, False, "rms", 1e-5)


MODELS = {
    "minilm-l6": encoder(384, 12, "gelu_erf", 1e-12),
    "bert-base": encoder(768, 12, "gelu_erf", 1e-12),
    "bert-large": encoder(1024, 16, "gelu_erf", 1e-12),
    "gpt2": encoder(768, 12, "gelu_tanh", 1e-5),
    "gpt2-xl": encoder(1600, 25, "gelu_tanh", 1e-5),
    "opt-6.7b": Shape(4096, 16384, 32, 32, "relu", False, True, "layer", 1e-5),
    "llama-2-7b": llama(4096, 11008, 32, 32),
    "llama-3-8b": llama(4096, 14336, 32, 8),
    "llama-3-70b": llama(8192, 28672, 64, 8),
    "mistral-7b": llama(4096, 14336, 32, 8),
    "qwen2.5-7b": llama(3584, 18944, 28, 4),
}

# The names of transformers' configs, for the same thing: the first that there is counts.
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_INTERMEDIATE = ("intermediate_size", "ffn_dim", "n_inner", "d_ff")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_KV_HEADS = ("num_key_value_heads",)
_ACTIVATION = ("hidden_activation", "hidden_act", "activation_function")
_EPS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon")
_ACTIVATIONS = {
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "swish": "silu",
}


def _first(
    config: dict[str, Any], names: tuple[str, ...], command: str, otherwise: Any = None
) -> Any:
    found = (config[name] for name in names if config.get(name) is not None)
    value = next(found, otherwise)
    if value is None:
        raise ValueError(
            f"[{command}] model: expected a config.json with {names[0]}, got one without"
        )
    return value


def from_config(path: Path, command: str = "bench") -> Shape:
    """The sizes in a config.json of transformers.

    One with ``rms_norm_eps`` is taken for a model of the Llama kind: gated, with RMSNorm and no
    biases; any other for an encoder or a GPT. ValueError where sizes are missing.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(
            f"[{command}] model: expected an object in {path}, got {type(config).__name__}"
        )
    hidden, heads = _first(config, _HIDDEN, command), _first(config, _HEADS, command)
    rms = config.get("rms_norm_eps") is not None
    activation = _first(config, _ACTIVATION, command, "silu" if rms else "gelu_erf")
    return Shape(
        hidden,
        _first(config, _INTERMEDIATE, command, 4 * hidden),
        heads,
        _first(config, _KV_HEADS, command, heads),
        _ACTIVATIONS.get(activation, activation),
        gated=rms,
        bias=not rms,
        norm="rms" if rms else "layer",
        eps=_first(config, _EPS, command, 1e-5),
        head=config.get("head_dim"),
    )


def refuse_unusual(shape: Shape, command: str = "bench") -> None:
    """ValueError for sizes below 1 or an activation that there is none of."""
    sizes = (shape.hidden, shape.intermediate, shape.heads, shape.kv_heads)
    if not all(isinstance(size, int) and size >= 1 for size in sizes) or shape.head_dim < 1:
        raise ValueError(f"[{command}] sizes: expected numbers from 1 up, got {sizes}")
    if shape.activation not in ACTIVATIONS:
        raise ValueError(
            f"[{command}] activation: expected one of {', '.join(ACTIVATIONS)}, got "
            f"{shape.activation!r}"
        )


def shape_of(model: str, command: str = "bench") -> Shape:
    """The sizes of a model by its name or the path of its config.json. ValueError for any other."""
    if model in MODELS:
        return MODELS[model]
    path = Path(model)
    if path.is_dir():
        path /= "config.json"
    if not path.is_file():
        raise ValueError(
            f"[{command}] model: expected one of {', '.join(MODELS)}, or a config.json, got "
            f"{model!r}"
        )
    return from_config(path, command)
