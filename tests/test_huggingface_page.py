"""The examples of docs/huggingface.md run, in order and in one namespace."""

from pathlib import Path
from typing import Any

import pytest
from markdown import blocks

PAGE = Path(__file__).resolve().parent.parent / "docs" / "huggingface.md"


def test_examples_run(capsys):
    pytest.importorskip("transformers")
    examples = blocks(PAGE, "python")
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, PAGE.name, "exec"), names)
    said = capsys.readouterr().out
    assert len(examples) == 5
    assert "LlamaForCausalLM: 2 layers fused, 0 skipped" in said
    assert "self_attn.q_proj has hooks, which would no longer run" in said
    assert len(names["report"].fused) == 2
