"""postlude.optimize: tiny random models of every known kind against themselves before it."""

import copy
import functools
import pickle

import pytest
import torch
from cases import FLOOR

import postlude
from postlude import ops

transformers = pytest.importorskip("transformers")

VOCABULARY = 99
SMALL = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ENCODER = {
    **SMALL,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 64,
}
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


def scrambled(model):
    """The model for inference, with no parameter left at 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def encoder(name="Bert", **options):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name.removesuffix('Encoder')}Config")(**ENCODER | options)
    model = name if name.endswith("Encoder") else f"{name}Model"
    return scrambled(getattr(transformers, model)(config))


def gpt2(**options):
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    config = transformers.GPT2Config(**SMALL | sizes | options)
    return scrambled(transformers.GPT2LMHeadModel(config))


def llama(**options):
    torch.manual_seed(0)
    sizes = {**ENCODER, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes | options)
    return scrambled(transformers.LlamaForCausalLM(config))


DECODERS = [
    gpt2,
    llama,
    lambda: gpt2(activation_function="relu", n_inner=40, scale_attn_by_inverse_layer_idx=True),
    lambda: gpt2(reorder_and_upcast_attn=True),
    lambda: llama(attention_bias=True, mlp_bias=True, head_dim=16, num_key_value_heads=4),
]
MODELS = [encoder, gpt2, llama]


def tokens(batch=2, length=7):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


def mask_of(ids, left=False):
    """The second row is padded by three tokens."""
    mask = torch.ones_like(ids)
    mask[1, slice(0, 3) if left else slice(-3, None)] = 0
    return mask


def run(model, ids, mask=None):
    with torch.inference_mode():
        return model(ids, attention_mask=mask)[0]


def frobenius(actual, exact):
    return (torch.linalg.norm(actual.double() - exact) / torch.linalg.norm(exact)).item()


def check(model, ids, mask, device="cpu"):
    """The error against float64 is at most 1.25 times that of the eager model, or the floor."""
    model, ids = model.to(device), ids.to(device)
    mask = None if mask is None else mask.to(device)
    double = copy.deepcopy(model).double()
    double.set_attn_implementation("sdpa")  # the eager one goes through float32
    exact = run(double, ids, mask)
    eager = run(model, ids, mask)
    report = postlude.optimize(model)
    fused = run(model, ids, mask)
    assert not report.skipped
    assert len(report.fused) == model.config.num_hidden_layers
    assert fused.dtype == eager.dtype
    kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    allowed = max(1.25 * frobenius(eager[kept], exact[kept]), FLOOR[model.dtype])
    assert frobenius(fused[kept], exact[kept]) <= allowed


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
@pytest.mark.parametrize("make", [encoder, *DECODERS])
def test_attention_implementations(make, attention):
    model, ids = make(), tokens()
    model.set_attn_implementation(attention)
    check(model, ids, mask_of(ids, left=model.config.model_type != "bert"))


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"])
def test_activations(activation):
    check(encoder(hidden_act=activation), tokens(), None)


def check_generation(model, ids, cache):
    """Greedily generated tokens are the same before and after, 32 of them."""
    options = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False, "use_cache": cache}
    options["attention_mask"] = mask_of(ids, left=True)
    with torch.inference_mode():
        expected = model.generate(ids, **options)
        postlude.optimize(model, strict=True)
        assert torch.equal(model.generate(ids, **options), expected)
    assert expected.shape == (len(ids), ids.shape[1] + 32)


@pytest.mark.parametrize("make", DECODERS)
@pytest.mark.parametrize("cache", [True, False])
def test_generates_the_same_tokens(make, cache, device):
    check_generation(make().to(device), tokens().to(device), cache)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_cache_holds_the_same_keys_and_values(make):
    model, ids = make(), tokens()
    with torch.inference_mode():
        expected = model(ids, use_cache=True).past_key_values
        postlude.optimize(model)
        actual = model(ids, use_cache=True).past_key_values
    for mine, original in zip(actual.layers, expected.layers, strict=True):
        torch.testing.assert_close(mine.keys, original.keys)
        torch.testing.assert_close(mine.values, original.values)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("called_before", [True, False])
def test_hidden_states_and_attentions_are_still_recorded(make, called_before):
    model, ids = make(), tokens()
    model.set_attn_implementation("eager")
    options = {"output_hidden_states": True, "output_attentions": True}
    with torch.inference_mode():
        expected = (model if called_before else copy.deepcopy(model))(ids, **options)
        report = postlude.optimize(model, strict=True)
        actual = model(ids, **options)
        for name in ("hidden_states", "attentions"):
            assert len(getattr(actual, name)) == len(getattr(expected, name))
            for mine, original in zip(getattr(actual, name), getattr(expected, name), strict=True):
                torch.testing.assert_close(mine, original, rtol=1e-4, atol=1e-5)
        report.revert()
        again = model(ids, **options)
        assert len(again.attentions) == len(expected.attentions)
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
def test_state_dict_is_that_of_the_original(make):
    model, ids = make(), tokens()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    postlude.optimize(model)
    run(model, ids)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("make", MODELS)
def test_new_weights_are_taken_up(make):
    model, other, ids = make(), scrambled(make()), tokens()
    postlude.optimize(model)
    run(model, ids)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(run(model, ids), run(other, ids), rtol=1e-4, atol=1e-5)
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
    assert len(report.fused) == 2
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
    assert [item.reason for item in again.skipped] == ["already fused with quantize='int8'"] * 2
    report.revert()
    assert torch.equal(run(model, ids), eager)


@pytest.mark.parametrize("make", MODELS)
def test_options_of_a_fused_layer(make, monkeypatch):
    model, ids, seen = make(), tokens(), []

    def spy(original, *args, **kwargs):
        seen.append((kwargs["batch_invariant"], kwargs["weights_static"]))
        return original(*args, **kwargs)

    for name in ("Linear", "Qkv", "Mlp"):
        monkeypatch.setattr(ops, name, functools.partial(spy, getattr(ops, name)))
    report = postlude.optimize(model, strict=True)
    expected = run(model, ids)
    assert set(seen) == {(False, True)}
    for module in model.modules():
        if hasattr(module, "weights_static"):
            module.weights_static, module.batch_invariant = False, True
    seen.clear()
    torch.testing.assert_close(run(model, ids), expected, rtol=1e-4, atol=1e-5)
    assert set(seen) == {(True, False)} and len(seen) == 3 * len(report.fused)
    report.revert()
    assert not any(hasattr(module, "weights_static") for module in model.modules())
    assert not any("_weights_static" in module.__dict__ for module in model.modules())


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
    with pytest.raises(postlude.Unsupported, match=reason):
        postlude.optimize(model, strict=True)
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


class Adapter(torch.nn.Linear):
    """Stands for what other libraries put in the place of a linear layer."""


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
    with pytest.raises(RuntimeError, match=r"requires grad.*inference_mode"):
        model(ids)
    with torch.no_grad():
        model(ids)
    report.revert()
    model(ids)[0].sum().backward()


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
