"""postlude.optimize: decode steps of a small Llama with a static cache, and on a GPU as one CUDA
graph that is replayed with other tokens and positions."""

import pytest
import torch

import postlude

transformers = pytest.importorskip("transformers")

BATCH, VOCABULARY, LENGTH, STEPS = 2, 1000, 32, 6


def optimized_llama(dtype, device):
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
    )
    model = transformers.LlamaForCausalLM(config).eval().to(device, dtype)
    report = postlude.optimize(model, strict=True)
    assert len(report.fused) == 4
    return model


class Decoder:
    """A model with its static cache: a prompt, then step by step the token in ``token``."""

    def __init__(self, model):
        self.model = model
        self.cache = transformers.StaticCache(config=model.config, max_cache_len=LENGTH)
        self.token = torch.zeros(BATCH, 1, dtype=torch.int64, device=model.device)
        self.start(self.token)  # which makes the cache

    def start(self, prompt):
        """Forgets all, and reads a prompt."""
        self.cache.reset()
        self.model(prompt, past_key_values=self.cache, use_cache=True)

    def step(self):
        """The logits after one token more."""
        return self.model(self.token, past_key_values=self.cache, use_cache=True).logits[:, -1]

    def run(self, tokens, prompt_length, step):
        """The logits of every step after the prompt."""
        self.start(tokens[:, :prompt_length])
        logits = []
        for position in range(prompt_length, tokens.shape[1]):
            self.token.copy_(tokens[:, position : position + 1])
            logits.append(step().clone())
        return torch.stack(logits, dim=1)


def sequences(device):
    """Tokens and the length of their prompt; the positions of the steps differ too."""
    for length in (5, 3, 11):
        yield torch.randint(VOCABULARY, (BATCH, length + STEPS), device=device), length


@torch.inference_mode()
def test_steps_give_what_the_whole_sequence_gives(device):
    decoder = Decoder(optimized_llama(torch.float32, device))
    for tokens, length in sequences(device):
        logits = decoder.run(tokens, length, decoder.step)
        whole = decoder.model(tokens, use_cache=False).logits[:, length:]
        torch.testing.assert_close(logits, whole, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@torch.inference_mode()
def test_a_graph_of_the_step(dtype, device):
    decoder = Decoder(optimized_llama(dtype, device))
    every = list(sequences(device))
    expected = [decoder.run(tokens, length, decoder.step) for tokens, length in every]
    if device == "cpu":
        step = decoder.step
    else:
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            decoder.step()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            replayed = decoder.step()

        def step():
            graph.replay()
            return replayed

    for (tokens, length), logits in zip(every, expected, strict=True):
        assert torch.equal(decoder.run(tokens, length, step), logits)
    assert not torch.equal(expected[0][:, 0], expected[1][:, 0])
