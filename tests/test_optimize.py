"""postlude.optimize: tiny random models of every known kind against themselves before it."""

import copy
import functools
import pickle
from types import SimpleNamespace

import pytest
import torch
from tiny_models import (
    Adapter,
    check,
    check_generation,
    encoder,
    frobenius,
    gpt2,
    inputs_of,
    llama,
    mask_of,
    parts,
    run,
    scrambled,
    tokens,
)

import postlude
from postlude import ops

pytest.importorskip("transformers")

ENCODERS = [
    "Bert",
    "BertGenerationEncoder",
    "Camembert",
    "Data2VecText",
    "Electra",
    "Ernie",
    "Roberta",
    "RoCBert",
    "XLMRoberta",
]


DECODERS = [
    gpt2,
    llama,
    lambda: gpt2(activation_function="relu", n_inner=40, scale_attn_by_inverse_layer_idx=True),
    lambda: gpt2(reorder_and_upcast_attn=True),
    lambda: llama(attention_bias=True, mlp_bias=True, head_dim=16, num_key_value_heads=4),
]


def roberta():
    return encoder("Roberta")


MODELS = [encoder, roberta, gpt2, llama]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("padded", [False, True])
def test_encoders(name, padded, device):
    ids = tokens()
    check(encoder(name), ids, mask_of(ids) if padded else None, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", MODELS)
def test_half_precision(make, dtype, device):
    ids = tokens()
    check(make().to(dtype), ids, mask_of(ids), device)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("make", [encoder, roberta, *DECODERS])
def test_attention_implementations(make, attention):
    model, ids = make(), tokens()
    model.set_attn_implementation(attention)
    check(model, ids, mask_of(ids, left=model.can_generate()))


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"])
def test_activations(activation):
    check(encoder(hidden_act=activation), tokens(), None)


@pytest.mark.parametrize("make", DECODERS)
@pytest.mark.parametrize("cache", [True, False])
def test_generates_the_same_tokens(make, cache, device):
    check_generation(make().to(device), tokens().to(device), cache)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_cache_holds_the_same_keys_and_values(make):
    model, ids = make(), tokens()
    with torch.inference_mode():
        inputs = inputs_of(model, ids) | {"use_cache": True}
        expected = model(**inputs).past_key_values
        postlude.optimize(model)
        actual = model(**inputs).past_key_values
    if model.config.is_encoder_decoder:
        both = ("self_attention_cache", "cross_attention_cache")
        expected, actual = (
            SimpleNamespace(layers=[each for name in both for each in getattr(cache, name).layers])
            for cache in (expected, actual)
        )
    assert len(expected.layers) >= 2
    for mine, original in zip(actual.layers, expected.layers, strict=True):
        torch.testing.assert_close(mine.keys, original.keys)
        torch.testing.assert_close(mine.values, original.values)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("called_before", [True, False])
def test_hidden_states_and_attentions_are_still_recorded(make, called_before):
    model, ids = make(), tokens()
    model.set_attn_implementation("eager")
    options = {"output_hidden_states": True, "output_attentions": True} | inputs_of(model, ids)
    with torch.inference_mode():
        expected = (model if called_before else copy.deepcopy(model))(**options)
        report = postlude.optimize(model, strict=True)
        actual = model(**options)
        names = [name for name in expected if name.endswith(("hidden_states", "attentions"))]
        assert len(names) >= 2
        for name in names:
            assert len(getattr(actual, name)) == len(getattr(expected, name))
            for mine, original in zip(getattr(actual, name), getattr(expected, name), strict=True):
                torch.testing.assert_close(mine, original, rtol=1e-4, atol=1e-5)
        report.revert()
        again = model(**options)
        assert all(len(again[name]) == len(expected[name]) for name in names)
        assert torch.equal(again[0], expected[0])


@pytest.mark.parametrize("make", MODELS)
def test_revert(make):
    model, ids = make(), tokens()
    expected, modules = run(model, ids), dict(model.named_modules())
    kinds = {name: type(module) for name, module in modules.items()}
    attributes = {name: set(module.__dict__) for name, module in modules.items()}
    parameters = dict(model.named_parameters())
    report = postlude.optimize(model)
    run(model, ids)
    report.revert()
    assert torch.equal(run(model, ids), expected)
    assert report.packed_bytes == 0
    after = dict(model.named_modules())
    assert list(after) == list(modules)
    assert all(after[name] is module for name, module in modules.items())
    assert {name: type(module) for name, module in after.items()} == kinds
    assert {name: set(module.__dict__) for name, module in after.items()} == attributes
    assert all(dict(model.named_parameters())[name] is parameters[name] for name in parameters)
    report.revert()
    assert torch.equal(run(model, ids), expected)


@pytest.mark.parametrize("make", MODELS)
def test_state_dict_round_trip(make):
    """It is that of the original, in its order, and goes into either; new weights are taken up."""
    model, other, ids = make(), scrambled(make()), tokens()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = run(model, ids)
    postlude.optimize(model, strict=True)
    run(model, ids)
    state = model.state_dict()
    assert list(state) == list(before)
    assert all(torch.equal(state[name], before[name]) for name in before)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(run(model, ids), run(other, ids), rtol=1e-4, atol=1e-4)
    other.load_state_dict(before)
    assert torch.equal(run(other, ids), expected)
    model.to(torch.bfloat16)
    assert run(model, ids).dtype == torch.bfloat16


@pytest.mark.parametrize("make", MODELS)
def test_only_this_instance_changes(make):
    model, other, ids = make(), make(), tokens()
    expected = run(other, ids)
    postlude.optimize(model)
    assert not any("Fused" in type(module).__name__ for module in other.modules())
    assert torch.equal(run(other, ids), expected)
    postlude.optimize(other)
    assert torch.equal(run(other, ids), run(model, ids))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not torch.equal(run(other, ids), run(model, ids))


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_of_a_fused_model(make, twin_of):
    model, ids = make(), tokens()
    eager = run(model, ids)
    postlude.optimize(model)
    expected = run(model, ids)
    twin = twin_of(model)
    assert torch.equal(run(twin, ids), expected)
    report = postlude.optimize(twin, strict=True)
    assert len(report.fused) == parts(model)
    report.revert()
    assert torch.equal(run(twin, ids), eager)
    assert torch.equal(run(model, ids), expected)
    assert "Fused" in repr(model)
    assert "Fused" not in repr(twin)


@pytest.mark.parametrize("make", MODELS)
def test_int8(make):
    model, ids = make(), tokens()
    eager = run(model, ids)
    plain = copy.deepcopy(model)
    postlude.optimize(plain)
    report = postlude.optimize(model, quantize="int8")
    assert "int8" in str(report)
    error = frobenius(run(model, ids), eager.double())
    assert frobenius(run(plain, ids), eager.double()) < error < 0.05
    assert torch.equal(run(copy.deepcopy(model), ids), run(model, ids))
    again = postlude.optimize(model)
    assert [item.reason for item in again.skipped] == [
        "already fused with quantize='int8'"
    ] * parts(model)
    report.revert()
    assert torch.equal(run(model, ids), eager)


@pytest.mark.parametrize("make", MODELS)
def test_options_of_a_fused_layer(make, monkeypatch):
    model, ids, seen = make(), tokens(), []

    def spy(original, *args, **kwargs):
        options = ("batch_invariant", "weights_static", "allow_tf32")
        seen.append(tuple(kwargs[name] for name in options))
        return original(*args, **kwargs)

    for name in ("Linear", "Qkv", "Mlp"):
        monkeypatch.setattr(ops, name, functools.partial(spy, getattr(ops, name)))
    report = postlude.optimize(model, strict=True)
    expected = run(model, ids)
    assert set(seen) == {(False, True, False)}
    for module in model.modules():
        if hasattr(module, "weights_static"):
            module.weights_static, module.batch_invariant, module.allow_tf32 = False, True, True
    seen.clear()
    torch.testing.assert_close(run(model, ids), expected, rtol=1e-4, atol=1e-5)
    assert set(seen) == {(True, False, True)} and len(seen) == 3 * len(report.fused)
    report.revert()
    for option in ("weights_static", "allow_tf32"):
        assert not any(hasattr(module, option) for module in model.modules())
        assert not any(f"_{option}" in module.__dict__ for module in model.modules())


def test_finds_a_model_inside_another_module():
    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder()
            self.head = torch.nn.Linear(32, 4)

        def forward(self, ids):
            return self.head(self.encoder(ids)[0][:, 0])

    model, ids = Embedder().eval(), tokens()
    with torch.inference_mode():
        expected = model(ids)
        report = postlude.optimize(model, strict=True)
        torch.testing.assert_close(model(ids), expected)
    assert [item.path for item in report.fused] == [
        "encoder.encoder.layer.0",
        "encoder.encoder.layer.1",
    ]


def test_report_says_what_was_done():
    model = encoder()
    report = postlude.optimize(model)
    text = str(report)
    assert "BertModel: 2 layers fused, 0 skipped" in text
    assert "encoder.layer.0 ... encoder.layer.1 (2): query + key + value" in text
    assert "MiB" in text
    assert str(report.fused[0]).startswith("encoder.layer.0: query + key + value;")
    assert report.packed_bytes >= 0


# Skipped


def skipped(model, reason, count=1):
    """The layers that cannot be fused are left alone with this reason, and strict refuses them."""
    ids = tokens()
    expected = run(model, ids) if hasattr(model, "config") else None
    kinds = [type(module) for module in model.modules()]
    with pytest.raises(postlude.Unsupported) as caught:
        postlude.optimize(model, strict=True)
    assert str(caught.value).startswith("[optimize] not everything could be fused\n")
    assert reason in str(caught.value)
    assert [type(module) for module in model.modules()] == kinds
    report = postlude.optimize(model)
    assert len(report.skipped) == count
    assert all(reason in item.reason for item in report.skipped)
    assert reason in str(report)
    if expected is not None:
        torch.testing.assert_close(run(model, ids), expected, rtol=1e-4, atol=1e-5)
    return report


def test_unknown_models_are_not_touched():
    report = skipped(torch.nn.Sequential(torch.nn.Linear(4, 4)), "no layer of a known kind")
    assert not report.fused
    assert report.skipped[0].path == ""
    skipped(torch.nn.TransformerEncoderLayer(16, 2), "no layer of a known kind")


def test_decoders_of_bert_and_cross_attention_are_skipped():
    skipped(encoder(is_decoder=True), "decoder layer", count=2)
    skipped(gpt2(add_cross_attention=True), "cross-attention", count=2)


def test_other_options_are_skipped():
    skipped(encoder(hidden_act="tanh"), "unknown activation", count=2)
    skipped(encoder(chunk_size_feed_forward=7), "chunk_size_feed_forward", count=2)


def test_dtypes_without_kernels_are_skipped():
    skipped(llama().double(), "float64", count=2)


def test_layers_that_others_changed_are_skipped():
    model = llama()
    model.model.layers[1].self_attn.k_proj = Adapter(32, 16, bias=False)
    report = skipped(model, "Adapter")
    assert [item.path for item in report.fused] == ["model.layers.0"]
    assert [item.path for item in report.skipped] == ["model.layers.1"]


def test_layers_with_an_attention_of_another_kind_are_skipped():
    class LlamaAttention(type(llama().model.layers[0].self_attn)):
        def forward(self, hidden_states, **kwargs):
            output, weights = super().forward(hidden_states, **kwargs)
            return 2 * output, weights

    model = llama()
    model.model.layers[0].self_attn.__class__ = LlamaAttention
    skipped(model, "self_attn is a test_optimize.LlamaAttention")


def test_layers_with_hooks_are_skipped():
    model, seen = encoder(), []
    hook = model.encoder.layer[0].output.dense.register_forward_hook(lambda *_: seen.append(1))
    skipped(model, "output.dense has hooks")
    assert seen
    hook.remove()
    assert len(postlude.optimize(model, strict=True).fused) == 2


def test_layers_with_a_forward_of_their_own_are_skipped():
    model = gpt2()
    model.transformer.h[0].mlp.forward = model.transformer.h[0].mlp.forward
    skipped(model, "mlp has a forward of its own")


def test_another_signature_is_skipped():
    class LlamaDecoderLayer(type(llama().model.layers[0])):
        def forward(self, hidden_states, cache_position=None, **kwargs):
            return super().forward(hidden_states, **kwargs)

    LlamaDecoderLayer.__module__ = type(llama().model.layers[0]).__module__
    model = llama()
    model.model.layers[0].__class__ = LlamaDecoderLayer
    skipped(model, "another signature")


# Errors


def test_arguments():
    with pytest.raises(TypeError, match=r"model: .* got str"):
        postlude.optimize("bert")
    with pytest.raises(ValueError, match=r"quantize: .* got 'int4'"):
        postlude.optimize(encoder(), quantize="int4")


@pytest.mark.parametrize("make", MODELS)
def test_inference_only(make):
    model, ids = make(), tokens()
    report = postlude.optimize(model)
    inputs = inputs_of(model, ids)
    with pytest.raises(RuntimeError, match=r"requires grad.*inference_mode"):
        model(**inputs)
    with torch.no_grad():
        model(**inputs)
    report.revert()
    model(**inputs)[0].sum().backward()


def test_dropout_in_training_mode_is_an_error():
    model, ids = encoder(), tokens()
    postlude.optimize(model)
    model.train()
    with pytest.raises(RuntimeError, match=r"dropout.*eval"):
        run(model, ids)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    run(model, ids)


def test_module_and_function_have_the_same_name():
    import postlude.optimize

    assert callable(postlude.optimize)
    assert len(postlude.optimize(encoder()).fused) == 2
