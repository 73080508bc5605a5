"""torch.compile of every kind of optimised model: one graph, whatever the number of tokens is."""

import re
from typing import Any

import pytest
import torch
from test_optimize import ENCODERS
from test_optimize_families import EVERY_MODEL
from tiny_models import inputs_of, tokens
from torch._dynamo.exc import Unsupported
from torch._dynamo.testing import CompileCounterWithBackend

import postlude

# Without those that tests/test_torch_compile.py compiles, and with one of BERT's kin, which share a
# layer.
NAMES = [
    name
    for name in EVERY_MODEL
    if name not in ("GPT2", "Llama", "Qwen3") and name not in {*ENCODERS} - {"Roberta"}
]


def refused_by_dynamo(model: torch.nn.Module, inputs: dict[str, Any]) -> str | None:
    """The first line of why torch cannot trace the model as one graph; None where it can."""
    try:
        torch.compile(model, backend="eager", fullgraph=True)(**inputs)
    except Unsupported as error:
        return str(error).partition("\n")[0]
    finally:
        torch._dynamo.reset()
    return None


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_one_graph_for_every_number_of_tokens(name, device):
    torch._dynamo.reset()
    model = EVERY_MODEL[name]().to(device)
    images = model.main_input_name == "pixel_values"
    first = inputs_of(model, (tokens(7, 7) if images else tokens(2, 7)).to(device))
    first |= {"return_dict": False}
    refusal = refused_by_dynamo(model, first)
    report = postlude.optimize(model, strict=True)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    if refusal is not None:  # of the model as it is, T5 with torch 2.11 for one
        with pytest.raises(Unsupported, match=re.escape(refusal)):
            compiled(**first)
        return
    for size in (7, 9, 12):
        # Of an image the batch is what may change.
        ids = tokens(size, 7) if images else tokens(2, size)
        inputs = inputs_of(model, ids.to(device)) | {"return_dict": False}
        actual, eager = compiled(**inputs)[0], model(**inputs)[0]
        torch.testing.assert_close(actual, eager, rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 2  # the first number, then any
    assert report.fused
    torch._dynamo.reset()
