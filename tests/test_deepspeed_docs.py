"""The examples of docs/deepspeed.md run, one after the other, and compute what the page says."""

import ast
from pathlib import Path
from typing import Any

import cases
import torch
from markdown import blocks

from postlude import LayerNorm, RMSNorm, reference

PAGE = Path(__file__).resolve().parent.parent / "docs" / "deepspeed.md"


def test_examples_run():
    names: dict[str, Any] = {}
    results = {}
    for block in blocks(PAGE, "python"):
        exec(compile(block, PAGE.name, "exec"), names)
        results.update(names)
        if "y" in names:  # the first: r + MLP(LayerNorm(r))
            mlp = names["mlp"]
            check(names.pop("y"), LayerNorm(mlp.attn_nw, mlp.attn_nb, 1e-5), names, mlp)
        if "z" in names:
            llama = names["llama"]
            names["residual"] = names["before"]
            check(names.pop("z"), RMSNorm(llama.attn_nw, 1e-5), names, llama)
    exact = names["product"].double() + names["bias"].double()
    cases.assert_accurate(names["qkv"], exact, names["product"] + names["bias"])
    assert results["halves"].shape == (3, 32) and results["halves"].isfinite().all()


def test_the_changed_import_is_one():
    """What the page's diff adds imports, by the names that it takes away."""
    (diff,) = blocks(PAGE, "diff")
    sides = {
        sign: "".join(f"{line[1:]}\n" for line in diff.splitlines() if line.startswith(sign))
        for sign in "+-"
    }
    names: dict[str, Any] = {}
    exec(compile(sides["+"], PAGE.name, "exec"), names)
    (added,) = ast.parse(sides["+"]).body
    removed = ast.parse(sides["-"]).body
    assert {alias.name for node in removed for alias in node.names} == {
        alias.name for alias in added.names
    }


def check(y, norm, names, mlp):
    gated = mlp.inter_w is None
    if gated:
        w1 = torch.cat([mlp.inter_gate_w, mlp.inter_up_w])
        w2, bias = mlp.output_w, None
    else:
        w1, w2, bias = mlp.inter_w.t(), mlp.output_w.t(), names["attention_bias"]
    cases.assert_as_reference(
        y,
        reference.mlp,
        names["attention"],
        w1,
        w2,
        mlp.inter_b,
        mlp.output_b,
        activation="silu" if gated else "gelu_tanh",
        gated=gated,
        norm=norm,
        residual=names["residual"],
        input_bias=bias,
    )


def test_the_page_names_every_public_name():
    from postlude.compat import deepspeed

    text = PAGE.read_text(encoding="utf-8")
    unnamed = {name for name in deepspeed.__all__ if name not in text}
    assert unnamed <= {"BaseOp", "GATED_ACTIVATION_TYPES"}
