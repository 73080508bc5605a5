"""DeepSpeedInferenceConfig and the enumerations of postlude.compat.deepspeed."""

import json
import warnings

import pytest
import torch

from postlude.compat.deepspeed import (
    GATED_ACTIVATION_TYPES,
    ActivationFuncType,
    DeepSpeedInferenceConfig,
    NormType,
)

# The constructor's arguments in order, with their defaults.
FIELDS = {
    "hidden_size": -1,
    "intermediate_size": -1,
    "heads": -1,
    "num_hidden_layers": -1,
    "layer_norm_eps": 1e-12,
    "local_rank": -1,
    "mp_size": 1,
    "dtype": torch.float16,
    "pre_layer_norm": True,
    "norm_type": NormType.LayerNorm,
    "stochastic_mode": False,
    "scale_attention": True,
    "triangular_masking": True,
    "local_attention": False,
    "window_size": 256,
    "rotary_dim": -1,
    "rotate_half": False,
    "rotate_every_two": True,
    "return_tuple": True,
    "mlp_after_attn": True,
    "mlp_act_func_type": ActivationFuncType.GELU,
    "training_mp_size": 1,
    "bigscience_bloom": False,
    "max_out_tokens": 1024,
    "min_out_tokens": 1,
    "enable_qkv_quantization": False,
    "use_mup": False,
    "scale_attn_by_inverse_layer_idx": False,
    "return_single_tuple": False,
    "set_empty_params": False,
    "transposed_mode": False,
    "use_triton": False,
    "triton_autotune": False,
    "num_kv": -1,
    "rope_theta": 10000,
    "invert_mask": True,
}


def attributes(config):
    """What the config holds, by the constructor's names, but for sizes that it derives."""
    values = dict(vars(config))
    values["layer_norm_eps"] = values.pop("epsilon")
    del values["layer_id"], values["intermediate_size"]
    return values


def test_fields_order_and_defaults():
    config = DeepSpeedInferenceConfig()
    expected = {name: value for name, value in FIELDS.items() if name != "intermediate_size"}
    assert attributes(config) == expected and config.layer_id == -1
    assert not hasattr(config, "layer_norm_eps"), "the field is epsilon"
    others = {
        name: not value if isinstance(value, bool) else value for name, value in FIELDS.items()
    }
    others.update(hidden_size=64, intermediate_size=24, layer_norm_eps=0.5, mp_size=2)
    config = DeepSpeedInferenceConfig(*others.values())
    assert config.intermediate_size == others.pop("intermediate_size")
    assert attributes(config) == others


def test_intermediate_size():
    assert DeepSpeedInferenceConfig(hidden_size=6).intermediate_size == 24
    assert DeepSpeedInferenceConfig(hidden_size=6, intermediate_size=0).intermediate_size == 24
    assert DeepSpeedInferenceConfig.from_dict({"hidden_size": 6}).intermediate_size == 24


def test_enumerations():
    assert {kind.name: int(kind) for kind in NormType} == {
        "UNKNOWN": 0,
        "LayerNorm": 1,
        "GroupNorm": 2,
        "RMSNorm": 3,
    }
    assert {kind.name: int(kind) for kind in ActivationFuncType} == {
        "UNKNOWN": 0,
        "GELU": 1,
        "ReLU": 2,
        "GATED_GELU": 3,
        "GATED_SILU": 4,
    }
    assert [kind.name for kind in GATED_ACTIVATION_TYPES] == ["GATED_GELU", "GATED_SILU"]


def test_from_dict_and_json(tmp_path):
    values = {
        "hidden_size": 64,
        "layer_norm_eps": 1e-5,
        "dtype": "torch.bfloat16",
        "norm_type": 3,
        "mlp_act_func_type": "GATED_SILU",
        "mp_size": 2,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    for config in (
        DeepSpeedInferenceConfig.from_dict(values),
        DeepSpeedInferenceConfig.from_json_file(path),
        DeepSpeedInferenceConfig.from_json_file(str(path)),
        DeepSpeedInferenceConfig(**values),
    ):
        assert config.dtype is torch.bfloat16 and config.epsilon == 1e-5
        assert config.norm_type is NormType.RMSNorm
        assert config.mlp_act_func_type is ActivationFuncType.GATED_SILU
        # What it holds makes the same config again.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = DeepSpeedInferenceConfig.from_dict(vars(config))
        assert vars(again) == vars(config)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="json_file: expected a JSON object, got 'list'"):
        DeepSpeedInferenceConfig.from_json_file(path)


def test_unknown_keys_are_kept_and_said():
    with pytest.warns(UserWarning, match="'vocab_size' is no field"):
        config = DeepSpeedInferenceConfig.from_dict({"vocab_size": 5, "hidden_size": 2})
    assert config.vocab_size == 5


@pytest.mark.parametrize("names", [{"fp16", "half", "float16", "torch.float16"}])
def test_names_of_dtypes(names):
    assert {DeepSpeedInferenceConfig(dtype=name).dtype for name in names} == {torch.float16}
    assert DeepSpeedInferenceConfig(dtype="int8").dtype is torch.int8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", -2),
        ("hidden_size", 2.0),
        ("hidden_size", True),
        ("intermediate_size", None),
        ("mp_size", 0),
        ("mp_size", "2"),
        ("layer_norm_eps", -1e-5),
        ("layer_norm_eps", float("nan")),
        ("layer_norm_eps", "1e-5"),
        ("rope_theta", 0),
        ("dtype", torch.float64),
        ("dtype", "fp8"),
        ("dtype", None),
        ("norm_type", 4),
        ("norm_type", "rms"),
        ("mlp_act_func_type", -1),
        ("mlp_act_func_type", None),
        ("pre_layer_norm", 1),
        ("max_out_tokens", 0),
    ],
)
def test_bad_values_are_refused(name, value):
    for make in (DeepSpeedInferenceConfig, lambda **k: DeepSpeedInferenceConfig.from_dict(k)):
        with pytest.raises(ValueError, match=rf"^\[DeepSpeedInferenceConfig\] {name}: expected"):
            make(**{name: value})


def test_two_names_of_one_field():
    from_dict = DeepSpeedInferenceConfig.from_dict
    assert from_dict({"epsilon": 1e-6}).epsilon == 1e-6
    assert from_dict({"epsilon": 1e-6, "layer_norm_eps": 1e-6}).epsilon == 1e-6
    with pytest.raises(ValueError, match=r"\[DeepSpeedInferenceConfig\] epsilon: expected"):
        from_dict({"epsilon": 1e-6, "layer_norm_eps": 1e-5})
