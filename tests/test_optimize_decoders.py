"""postlude.optimize: tiny random models of Llama and its kin against themselves before it."""

import copy
import pickle
from functools import partial

import pytest
import test_optimize
import torch
from tiny_models import (
    GROUPED,
    Adapter,
    check,
    check_generation,
    mask_of,
    run,
    tiny,
    tokens,
)

import postlude

transformers = pytest.importorskip("transformers")

NAMES = ["Llama", "Mistral", "Qwen2", "Qwen3", "Phi3"]
SLIDING = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("Llama", {"attention_bias": True, "mlp_bias": True}),
    ("Mistral", {"head_dim": 16, "sliding_window": 4}),
    ("Mistral", {"num_key_value_heads": 1, "sliding_window": None}),
    ("Qwen2", {"hidden_act": "gelu_pytorch_tanh"} | SLIDING),
    ("Qwen3", {"head_dim": 16, "attention_bias": True} | SLIDING),
    ("Phi3", {"sliding_window": 4, "num_key_value_heads": 4}),
    ("Phi3", {"resid_pdrop": 0.1, "partial_rotary_factor": 0.5}),
]
EVERY_KIND = [
    test_optimize.test_cache_holds_the_same_keys_and_values,
    partial(test_optimize.test_hidden_states_and_attentions_are_still_recorded, called_before=True),
    partial(test_optimize.test_copies_of_a_fused_model, twin_of=copy.deepcopy),
    partial(
        test_optimize.test_copies_of_a_fused_model,
        twin_of=lambda model: pickle.loads(pickle.dumps(model)),
    ),
    test_optimize.test_revert,
    test_optimize.test_state_dict_round_trip,
    test_optimize.test_only_this_instance_changes,
    test_optimize.test_int8,
    test_optimize.test_inference_only,
]
every_test = pytest.mark.parametrize(
    "test", EVERY_KIND, ids=lambda test: getattr(test, "func", test).__name__
)
every_model = pytest.mark.parametrize("name", NAMES)
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)


def decoder(name, **options):
    return tiny(f"{name}Config", f"{name}ForCausalLM", **{"head_dim": 8} | GROUPED | options)


# Results


@every_variant
@pytest.mark.parametrize("padded", [False, True])
def test_logits(name, options, padded, device):
    ids = tokens()
    check(decoder(name, **options), ids, mask_of(ids, left=True) if padded else None, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_variant
def test_half_precision(name, options, dtype, device):
    ids = tokens()
    check(decoder(name, **options).to(dtype), ids, mask_of(ids, left=True), device)


@every_variant
def test_eager_attention(name, options):
    model, ids = decoder(name, **options), tokens()
    model.set_attn_implementation("eager")
    check(model, ids, mask_of(ids, left=True))


@pytest.mark.parametrize("cache", [True, False])
@every_variant
def test_generates_the_same_tokens(name, options, cache, device):
    check_generation(decoder(name, **options).to(device), tokens().to(device), cache)


@every_variant
@torch.inference_mode()
def test_steps_with_a_static_cache(name, options, device):
    model, ids = decoder(name, **options).to(device), tokens(length=12).to(device)

    def logits():
        cache = transformers.StaticCache(config=model.config, max_cache_len=16)
        pieces = (ids[:, :7], *ids[:, 7:].split(1, dim=1))
        steps = [model(piece, past_key_values=cache, use_cache=True).logits for piece in pieces]
        return torch.cat(steps, dim=1)

    expected = logits()
    postlude.optimize(model, strict=True)
    torch.testing.assert_close(logits(), expected, rtol=1e-4, atol=1e-4)


@every_variant
def test_attention_is_called_with_the_same_options(name, options):
    """The sliding window above all, which only some attention implementations read."""
    seen = []

    def recording(module, query, key, value, mask, **kwargs):
        keys = ("sliding_window", "scaling", "dropout", "use_cache")
        seen.append({key: kwargs.get(key) for key in keys})
        call = transformers.AttentionInterface()["sdpa"]
        return call(module, query, key, value, mask, **kwargs)

    transformers.AttentionInterface.register("recording", recording)
    model, ids = decoder(name, **options), tokens()
    model.set_attn_implementation("recording")
    run(model, ids)
    expected = seen.copy()
    seen.clear()
    postlude.optimize(model, strict=True)
    run(model, ids)
    assert len(seen) == 2
    assert seen == expected
    if "sliding_window" in options:
        assert seen[-1]["sliding_window"] == options["sliding_window"]


# The model stays what it was


@every_test
@every_model
def test_what_holds_for_every_kind(name, test):
    """The same tests as those of the other kinds of model."""
    test(partial(decoder, name))


@every_model
def test_dropout_in_training_mode_is_an_error(name):
    model = decoder(name, attention_dropout=0.1).train()
    postlude.optimize(model, strict=True)
    with pytest.raises(RuntimeError, match=r"dropout.*eval"):
        run(model, tokens())


# The Report


@every_model
def test_report_names_what_is_left_alone_in_a_fused_layer(name):
    """Every module with parameters inside a layer is fused, or listed as kept with a reason."""
    model = decoder(name)
    report = postlude.optimize(model, strict=True)
    assert [item.path for item in report.fused] == ["model.layers.0", "model.layers.1"]
    norms = ["self_attn.q_norm", "self_attn.k_norm"] if name == "Qwen3" else []
    called = []
    for item in report.fused:
        assert [path for path, _ in item.kept] == norms
        for path in norms:
            assert f"{path} left alone (a norm of each head, which runs as it is)" in str(item)
            assert f"{path} left alone" in str(report)
        for path, module in model.get_submodule(item.path).named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                module.register_forward_hook(lambda *_, path=path: called.append(path))
    run(model, tokens())
    assert called == 2 * norms


def test_hooks_on_the_norms_of_the_heads_still_run():
    model, seen = decoder("Qwen3"), []
    model.model.layers[0].self_attn.q_norm.register_forward_hook(lambda *_: seen.append(1))
    postlude.optimize(model, strict=True)
    run(model, tokens())
    assert seen == [1]


def left_alone(model, reason, paths):
    """The layers at ``paths`` are listed with this reason and as they were; strict refuses."""
    kinds = {path: type(module) for path, module in model.named_modules()}
    with pytest.raises(postlude.Unsupported, match=reason):
        postlude.optimize(model, strict=True)
    assert {path: type(module) for path, module in model.named_modules()} == kinds
    report = postlude.optimize(model)
    assert [item.path for item in report.skipped] == paths
    assert all(reason in item.reason for item in report.skipped)
    assert reason in str(report)
    assert all(type(model.get_submodule(path)) is kinds[path] for path in paths)
    return report


@every_model
def test_a_changed_projection(name):
    model = decoder(name)
    model.model.layers[1].self_attn.o_proj = Adapter(32, 32, bias=False)
    report = left_alone(model, "self_attn.o_proj is a", ["model.layers.1"])
    assert [item.path for item in report.fused] == ["model.layers.0"]


@every_model
def test_a_hook_on_a_projection_or_the_attention(name):
    model = decoder(name)
    model.model.layers[0].mlp.down_proj.register_forward_hook(lambda *_: None)
    left_alone(model, "mlp.down_proj has hooks", ["model.layers.0"])
    model = decoder(name)
    model.model.layers[1].self_attn.register_forward_hook(lambda *_: None)
    left_alone(model, "self_attn has hooks", ["model.layers.1"])


@every_model
def test_a_part_that_is_not_known(name):
    """Such as the norm of a later version of the model: the fused layer would leave it out."""
    model = decoder(name)
    model.model.layers[0].self_attn.sink_proj = torch.nn.Linear(4, 4)
    model.model.layers[1].post_mlp_scale = torch.nn.Parameter(torch.ones(32))
    paths = ["model.layers.0", "model.layers.1"]
    report = left_alone(model, "parameters that are not known", paths)
    assert report.skipped[0].reason.startswith("self_attn.sink_proj has")
    assert report.skipped[1].reason.startswith("the layer has")


@every_model
def test_a_part_that_is_missing(name):
    model = decoder(name)
    del model.model.layers[0].mlp.down_proj
    left_alone(model, "it has no mlp.down_proj", ["model.layers.0"])
    model = decoder(name)
    del model.model.layers[1].self_attn
    left_alone(model, "unknown structure", ["model.layers.1"])


def test_parts_of_another_kind():
    model = decoder("Qwen3")
    layer = model.model.layers[0]
    layer.mlp.__class__ = type(layer.input_layernorm)
    left_alone(model, "mlp is a Qwen3RMSNorm", ["model.layers.0"])


def test_layers_of_unknown_structure_are_named():
    model = tiny("Olmo2Config", "Olmo2ForCausalLM", **GROUPED)
    paths = ["model.layers.0", "model.layers.1"]
    report = left_alone(model, "a Olmo2DecoderLayer, of unknown structure", paths)
    assert not report.fused
    both = torch.nn.ModuleDict({"known": decoder("Qwen2"), "unknown": model})
    paths = [f"unknown.{path}" for path in paths]
    report = left_alone(both, "a Olmo2DecoderLayer, of unknown structure", paths)
    assert [item.path for item in report.fused] == ["known.model.layers.0", "known.model.layers.1"]
