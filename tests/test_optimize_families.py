"""postlude.optimize: tiny random models of the other families against themselves before it."""

from functools import partial

import pytest
import torch
from test_optimize import ENCODERS as OF_BERT
from test_optimize_decoders import EVERY_KIND, NAMES, decoder, every_test, left_alone
from tiny_models import (
    ENCODER,
    GPT,
    GROUPED,
    SMALL,
    Adapter,
    check,
    check_generation,
    encoder,
    gpt2,
    mask_of,
    parts,
    run,
    tiny,
    tokens,
)

import postlude

OPT = {**ENCODER, "ffn_dim": 56, "word_embed_proj_dim": 32}
BLOOM = {**SMALL, "hidden_size": 32, "n_layer": 2, "n_head": 4}
GEMMA = {**GROUPED, "head_dim": 8}
T5 = {
    **SMALL,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 56,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
IMAGES = {**ENCODER, "image_size": 8, "patch_size": 4, "num_channels": 3}

# Name: the classes of config and model, and the sizes.
FAMILIES = {
    "ViT": ("ViTConfig", "ViTModel", IMAGES),
    "CLIPText": ("CLIPTextConfig", "CLIPTextModel", ENCODER),
    "CLIPVision": ("CLIPVisionConfig", "CLIPVisionModel", IMAGES),
    "SiglipText": ("SiglipTextConfig", "SiglipTextModel", ENCODER),
    "SiglipVision": ("SiglipVisionConfig", "SiglipVisionModel", IMAGES),
    "T5": ("T5Config", "T5ForConditionalGeneration", T5),
    "T5Gated": (
        "T5Config",
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "MT5": ("MT5Config", "MT5ForConditionalGeneration", T5),
    "OPT": ("OPTConfig", "OPTForCausalLM", OPT),
    "GPTJ": ("GPTJConfig", "GPTJForCausalLM", {**GPT, "rotary_dim": 4}),
    "GPTNeoX": ("GPTNeoXConfig", "GPTNeoXForCausalLM", ENCODER),
    "Bloom": ("BloomConfig", "BloomForCausalLM", BLOOM),
    "Falcon": ("FalconConfig", "FalconForCausalLM", ENCODER),
    "Gemma": ("GemmaConfig", "GemmaForCausalLM", GEMMA),
    "Gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**GEMMA, "sliding_window": 4}),
    "Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**GEMMA, "sliding_window": 4}),
    "Mixtral": (
        "MixtralConfig",
        "MixtralForCausalLM",
        {**GROUPED, "num_local_experts": 4},
    ),
}
VARIANTS = [
    *((name, {}) for name in FAMILIES),
    ("ViT", {"qkv_bias": False, "hidden_act": "gelu_new"}),
    ("T5", {"d_kv": 16}),
    ("OPT", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    ("OPT", {"enable_bias": False, "activation_function": "gelu"}),
    ("GPTJ", {"rotary_dim": 8, "n_inner": 40}),
    ("GPTNeoX", {"use_parallel_residual": False, "attention_bias": False}),
    ("Falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    (
        "Falcon",
        {
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
            "bias": True,
        },
    ),
    ("Falcon", {"multi_query": False, "bias": True}),
    ("Falcon", {"parallel_attn": False, "multi_query": False, "bias": True, "alibi": True}),
    ("Gemma2", {"attn_logit_softcapping": None, "attention_bias": True}),
    ("Mixtral", {"head_dim": 16, "sliding_window": 4}),
]
ENCODERS = ["ViT", "CLIPText", "CLIPVision", "SiglipText", "SiglipVision"]
every_family = pytest.mark.parametrize("name", FAMILIES)
every_variant = pytest.mark.parametrize(
    ("name", "options"),
    VARIANTS,
    ids=[
        "-".join([name, *(f"{key}={value}" for key, value in options.items())])
        for name, options in VARIANTS
    ],
)


def made(name, **options):
    config, model, sizes = FAMILIES[name]
    return tiny(config, model, **sizes | options)


def has_mask(model):
    return model.main_input_name != "pixel_values"


# Results


@every_variant
@pytest.mark.parametrize("padded", [False, True])
def test_logits(name, options, padded, device):
    model, ids = made(name, **options), tokens()
    check(model, ids, mask_of(ids) if padded and has_mask(model) else None, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_variant
def test_half_precision(name, options, dtype, device):
    model, ids = made(name, **options).to(dtype), tokens()
    check(model, ids, mask_of(ids) if has_mask(model) else None, device)


@pytest.mark.parametrize(
    ("name", "options", "cache"),
    [
        *((name, options, True) for name, options in VARIANTS if name not in ENCODERS),
        *((name, {}, False) for name in ("GPTJ", "T5", "Gemma2")),
    ],
)
def test_generates_the_same_tokens(name, options, cache, device):
    check_generation(made(name, **options).to(device), tokens().to(device), cache)


# The model stays what it was


@every_test
@every_family
def test_what_holds_for_every_kind(name, test):
    """The same tests as those of the other kinds of model."""
    if test is EVERY_KIND[0]:  # of the cache
        assert made(name).can_generate() == (name not in ENCODERS)
        if name in ENCODERS:
            return
    test(partial(made, name))


@every_family
def test_dropout_in_training_mode_is_an_error(name):
    model, dropped = made(name), 0
    postlude.optimize(model, strict=True)
    for module in model.modules():
        for attribute in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.1)
                dropped += 1
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
            dropped += 1
    run(model, tokens())
    with pytest.raises(RuntimeError, match=r"dropout.*eval"):
        run(model.train(), tokens())
    assert dropped


# The Report


EVERY_MODEL = {
    **{name: partial(made, name) for name in FAMILIES},
    **{name: partial(decoder, name) for name in NAMES},
    **{name: partial(encoder, name) for name in OF_BERT},
    "GPT2": gpt2,
}


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_report_names_every_module_that_is_left_alone(name):
    """A module with parameters that is called is named, with a reason; the others are fused."""
    model, called = EVERY_MODEL[name](), set()
    report = postlude.optimize(model, strict=True)
    layers = [item.path for item in report.fused]
    named = {item.path for item in report.outside}
    named |= {f"{item.path}.{path}" for item in report.fused for path, _ in item.kept}
    for path, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(lambda *_, path=path: called.add(path))
    run(model, tokens())
    assert called
    for path in called:
        assert any(path == known or path.startswith(f"{known}.") for known in named)
    for item in report.outside:
        assert item.reason.endswith("outside the layers")
        assert not any(item.path.startswith(f"{layer}.") for layer in layers)
        assert item.path in str(report)
    for item in report.fused:
        assert all(path in str(report) and reason in str(report) for path, reason in item.kept)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("Gemma3", ["self_attn.q_norm", "self_attn.k_norm"]),
        ("Mixtral", ["mlp"]),
        ("T5", ["SelfAttention.relative_attention_bias"]),
        ("GPTJ", []),
    ],
)
def test_what_is_kept_in_a_layer(name, paths):
    report = postlude.optimize(made(name), strict=True)
    assert [path for path, _ in report.fused[0].kept] == paths


def projections(name):
    """The paths of all linear layers inside the layers that are fused."""
    model = made(name)
    report = postlude.optimize(made(name), strict=True)
    kept = [f"{item.path}.{path}" for item in report.fused for path, _ in item.kept]
    return [
        (item.path, f"{item.path}.{path}")
        for item in report.fused[:1] + report.fused[-1:]
        for path, module in model.get_submodule(item.path).named_modules()
        if isinstance(module, torch.nn.Linear)
        and not f"{item.path}.{path}".startswith(tuple(kept) or "-")
    ]


@every_family
def test_changed_projections_and_hooks(name):
    """The layer with the changed projection is left alone, with a reason; the others are fused."""
    for layer, path in projections(name):
        replaced, hooked = made(name), made(name)
        linear = replaced.get_submodule(path)
        bias = linear.bias is not None
        replaced.set_submodule(path, Adapter(linear.in_features, linear.out_features, bias))
        report = left_alone(replaced, "Adapter", [layer])
        assert len(report.fused) == parts(replaced) - 1
        hooked.get_submodule(path).register_forward_hook(lambda *_: None)
        left_alone(hooked, "has hooks, which would no longer run", [layer])


@every_family
def test_parts_that_are_not_known(name):
    model = made(name)
    path = postlude.optimize(made(name), strict=True).fused[0].path
    model.get_submodule(path).scale = torch.nn.Parameter(torch.ones(32))
    left_alone(model, "the layer has parameters that are not known", [path])


def test_t5_with_an_output_projection_in_float32():
    """As transformers loads it beside float16; its product cannot be of two dtypes."""
    model, ids = made("T5").half(), tokens()
    for path, module in model.named_modules():
        if path.endswith(".wo"):
            module.float()
    expected = run(model, ids)
    paths = [f"{half}.block.{index}" for half in ("encoder", "decoder") for index in range(2)]
    report = left_alone(model, "wo has torch.float32", paths)
    assert not report.fused
    assert torch.equal(run(model, ids), expected)
    model = model.float()  # and of one part alone
    model.encoder.block[0].layer[1].DenseReluDense.wo.half()
    report = left_alone(model, "DenseReluDense.wo has torch.float16", ["encoder.block.0"])
    assert len(report.fused) == parts(model) - 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"apply_residual_connection_post_layernorm": True}, "residual_connection_post_layernorm"),
        ({"pretraining_tp": 2, "slow_but_exact": True}, "slow_but_exact"),
    ],
)
def test_options_of_bloom(options, reason):
    left_alone(made("Bloom", **options), reason, ["transformer.h.0", "transformer.h.1"])


def test_arguments_of_a_fused_layer():
    model = made("GPTNeoX")
    postlude.optimize(model, strict=True)
    with pytest.raises(TypeError, match="at most 5 arguments after hidden_states, got 6"):
        model.gpt_neox.layers[0](torch.zeros(1, 2, 32), *[None] * 6)
    gpt = gpt2()
    postlude.optimize(gpt, strict=True)
    with pytest.raises(ValueError, match="no cross-attention"), torch.inference_mode():
        gpt(tokens(), encoder_hidden_states=torch.zeros(2, 3, 32))
