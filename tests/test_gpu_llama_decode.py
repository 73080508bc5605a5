"""A decode step of Llama-3-8B's layers, of postlude.nn and a plain attention, as one CUDA graph
that is replayed with other tokens and positions; collected on GPU machines only."""

import pytest
import torch
from cases import EPS, same_bits
from test_gpu_streams import captured

from postlude import RMSNorm, nn, ops

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM = 4096, 14336, 32, 8, 128
LAYERS, VOCABULARY, LENGTH = 4, 1024, 64


def rotated(x, cos, sin):
    """x (batch, heads, head_dim) turned by the angles of its position."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Layer(torch.nn.Module):
    """h = x + project(attention(norm(x))); y = h + MLP(norm(h)), one token a sequence."""

    def __init__(self, hidden, inner, heads, **where):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads
        norm = {"norm": "rms", "eps": EPS, "bias": False, **where}
        self.qkv = nn.QKV(hidden, *heads, **norm)
        width = self.heads * self.head_dim
        self.project = nn.Linear(width, hidden, bias=False, **where)
        self.mlp = nn.MLP(hidden, inner, activation="silu", gated=True, **norm)

    def forward(self, x, position, angles, cache):
        """x (batch, hidden); position (1,); angles: cosine and sine; cache: keys and values
        (batch, kv_heads, LENGTH, head_dim)."""
        batch, (keys, values) = len(x), cache
        q, k, v = self.qkv(x)
        keys.index_copy_(2, position, rotated(k, *angles).unsqueeze(2))
        values.index_copy_(2, position, v.unsqueeze(2))
        # The queries that share a key are its rows.
        q = rotated(q, *angles).view(batch, self.kv_heads, -1, self.head_dim)
        scores = (q @ keys.transpose(2, 3)).float() * self.head_dim**-0.5
        later = torch.arange(keys.shape[2], device=x.device) > position
        weights = scores.masked_fill(later, -torch.inf).softmax(dim=-1).to(x.dtype)
        return self.mlp(self.project((weights @ values).view(batch, -1), x))


class Decoder(torch.nn.Module):
    """The layers between an embedding and a head, with the caches and inputs of one batch."""

    def __init__(self, batch, layers, sizes, **where):
        super().__init__()
        hidden, _, (_, kv_heads, head_dim) = sizes
        self.layers = torch.nn.ModuleList(Layer(*sizes, **where) for _ in range(layers))
        self.embedding = torch.nn.Embedding(VOCABULARY, hidden, **where)
        self.head = nn.Linear(hidden, VOCABULARY, bias=False, **where)
        with torch.no_grad():
            self.gain = torch.empty(hidden, **where).uniform_(0.5, 1.5)
            for layer in self.layers:
                for norm in (layer.qkv.norm, layer.mlp.norm):
                    norm.weight.uniform_(0.5, 1.5)
        cache = (layers, 2, batch, kv_heads, LENGTH, head_dim)
        self.cache = torch.zeros(cache, **where)
        device = where["device"]
        self.frequency = 10000.0 ** -torch.linspace(0, 1, head_dim // 2, device=device)
        self.tokens = torch.zeros(batch, dtype=torch.int64, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)

    def forward(self):
        """The logits (batch, VOCABULARY) after ``tokens`` at ``position``."""
        turn = self.position * self.frequency
        angles = turn.cos(), turn.sin()
        x = self.embedding(self.tokens)
        for layer, cache in zip(self.layers, self.cache, strict=True):
            x = layer(x, self.position, angles, cache)
        return self.head(ops.norm(x, RMSNorm(self.gain, EPS)))

    def run(self, sequence, step):
        """The logits of a step for every row of ``sequence`` (steps, batch)."""
        self.cache.zero_()
        logits = []
        for position, tokens in enumerate(sequence):
            self.position.fill_(position)
            self.tokens.copy_(tokens)
            logits.append(step().clone())
        return torch.stack(logits)


def check_replays(decoder, batch, steps=12):
    """A graph of the step gives the bits of the step, whatever its inputs are."""
    sequences = torch.randint(VOCABULARY, (3, steps, batch), device="cuda")
    expected = [decoder.run(sequence, decoder) for sequence in sequences]
    assert all(logits.isfinite().all() for logits in expected)
    logits = []
    graph = captured(lambda: logits.append(decoder()), torch.cuda.Stream())

    def replay():
        logits[-1].fill_(torch.nan)
        graph.replay()
        return logits[-1]

    for _ in range(5):
        for sequence, exact in zip(sequences, expected, strict=True):
            assert same_bits(decoder.run(sequence, replay), exact)
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("batch", [1, 8])
@torch.inference_mode()
def test_a_graph_of_the_step(batch):
    sizes = HIDDEN, INNER, (HEADS, KV_HEADS, HEAD_DIM)
    decoder = Decoder(batch, LAYERS, sizes, dtype=torch.bfloat16, device="cuda")
    check_replays(decoder, batch)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@torch.inference_mode()
def test_smaller_layers_in_other_dtypes(dtype):
    decoder = Decoder(3, 2, (512, 1408, (8, 2, 64)), dtype=dtype, device="cuda")
    check_replays(decoder, 3)
