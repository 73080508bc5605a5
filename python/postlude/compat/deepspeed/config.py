"""DeepSpeedInferenceConfig: what a DeepSpeed inference layer is built from, checked."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import numbers
import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from .types import ActivationFuncType, NormType

_Enum = TypeVar("_Enum", bound=enum.IntEnum)

_DTYPES = {
    "float32": torch.float32,
    "float": torch.float32,
    "fp32": torch.float32,
    "float16": torch.float16,
    "half": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}

# The least value of each field that is an int.
_LEAST = {
    "layer_id": -1,
    "hidden_size": -1,
    "heads": -1,
    "num_hidden_layers": -1,
    "local_rank": -1,
    "mp_size": 1,
    "window_size": 0,
    "rotary_dim": -1,
    "training_mp_size": 1,
    "max_out_tokens": 1,
    "min_out_tokens": 0,
    "num_kv": -1,
}


@dataclasses.dataclass(eq=False)
class DeepSpeedInferenceConfig:
    """The fields of a layer, by DeepSpeed's names, in its order and with its defaults.

    What the ops of this package read: ``hidden_size``, ``intermediate_size`` (<= 0 means 4 *
    hidden_size), ``layer_norm_eps`` (kept as ``epsilon``), ``mp_size``, ``dtype`` (float32,
    float16, bfloat16, or int8, which means float16 activations; names such as "fp16" are accepted),
    ``pre_layer_norm``, ``norm_type``, ``mlp_after_attn``, ``mlp_act_func_type``,
    ``set_empty_params``, ``transposed_mode``. The others are kept for the attention, for Triton and
    for the caller.

    ValueError where a value is not of the field's kind or range. Attributes may be set later; they
    are then read, and not checked, when an op uses them.
    """

    hidden_size: int = -1
    intermediate_size: int = -1
    heads: int = -1
    num_hidden_layers: int = -1
    layer_norm_eps: dataclasses.InitVar[float] = 1e-12
    local_rank: int = -1
    mp_size: int = 1
    dtype: torch.dtype = torch.float16
    pre_layer_norm: bool = True
    norm_type: NormType = NormType.LayerNorm
    stochastic_mode: bool = False
    scale_attention: bool = True
    triangular_masking: bool = True
    local_attention: bool = False
    window_size: int = 256
    rotary_dim: int = -1
    rotate_half: bool = False
    rotate_every_two: bool = True
    return_tuple: bool = True
    mlp_after_attn: bool = True
    mlp_act_func_type: ActivationFuncType = ActivationFuncType.GELU
    training_mp_size: int = 1
    bigscience_bloom: bool = False
    max_out_tokens: int = 1024
    min_out_tokens: int = 1
    enable_qkv_quantization: bool = False
    use_mup: bool = False
    scale_attn_by_inverse_layer_idx: bool = False
    return_single_tuple: bool = False
    set_empty_params: bool = False
    transposed_mode: bool = False
    use_triton: bool = False
    triton_autotune: bool = False
    num_kv: int = -1
    rope_theta: float = 10000
    invert_mask: bool = True
    layer_id: int = dataclasses.field(init=False)
    epsilon: float = dataclasses.field(init=False)

    def __post_init__(self, layer_norm_eps: float) -> None:
        self.epsilon = layer_norm_eps
        self.layer_id = -1
        self._check()

    def _check(self) -> None:
        """Names become the values that they stand for; ValueError for what no field may hold."""
        self.dtype = _dtype(self.dtype)
        self.norm_type = _member("norm_type", NormType, self.norm_type)
        self.mlp_act_func_type = _member(
            "mlp_act_func_type", ActivationFuncType, self.mlp_act_func_type
        )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise _refuse(field.name, "True or False", value)
            if field.type == "int" and (
                isinstance(value, bool) or not isinstance(value, numbers.Integral)
            ):
                raise _refuse(field.name, "an int", value)
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise _refuse(name, f"an int of at least {least}", getattr(self, name))
        _check_number("layer_norm_eps", self.epsilon, "at least 0", self.epsilon == 0)
        _check_number("rope_theta", self.rope_theta, "above 0", False)
        if self.intermediate_size <= 0:
            self.intermediate_size = 4 * self.hidden_size

    @classmethod
    def from_dict(cls, json_object: Mapping[str, Any]) -> DeepSpeedInferenceConfig:
        """A config with these fields, by the constructor's or the attribute's name.

        A key that names no field is kept as an attribute, with a warning. ValueError for a bad
        value, or for both ``layer_norm_eps`` and ``epsilon`` where they differ.
        """
        values = dict(json_object)
        if "epsilon" in values:
            epsilon = values.pop("epsilon")
            if values.setdefault("layer_norm_eps", epsilon) != epsilon:
                raise _refuse("epsilon", f"layer_norm_eps, {values['layer_norm_eps']}", epsilon)
        settable = {field.name for field in dataclasses.fields(cls) if field.init}
        settable.add("layer_norm_eps")
        later = {name: values.pop(name) for name in sorted(values.keys() - settable)}
        config = cls(**values)
        for name, value in later.items():
            if name != "layer_id":
                warnings.warn(
                    f"[DeepSpeedInferenceConfig] {name!r} is no field of the config: it is kept as "
                    "an attribute, which no op reads",
                    stacklevel=2,
                )
            setattr(config, name, value)
        config._check()
        return config

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> DeepSpeedInferenceConfig:
        """``from_dict`` of the object in a JSON file; dtypes and enumerators by name or number."""
        with open(json_file, encoding="utf-8") as reader:
            values = json.load(reader)
        if not isinstance(values, dict):
            raise _refuse("json_file", "a JSON object", type(values).__name__)
        return cls.from_dict(values)


# The default of an InitVar stays on the class, where it would hide that `epsilon` is the value.
delattr(DeepSpeedInferenceConfig, "layer_norm_eps")


def _refuse(name: str, expected: str, got: Any) -> ValueError:
    return ValueError(f"[DeepSpeedInferenceConfig] {name}: expected {expected}, got {got!r}")


def _dtype(value: Any) -> torch.dtype:
    known = value
    if isinstance(value, str):
        known = _DTYPES.get(value.removeprefix("torch."))
    if known not in _DTYPES.values():
        raise _refuse("dtype", "float32, float16, bfloat16 or int8", value)
    return known


def _member(name: str, kind: type[_Enum], value: Any) -> _Enum:
    try:
        return kind[value] if isinstance(value, str) else kind(value)
    except (KeyError, ValueError):
        names = ", ".join(member.name for member in kind)
        raise _refuse(name, f"a {kind.__name__} ({names})", value) from None


def _check_number(name: str, value: Any, range_: str, allowed: bool) -> None:
    """A finite number above 0, or one that is otherwise allowed."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not (value > 0 or allowed):
        raise _refuse(name, f"a finite number {range_}", value)
