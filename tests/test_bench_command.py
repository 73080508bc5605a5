"""``postlude bench``: the contenders compute the same, what is written is what was measured, and
errors are one line."""

import itertools
import json
import re

import cases
import pytest
import torch

from postlude import reference
from postlude.cli import bench, blocks, main, models, timing

SIZES = ["--hidden", "48", "--intermediate", "72", "--heads", "4", "--kv-heads", "2"]
SHAPES = {
    "llama": models.llama(48, 72, 4, 2),
    "encoder": models.encoder(48, 4, "gelu_erf", 1e-12),
    "relu": models.Shape(40, 24, 4, 4, "relu", False, False, "layer", 1e-5, 16),
    "gated": models.Shape(33, 24, 3, 1, "gelu_tanh", True, True, "rms", 1e-6),
}


def run(capsys, *arguments, status=0):
    """What the command prints; on stderr where it fails."""
    assert main(["bench", *map(str, arguments)]) == status
    printed = capsys.readouterr()
    assert (printed.err == "") == (status == 0), printed
    return printed.out or printed.err


def expected(name, shape, block, x):
    """The block in float64, from the bound layer's own parameters."""
    layer = getattr(block["bound"], "__self__", block["bound"])
    parameters = {key: value.detach() for key, value in layer.named_parameters()}

    def part(kind, *names):
        found = [parameters[f"{n}.{kind}"] for n in names if f"{n}.{kind}" in parameters]
        return torch.cat(found) if found else None

    weight, bias = part("weight", "norm"), part("bias", "norm")
    norm = cases.LayerNorm(weight, bias, shape.eps)
    if shape.norm == "rms":
        norm = cases.RMSNorm(weight, shape.eps)
    if name == "qkv":
        qkv = ("q", "k", "v")
        args = (x, part("weight", *qkv), part("bias", *qkv))
        return reference.exact(reference.qkv, *args, norm=norm)
    first, last = (("gate", "up"), "down") if shape.gated else (("fc1",), "fc2")
    return reference.exact(
        reference.mlp,
        x,
        part("weight", *first),
        part("weight", last),
        part("bias", *first),
        part("bias", last),
        activation=shape.activation,
        gated=shape.gated,
        norm=norm,
    )


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", bench.BLOCKS)
def test_contenders_compute_the_block(name, kind, dtype, device):
    shape = SHAPES[kind]
    block = blocks.new_block(name, shape, dtype, device)
    assert tuple(block) == bench.CONTENDERS
    x = torch.randn(7, shape.hidden, device=device).to(dtype)
    with torch.inference_mode():
        exact = expected(name, shape, block, x)
        for contender in ("plain", "bound"):
            cases.assert_accurate(block[contender](x), exact, block["torch"](x))
        error = (block["torch"](x).double() - exact).norm() / exact.norm()
    assert error < {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}[dtype]


def test_weight_bytes():
    count = 48 * (4 + 2 * 2) * 12
    assert blocks.weight_bytes("qkv", SHAPES["llama"], torch.bfloat16) == 2 * count
    assert blocks.weight_bytes("mlp", SHAPES["llama"], torch.float32) == 4 * 3 * 48 * 72
    assert blocks.weight_bytes("mlp", SHAPES["encoder"], torch.float32) == 4 * 2 * 48 * 192


def test_what_is_written_is_what_is_printed(capsys, tmp_path, device):
    pytest.importorskip("matplotlib")
    files = ["--json", tmp_path / "r.json", "--plot", tmp_path / "r.png"]
    common = ["--gated", "--activation", "silu", "--norm", "rms", "--dtype", "f32"]
    common += ["--device", device, "--rounds", "1"]
    text = run(capsys, *SIZES, *common, "--m", "1,7", *files)
    found = json.loads((tmp_path / "r.json").read_text())
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert found["shape"]["kv_heads"] == 2 and found["device"] == device
    cells = [(record["block"], record["m"]) for record in found["records"]]
    assert cells == [("mlp", 1), ("mlp", 7), ("qkv", 1), ("qkv", 7)]
    rows = re.findall(r"^(mlp|qkv) +(\d+) +([\d.]+) +([\d.]+) \(([\d.]+)\)", text, re.MULTILINE)
    for record, (block, m, torchs, plain, ratio) in zip(found["records"], rows, strict=True):
        us = record["us"]
        assert (block, int(m)) == (record["block"], record["m"])
        assert f"{us['torch']:.1f}" == torchs and f"{us['plain']:.1f}" == plain
        assert ratio == f"{us['torch'] / us['plain']:.2f}"
        assert min(us.values()) > 0 and record["copies"] == 32


def test_one_block_of_a_known_model(capsys):
    text = run(
        capsys, "minilm-l6", "--block", "qkv", "--m", "3", "--rounds", "1", "--device", "cpu"
    )
    assert text.startswith("minilm-l6, bf16, cpu") and len(re.findall("^qkv", text, re.M)) == 1
    assert "mlp" not in text


def test_a_contender_that_computes_something_else_is_an_error(capsys, monkeypatch):
    make = blocks.new_block

    def broken(*arguments):
        made = make(*arguments)
        return {**made, "bound": lambda x: made["torch"](x) * 1.1}

    monkeypatch.setattr(blocks, "new_block", broken)
    text = run(capsys, *SIZES, "--m", "2", "--device", "cpu", status=1)
    assert text.startswith("[bench] bound: differs from torch by 1.0e-01")


def test_a_turn_is_timed_whole():
    """The median over rounds of what a clock that is told to says."""
    calls = []
    replays = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = timing.take_turns(replays, 3, int)
    assert set(seconds) == {"a", "b"} and min(seconds.values()) > 0
    changes = sum(one != other for one, other in itertools.pairwise(calls))
    assert changes >= 4, "they take turns"


def test_models_by_name_and_by_config(tmp_path):
    transformers = pytest.importorskip("transformers")
    for shape in models.MODELS.values():
        models.refuse_unusual(shape)
    llama = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2
    )
    gpt2 = transformers.GPT2Config(n_embd=64, n_head=4)
    bert = transformers.BertConfig(hidden_size=64, intermediate_size=80, num_attention_heads=4)
    wanted = [
        (llama, models.Shape(64, 96, 4, 2, "silu", True, False, "rms", llama.rms_norm_eps, 16)),
        (gpt2, models.Shape(64, 256, 4, 4, "gelu_tanh", False, True, "layer", 1e-5)),
        (bert, models.Shape(64, 80, 4, 4, "gelu_erf", False, True, "layer", 1e-12)),
    ]
    for config, shape in wanted:
        config.save_pretrained(tmp_path)
        for path in (tmp_path, tmp_path / "config.json"):
            assert models.shape_of(str(path)) == shape


def test_errors_are_one_line(capsys, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": 64, "num_attention_heads": 4, "hidden_act": "tanh"}')
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    numbers = tmp_path / "list.json"
    numbers.write_text("[64, 4]")
    sizes = [*SIZES, "--device", "cpu"]
    for arguments, said in {
        ("no-such-model",): "[bench] model: expected one of minilm-l6, ",
        (): "[bench] model: expected a model, or --hidden",
        ("bert-base", "--hidden", "3"): "[bench] model: expected a model or sizes, got bert-base",
        (config,): "[bench] activation: expected one of relu, gelu_erf",
        (numbers,): f"[bench] model: expected an object in {numbers}, got list\n",
        (empty,): "[bench] model: expected a config.json with hidden_size",
        (*sizes, "--heads", "0"): "[bench] sizes: expected numbers from 1 up",
        (*sizes, "--m", "1,x"): "[bench] m: expected numbers from 1 up, with commas",
        (*sizes, "--rounds", "0"): "[bench] rounds: expected a number from 1 up, got 0",
        (*SIZES, "--device", "tpu"): "[bench] device: expected cpu, cuda or cuda:N, got 'tpu'",
    }.items():
        text = run(capsys, *arguments, status=1)
        assert text.startswith(said) and text.count("\n") == 1, text


def test_a_bar_shows_how_far_it_is(capsys, monkeypatch):
    timing.progress("bert", 1, 4)
    assert not capsys.readouterr().err, "no terminal, no bar"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    timing.progress("bert", 1, 4)
    timing.progress("bert", 4, 4)
    timing.progress("")
    shown = capsys.readouterr().err.split("\r\033[K")[1:]
    assert shown == [f"[{'#' * 6}{'.' * 18}] 1/4 bert", f"[{'#' * 24}] 4/4 bert", ""]
