"""The examples of docs/huggingface.md run, in order and in one namespace."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "huggingface.md"


def test_examples_run(capsys):
    pytest.importorskip("transformers")
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, PAGE.name, "exec"), names)
    said = capsys.readouterr().out
    assert len(examples) == 5
    assert "LlamaForCausalLM: 2 layers fused, 0 skipped" in said
    assert "self_attn.q_proj has hooks, which would no longer run" in said
    assert len(names["report"].fused) == 2
