"""Postlude in one process with another library that uses CUTLASS: torch, whose memory-efficient
attention is a kernel of CUTLASS's."""

import hashlib
import subprocess
import sys
from pathlib import Path

import cases
import torch
from building import exported_symbols
from cases import EPS, tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from postlude import RMSNorm, ops

EVERY_DTYPE = (torch.bfloat16, torch.float32)  # Postlude's two families of kernels on CUTLASS


def attention(dtype):
    """torch's part."""
    torch.manual_seed(1)
    q, k, v = (tensor(2, 4, 96, 64, dtype=dtype, device="cuda") for _ in range(3))
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def block(dtype):
    """Postlude's part: few rows and many."""
    torch.manual_seed(2)
    weight, back = (cases.weight(n, k, dtype, "cuda") for n, k in ((2 * 640, 256), (256, 640)))
    norm = RMSNorm(tensor(256, dtype=dtype, device="cuda"), EPS)
    options = {"activation": "silu", "gated": True, "norm": norm}
    rows = (tensor(m, 256, dtype=dtype, device="cuda") for m in (1, 16, 300))
    return torch.cat([ops.mlp(x, weight, back, **options) for x in rows])


PARTS = {"torch": attention, "postlude": block}


def digests(order):
    """A hash of each part's results, computed in this order, twice in turns."""
    found = {}
    for name in (*order, *order):
        values = [cases.on_bits(PARTS[name](dtype)).cpu().numpy() for dtype in EVERY_DTYPE]
        digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
        assert found.setdefault(name, digest) == digest, name
    return found


def test_each_computes_what_it_computes_alone():
    found = {}
    for order in ("torch", "postlude", "torch postlude", "postlude torch"):
        run = subprocess.run(
            [sys.executable, __file__, *order.split()], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        for line in run.stdout.splitlines():
            name, digest = line.split()
            assert found.setdefault(name, digest) == digest, (order, name)
    assert set(found) == set(PARTS)


def test_the_other_kernel_is_one_of_cutlass():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        attention(torch.bfloat16)
        torch.cuda.synchronize()
    names = [event.key for event in profile.key_averages()]
    assert any("cutlass" in name for name in names), names


def test_no_name_of_cutlass_leaves_postlude():
    maps = Path("/proc/self/maps").read_text().splitlines()
    files = {Path(line.split()[-1]) for line in maps if "/" in line}
    ours = [file for file in files if file.name.startswith(("_C.", "libpostlude"))]
    ours = [file for file in ours if "postlude" in str(file)]
    assert ours
    for file in ours:
        leaked = [name for name in exported_symbols(file) if "cutlass" in name or "4cute" in name]
        assert not leaked, (file, leaked[:5])


if __name__ == "__main__":
    for key, value in digests(sys.argv[1:]).items():
        print(key, value)
