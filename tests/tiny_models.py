"""Tiny random models of transformers, and how an optimised one is compared with its original."""

import copy

import pytest
import torch
from cases import FLOOR

import postlude

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
GPT = {**SMALL, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
GROUPED = {**ENCODER, "num_key_value_heads": 2}


def scrambled(model):
    """The model for inference, with no parameter left at 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def tiny(config, model, **options):
    """The model of these classes' names with these options of its config."""
    torch.manual_seed(0)
    made = getattr(transformers, config)(**options)
    return scrambled(getattr(transformers, model)(made))


def encoder(name="Bert", **options):
    model = name if name.endswith("Encoder") else f"{name}Model"
    return tiny(f"{name.removesuffix('Encoder')}Config", model, **ENCODER | options)


def gpt2(**options):
    return tiny("GPT2Config", "GPT2LMHeadModel", **GPT | options)


def llama(**options):
    return tiny("LlamaConfig", "LlamaForCausalLM", **GROUPED | options)


def tokens(batch=2, length=7):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


def mask_of(ids, left=False):
    """The second row is padded by three tokens."""
    mask = torch.ones_like(ids)
    mask[1, slice(0, 3) if left else slice(-3, None)] = 0
    return mask


def inputs_of(model, ids, mask=None):
    """What the model is called with: ids, also for its decoder, or images with ids as the seed."""
    config = model.config
    if model.main_input_name == "pixel_values":
        generator = torch.Generator().manual_seed(int(ids.sum()))
        shape = (len(ids), config.num_channels, config.image_size, config.image_size)
        pixels = torch.randn(shape, generator=generator)
        return {"pixel_values": pixels.to(model.device, model.dtype)}
    decoder = {"decoder_input_ids": ids.flip(1)} if config.is_encoder_decoder else {}
    return {"input_ids": ids, "attention_mask": mask, **decoder}


def run(model, ids, mask=None):
    """The model's first output."""
    with torch.inference_mode():
        return model(**inputs_of(model, ids, mask))[0]


def parts(model):
    """How many layers, or parts of layers, there are to fuse."""
    config = model.config
    if config.is_encoder_decoder:
        return 2 * config.num_layers + 3 * config.num_decoder_layers
    return config.num_hidden_layers


def frobenius(actual, exact):
    return (torch.linalg.norm(actual.double() - exact) / torch.linalg.norm(exact)).item()


def check(model, ids, mask, device="cpu"):
    """The error against float64 is at most 1.25 times that of the eager model, or the floor."""
    model, ids = model.to(device), ids.to(device)
    mask = None if mask is None else mask.to(device)
    double = copy.deepcopy(model).double()
    if double._supports_sdpa:
        double.set_attn_implementation("sdpa")  # the eager one goes through float32
    if model.config.model_type == "mixtral":
        double.set_experts_implementation("eager")  # the other one knows no float64
    exact = run(double, ids, mask)
    eager = run(model, ids, mask)
    report = postlude.optimize(model)
    fused = run(model, ids, mask)
    assert not report.skipped
    assert len(report.fused) == parts(model)
    assert fused.dtype == eager.dtype
    if mask is not None and not model.config.is_encoder_decoder:
        exact, eager, fused = (output[mask.bool()] for output in (exact, eager, fused))
    allowed = max(1.25 * frobenius(eager, exact), FLOOR[model.dtype])
    assert frobenius(fused, exact) <= allowed


def check_generation(model, ids, cache):
    """Greedily generated tokens are the same before and after, 32 of them."""
    options = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False, "use_cache": cache}
    options["attention_mask"] = mask_of(ids, left=True)
    with torch.inference_mode():
        expected = model.generate(ids, **options)
        postlude.optimize(model, strict=True)
        assert torch.equal(model.generate(ids, **options), expected)
    start = 1 if model.config.is_encoder_decoder else ids.shape[1]
    assert expected.shape == (len(ids), start + 32)


class Adapter(torch.nn.Linear):
    """Stands for what other libraries put in the place of a linear layer."""
