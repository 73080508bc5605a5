"""What works without the package triton, and what is said: each in a fresh Python that lacks it."""

import os
import subprocess
import sys


def fresh(code, **environment):
    """What a fresh interpreter prints; "" removes a variable from its environment."""
    merged = {**os.environ, **environment}
    merged = {name: value for name, value in merged.items() if value}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=merged)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


HIDE = "import sys; sys.modules['triton'] = None"

CALL = """
import torch
from postlude import triton
try:
    triton.linear(torch.ones(2, 3), torch.ones(4, 3))
except Exception as error:
    print(type(error).__name__, error)
print(triton.unavailable())
"""


def test_without_triton():
    said = fresh(HIDE + CALL)
    error, reason = said.splitlines()
    assert error == f"ImportError [triton.linear] {reason}"
    assert "pip install triton" in reason


def test_importing_postlude_imports_no_triton():
    code = "import sys, torch; before = 'triton' in sys.modules; import postlude, postlude.triton\n"
    assert fresh(code + "print(('triton' in sys.modules) == before)") == "True"


HOOKS = """
import atexit
hooks, register = [], atexit.register
atexit.register = lambda hook, *args: hooks.append(hook) or register(hook, *args)
import postlude.triton, postlude.triton.table, postlude.triton.tuning
from pathlib import Path
table = postlude.triton.table.Table(Path("."))
table.put("a device | a product", (1,), 1.0)
print([hook for hook in hooks if (hook.__module__ or "").startswith("postlude")])
"""


def test_nothing_is_left_for_the_end_of_the_process(tmp_path):
    """The table is written when a tile is chosen, so no exit hook can fail."""
    assert fresh(f"import os; os.chdir({str(tmp_path)!r})\n{HIDE}\n{HOOKS}") == "[]"
    assert (tmp_path / "triton.json").is_file()


MLP = """
import logging, sys, torch
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from postlude.compat.deepspeed import DeepSpeedInferenceConfig, TritonMLP
torch.manual_seed(0)
mlp = TritonMLP(DeepSpeedInferenceConfig(16, 32, dtype=torch.float16))
for parameter in mlp.parameters():
    parameter.normal_()
x = torch.randn(3, 16, device=mlp.inter_w.device).half()
print(mlp(x, x, None, None).isfinite().all().item())
"""


def test_triton_mlp_without_triton():
    said, finite = fresh(HIDE + MLP).splitlines()
    assert "the package triton is not installed" in said
    assert finite == "True"
