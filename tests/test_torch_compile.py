"""torch.compile and torch.export: one graph for layers, operations and optimised models."""

import gc
import subprocess
import sys

import pytest
import torch
from cases import EPS, FLOOR, same_bits, tensor
from test_torch_library import entries
from torch._dynamo.testing import CompileCounterWithBackend

import postlude
from postlude import LayerNorm, RMSNorm, nn, ops

transformers = pytest.importorskip("transformers")

BACKENDS = ["eager", "aot_eager"]
ROWS = (3, 5, 9, 6)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    with torch.no_grad():
        yield
    torch._dynamo.reset()


def compiled(function, backend="eager", **options):
    """The function as one graph, and the counter of its compilations."""
    counter = CompileCounterWithBackend(backend)
    return torch.compile(function, backend=counter, fullgraph=True, **options), counter


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


# Layers


LAYERS = {
    "linear": lambda: nn.Linear(32, 24, activation="gelu"),
    "gated linear": lambda: nn.Linear(32, 24, activation="silu", gated=True, bias=False),
    "qkv": lambda: nn.QKV(32, 4, 2, norm="rms", eps=EPS, weight_offset=1.0),
    "qkv without norm": lambda: nn.QKV(32, 4, bias=False, batch_invariant=True),
    "mlp": lambda: nn.MLP(32, 48, activation="silu", gated=True, norm="rms", eps=EPS),
    "mlp, norm behind": lambda: nn.MLP(
        32, 48, activation="gelu", norm="layer", eps=EPS, norm_position="post"
    ),
    "mlp of Conv1D": lambda: nn.MLP.from_torch(
        transformers.pytorch_utils.Conv1D(48, 32),
        transformers.pytorch_utils.Conv1D(32, 48),
        activation="gelu_new",
    ),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@each_layer
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_is_one_graph_for_every_number_of_rows(make, backend, device):
    module = make().to(device)
    call, counter = compiled(module, backend)
    for rows in ROWS:
        x = tensor(2, rows, 32, device=device)
        for ours, eager in zip(as_tuple(call(x)), as_tuple(module(x)), strict=True):
            assert same_bits(ours, eager)
    assert counter.frame_count == 2  # the first number of rows, then any
    assert counter.op_count <= 2 * 8


@each_layer
def test_dynamic_from_the_first_call(make):
    module = make()
    call, counter = compiled(module, dynamic=True)
    for rows in ROWS:
        x = tensor(rows, 32)
        assert same_bits(as_tuple(call(x))[0], as_tuple(module(x))[0])
    assert counter.frame_count == 1


def test_inputs_of_a_layer(device):
    module = nn.MLP(32, 48, activation="relu", norm="layer", eps=EPS).to(device)
    call, _ = compiled(module, "aot_eager")
    x, residual, bias = tensor(3, 40, device=device)[:, :32], tensor(3, 32), tensor(32)
    residual, bias = residual.to(device), bias.to(device)
    assert same_bits(call(x, residual, bias), module(x, residual, bias))
    assert same_bits(call(x[:0]), module(x[:0]))
    linear = nn.Linear(32, 32).to(device)
    assert same_bits(compiled(linear)[0](x, residual), linear(x, residual))


def test_a_changed_parameter_shows_without_another_compilation(device):
    module, x = nn.MLP(32, 48, activation="gelu").to(device), tensor(3, 32, device=device)
    call, counter = compiled(module, "aot_eager")
    before = call(x)
    module.fc1.weight.mul_(-1)
    after = call(x)
    assert not torch.equal(before, after)
    assert same_bits(after, module(x))
    module.fc1.weight.data.zero_()  # leaves no trace, so:
    module.refresh()
    assert same_bits(call(x), module(x))
    assert not torch.equal(call(x), after)
    assert counter.frame_count == 1


def test_layers_of_one_form_share_a_graph():
    block = torch.nn.Sequential(*(nn.Linear(16, 16, activation="relu") for _ in range(3)))
    counter = CompileCounterWithBackend("eager")
    for layer in block:
        layer.compile(backend=counter, fullgraph=True)
    block(tensor(3, 16))
    assert counter.frame_count == 1


def test_inductor(device):
    module = nn.MLP(32, 48, activation="silu", gated=True, norm="rms", eps=EPS).to(device)
    call, _ = compiled(lambda x: torch.relu(module(x * 2)), "inductor", dynamic=True)
    for rows in ROWS:
        x = tensor(rows, 32, device=device)
        assert same_bits(call(x), torch.relu(module(x * 2)))


# Operations


def operations(device):
    """Functions of x (*, 32) that call ops, each (name, function)."""
    weight, down = tensor(48, 32, device=device), tensor(32, 24, device=device)
    square, v = tensor(32, 32, device=device), tensor(32, device=device)
    rms, layer = RMSNorm(v, EPS, 1.0), LayerNorm(v, None, EPS)
    gated = {"activation": "silu", "gated": True}

    def in_place(x):
        y = x * 1
        ops.linear(y, square, v, residual=y, out=y)
        n, r = ops.norm(y, layer, residual=x, out=y)
        return n, r, ops.residual_add(y, x, form="parallel", out=torch.empty_like(y))

    def into(x):
        y, r, n = x * 1, torch.empty_like(x), torch.empty_like(x)
        ops.mlp(x, weight, down, **gated, residual=x, norm=rms, residual_out=r, normed_out=n)
        q = ops.qkv(x, square, norm=layer, out=y, normed_out=n)
        n2, r2 = ops.norm(y, rms, residual_out=r)
        return r, n, q, n2, r2, *ops.mlp(r, weight, down, **gated, return_residual=True, out=y)

    return {
        "linear": lambda x: ops.linear(x, weight, activation="gelu", alpha=0.5),
        "[in, out]": lambda x: ops.linear(x, square.t(), residual=x, batch_invariant=True),
        "qkv": lambda x: ops.qkv(x, square, v, norm=layer),
        "qkv, n": lambda x: ops.qkv(x, square, norm=rms, return_normed=True),
        "mlp": lambda x: ops.mlp(x, weight, down, **gated, clamp=2.0, norm=rms),
        "mlp, r, n": lambda x: ops.mlp(
            x, weight, down, **gated, norm=rms, return_residual=True, return_normed=True
        ),
        "parallel mlp": lambda x: ops.mlp(x, weight, down, **gated, add_residual=x + 1),
        "bare mlp": lambda x: ops.mlp(x, weight, down, **gated, add_residual=False),
        "norm": lambda x: ops.norm(x, rms, add_after=x),
        "norm, r": lambda x: ops.norm(x, None, bias=v),
        "residual_add": lambda x: ops.residual_add(x, x + 1, form="post_ln", final_bias=v),
        "in place": in_place,
        "into": into,
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", operations("cpu"))
def test_operations(name, backend, device):
    function = operations(device)[name]
    call, counter = compiled(function, backend)
    for rows in ROWS:
        x = tensor(2, rows, 32, device=device)
        before = x.clone()
        for ours, eager in zip(as_tuple(call(x)), as_tuple(function(x)), strict=True):
            assert same_bits(ours, eager)
        assert same_bits(x, before)
    assert counter.frame_count == 2


def test_in_place_with_inductor(device):
    function = operations(device)["in place"]
    call = torch.compile(function, fullgraph=True)
    x = tensor(3, 32, device=device)
    for ours, eager in zip(call(x), function(x), strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-6, atol=1e-6)


def test_an_argument_that_is_written_is_written(device):
    weight, x, out = (tensor(*size, device=device) for size in ((8, 8), (3, 8), (3, 8)))
    call, _ = compiled(lambda x, out: ops.linear(x, weight, out=out), "aot_eager")
    assert call(x, out) is out
    assert same_bits(out, ops.linear(x, weight))


# What cannot be in a graph


@pytest.mark.parametrize("fullgraph", [True, False])
def test_requires_grad_is_refused(fullgraph, device):
    module, x = nn.Linear(8, 8).to(device), tensor(3, 8, device=device).requires_grad_()
    weight = tensor(8, 8, device=device)
    call = torch.compile(module, backend="aot_eager", fullgraph=fullgraph)
    function = torch.compile(lambda x: ops.linear(x, weight), backend="eager", fullgraph=fullgraph)
    with torch.enable_grad():
        with pytest.raises(RuntimeError, match="the input requires grad, and this layer is for in"):
            call(x)
        with pytest.raises(RuntimeError, match=r"\[linear\] x: expected a tensor that needs no gr"):
            function(x)
        assert not call(x.detach()).requires_grad
        module.weight.requires_grad_()
        torch._dynamo.reset()  # torch 2.11 has no guard on that of a parameter
        with pytest.raises(RuntimeError, match="a parameter requires grad, and this layer is for"):
            call(x.detach())
        with pytest.raises(RuntimeError, match=r"\[bound_linear\] a parameter requires grad"):
            torch.ops.postlude.bound_linear(x.detach(), [module.weight], [module.bias])
    assert same_bits(call(x), module(x))


def test_a_weight_object_is_refused_in_a_graph_and_breaks_it_otherwise():
    x, packed = tensor(3, 8), ops.pack_weight(tensor(8, 8))
    with pytest.raises(Exception, match=r"\[linear\] weight: expected a tensor while torch traces"):
        compiled(lambda x: ops.linear(x, packed))[0](x)
    broken = torch.compile(lambda x: ops.linear(x, packed) + 1, backend="eager")
    assert same_bits(broken(x), ops.linear(x, packed) + 1)
    with pytest.raises(Exception, match=r"\[norm\] stream: expected None while torch traces"):
        compiled(lambda x: ops.norm(x, None, stream=0))[0](x)


# Models of transformers


SMALL = {"vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "max_position_embeddings": 64, **SMALL}
MODELS = {
    "Bert": lambda t: t.BertModel(t.BertConfig(**SIZES)),
    "GPT2": lambda t: t.GPT2LMHeadModel(t.GPT2Config(n_embd=32, n_layer=2, n_head=4, **SMALL)),
    "Llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(num_key_value_heads=2, **SIZES)),
    "Qwen3": lambda t: t.Qwen3ForCausalLM(
        t.Qwen3Config(num_key_value_heads=2, head_dim=8, **SIZES)
    ),
}


def optimized(name, device="cpu", quantize=None):
    model = MODELS[name](transformers).eval().to(device)
    report = postlude.optimize(model, quantize=quantize)
    assert len(report.fused) == 2 and not report.skipped
    return model


def tokens(length, device="cpu"):
    return torch.randint(3, 61, (2, length)).to(device)


def logits(model, ids):
    return model(input_ids=ids, return_dict=False)[0]


@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_an_optimised_model_is_one_graph(name, quantize, device):
    model = optimized(name, device, quantize)
    call, counter = compiled(lambda ids: logits(model, ids))
    for length in (7, 9, 12):
        ids = tokens(length, device)
        eager = logits(model, ids)
        torch.testing.assert_close(call(ids), eager, rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 2


def test_an_optimised_model_with_inductor(device):
    model = optimized("Bert", device)
    call, counter = compiled(lambda ids: logits(model, ids), "inductor", dynamic=True)
    counts = []
    for length in (7, 9, 12):
        ids = tokens(length, device)
        torch.testing.assert_close(call(ids), logits(model, ids), rtol=1e-4, atol=1e-5)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1


def test_decoding_with_a_static_cache(device):
    model, ids = optimized("Llama", device), tokens(6, device)

    def steps(call):
        cache = transformers.StaticCache(config=model.config, max_cache_len=8)
        call(ids[:, :3], cache)
        return torch.cat([call(ids[:, i : i + 1], cache) for i in range(3, 6)], dim=1)

    def step(ids, cache):
        return model(input_ids=ids, past_key_values=cache, use_cache=True).logits

    call, _ = compiled(step)
    torch.testing.assert_close(steps(call), steps(step), rtol=1e-5, atol=1e-5)


def test_compiling_makes_no_second_packed_copy():
    gc.collect()
    before = entries()
    model = optimized("Llama")
    packed = entries() - before
    assert packed == 2 * 3
    compiled(lambda ids: logits(model, ids), "aot_eager")[0](tokens(5))
    assert entries() - before == packed


# torch.export


@each_layer
@pytest.mark.parametrize("strict", [False, True])
def test_export_of_a_layer(make, strict, device):
    module, rows = make().to(device), torch.export.Dim("rows", min=2, max=4096)
    x = tensor(3, 32, device=device)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: rows},), strict=strict)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any(name.startswith("postlude.bound_") for name in names)
    for each in (x, tensor(37, 32, device=device)):
        results = as_tuple(program.module()(each))
        for ours, eager in zip(results, as_tuple(module(each)), strict=True):
            assert same_bits(ours, eager)


def test_export_saved_and_loaded_in_another_process(tmp_path):
    model = optimized("Llama")
    length = torch.export.Dim.DYNAMIC
    program = torch.export.export(Logits(model), (tokens(5),), dynamic_shapes=({1: length},))
    ids = tokens(7)
    torch.export.save(program, tmp_path / "model.pt2")
    torch.save({"ids": ids, "logits": logits(model, ids)}, tmp_path / "expected.pt")
    source = """
import sys, torch, postlude.torch_library
program = torch.export.load(sys.argv[1] + "/model.pt2")
expected = torch.load(sys.argv[1] + "/expected.pt")
with torch.no_grad():
    torch.testing.assert_close(program.module()(expected["ids"]), expected["logits"])
"""
    subprocess.run([sys.executable, "-c", source, str(tmp_path)], check=True)


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids, use_cache=False, return_dict=False)[0]


# CUDA graphs; on a CPU the mode is inductor's ordinary one


@pytest.mark.parametrize("called_before", [True, False])
def test_reduce_overhead(called_before, device):
    module = nn.MLP(32, 48, activation="silu", gated=True, norm="rms", eps=EPS).to(device)
    qkv = nn.QKV(32, 4, 2, norm="layer", eps=EPS).to(device)  # biases are merged: memory is made
    x = tensor(4, 32, device=device)
    if called_before:
        qkv.merged(module(x))
    call = torch.compile(lambda x: qkv.merged(module(x)), mode="reduce-overhead", fullgraph=True)
    for rows in (4, 4, 4, 4, 9, 9, 9, 9):
        x = tensor(rows, 32, device=device)
        assert same_bits(call(x).clone(), qkv.merged(module(x)))


def test_reduce_overhead_of_an_optimised_model(device):
    model = optimized("Llama", device).to(torch.bfloat16)
    call = torch.compile(lambda ids: logits(model, ids), mode="reduce-overhead", fullgraph=True)
    for _ in range(4):
        ids = tokens(8, device)
        actual, eager = call(ids).clone().float(), logits(model, ids).float()
        assert (actual - eager).norm() / eager.norm() < 2 * FLOOR[torch.bfloat16]
