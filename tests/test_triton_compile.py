"""The Triton kernels compile for GPUs that are not here: tensor cores where there are any, and room
for the first tiles in the shared memory of each."""

import json

import triton_cases  # noqa: F401, skips this file where triton is missing
from test_triton_without import fresh

from postlude.triton import tiles

# What shared memory every GPU with these tensor cores has.
LEAST_SHARED = 64 * 1024

COMPILE = """
import json, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from postlude.triton import kernels, tiles

NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
FLOATS = ("alpha", "clamp", "eps", "weight_offset")

def compiled(kernel, pointers, constants, capability, warps=4, stages=3):
    kind = lambda name: ("constexpr" if name in constants else pointers.get(name)
                         or ("fp32" if name in FLOATS else "i32"))
    signature = {name: kind(name) for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    aligned = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(kernel.arg_names)
               if name not in constants and name not in FLOATS}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    target, options = GPUTarget("cuda", capability, 32), {"num_warps": warps, "num_stages": stages}
    return triton.compile(source, target=target, options=options)

def linear(dtype, rows, gated, capability):
    tile = tiles.tiles(dtype, rows, gated)[0]
    pointers = dict.fromkeys(("x", "weight", "bias", "residual", "out"), "*" + NAMES[dtype])
    constants = {"ACTIVATION": "gelu_erf", "GATED": gated, "EVEN_K": rows != 1, "GROUP_M": 8,
                 "CHUNK": tiles.FLOAT32_CHUNK if dtype is torch.float32 else 0,
                 "w_n_stride" if gated else "w_k_stride": 1,
                 "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "BLOCK_K": tile.block_k}
    if not gated:
        constants |= {"clamp": None, "residual": None}
    kernel = compiled(kernels.linear_kernel, pointers, constants, capability, *tile[3:])
    text = kernel.asm["ptx"]
    unit = "wgmma" if "wgmma.mma" in text else "mma" if "mma.sync" in text else "fma"
    return [NAMES[dtype], rows, gated, capability, unit, kernel.metadata.shared]

found = [linear(dtype, rows, gated, 90)
         for dtype in NAMES for rows in (1, 33, 100) for gated in (False, True)]
found += [linear(torch.float16, rows, True, capability)
          for rows in (1, 100) for capability in (80, 120)]
vectors = dict.fromkeys(("x", "residual", "bias", "weight", "shift", "normed", "summed"), "*fp16")
for kind in ("none", "layer", "rms"):
    for one in (True, False):
        constants = {"KIND": kind, "ONE_BLOCK": one, "BLOCK": 512, "shift": None}
        compiled(kernels.norm_kernel, vectors, constants, 90)
print(json.dumps(found))
"""


def test_for_other_gpus(tmp_path):
    found = json.loads(fresh(COMPILE, TRITON_INTERPRET="", TRITON_CACHE_DIR=str(tmp_path)))
    assert len(found) == 3 * 3 * 2 + 4
    for dtype, rows, _, capability, unit, shared in found:
        if dtype == "fp32":
            assert unit == "fma"  # TF32 would not be exact
        else:
            wide = capability == 90 and tiles.row_class(rows) > 16
            assert unit == ("wgmma" if wide else "mma")
        assert shared <= LEAST_SHARED
