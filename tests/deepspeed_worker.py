"""One rank of the tensor-parallel test of DeepSpeedMLP: its slices, all-reduced, equal the whole.

Usage: python deepspeed_worker.py RANK WORLD STORE DEVICE
"""

import itertools
import os
import sys
import traceback

import cases
import deepspeed_support as support
import torch
import torch.distributed as dist
from deepspeed_support import FORMS

from postlude.compat.deepspeed import DeepSpeedMLP

HIDDEN, INNER = 64, 48
# Relative: each rank rounds its part, and gloo every sum of parts.
BOUNDS = {torch.float32: 2e-6, torch.float16: 2e-3, torch.int8: 2e-3, torch.bfloat16: 1.6e-2}


def frozen(value, scale=None):
    parameter = torch.nn.Parameter(value.contiguous(), requires_grad=False)
    if scale is not None:
        parameter.scale = scale
    return parameter


def sliced(whole, config, rank):
    """The module of one rank, with its slices of ``whole``'s parameters."""
    part, p = DeepSpeedMLP(config), config.mp_size
    halves = 2 if config.mlp_act_func_type.name.startswith("GATED") else 1
    rows_first = config.transposed_mode or config.dtype is torch.int8

    def outputs(value, dim):
        """This rank's share of each half."""
        return torch.cat([half.chunk(p, dim)[rank] for half in value.chunk(halves, dim)], dim)

    def scales(weight):
        return getattr(weight, "scale", None)

    inter_scale = scales(whole.inter_w)
    if inter_scale is not None:
        inter_scale = outputs(inter_scale, 0)
    part.inter_w = frozen(outputs(whole.inter_w, 0 if rows_first else 1), inter_scale)
    output = whole.output_w.chunk(p, 1 if rows_first else 0)[rank]
    part.output_w = frozen(output, scales(whole.output_w))
    for name in ("attn_nw", "attn_nb", "output_b"):
        setattr(part, name, getattr(whole, name))
    part.inter_b = None if whole.inter_b is None else frozen(outputs(whole.inter_b, 0))
    return part


def check(options, group, rank, device):
    """One form: every rank's result is the whole's."""
    torch.manual_seed(1)  # the same whole on every rank
    dtype, norm, (pre, after), biases, p = options
    act = "GATED_SILU" if norm == "rms" else "GELU"
    fields = {"pre_layer_norm": pre, "mlp_after_attn": after, "transposed_mode": p == 2}
    config = support.config(dtype, HIDDEN, INNER, norm or "layer", act, **fields)
    whole = DeepSpeedMLP(config).to(device)
    # 16 groups of rows, so that every slice of the rows has scales of its own.
    case = support.case(config, whole, (2, 3), device, norm=bool(norm), biases=biases, groups=16)
    y = case.check(whole)

    config = support.config(dtype, HIDDEN, INNER, norm or "layer", act, mp_size=p, **fields)
    part = sliced(whole, config, rank).to(device)
    part.mp_group = group
    if not after and biases:  # attention's sum over the ranks comes with the MLP's
        case.a = case.a / p
    actual, *_ = case.run(part)
    error = (actual.double() - y.double()).norm() / y.double().norm()
    assert error <= BOUNDS[dtype], f"{options}: {error:.2e}"
    actual = actual.cpu()
    everyone = [torch.empty_like(actual) for _ in range(p)]
    dist.all_gather(everyone, actual, group=group)
    assert all(cases.same_bits(other, actual) for other in everyone)


def main(rank, world, store, device):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world,
    )
    count = 0
    for p in (1, 2, 4):
        group = dist.new_group(list(range(p)))
        if rank >= p:
            continue
        kinds = ("layer", "rms", None), FORMS, (True, False)
        for dtype in BOUNDS:
            for norm, form, biases in itertools.product(*kinds):
                # The norm of a slice of the attention would not be a slice of the norm.
                if norm == "rms" and not form[1]:
                    continue
                check((dtype, norm, form, biases, p), group, rank, device)
                count += 1
    dist.barrier()
    dist.destroy_process_group()
    print(f"rank {rank}: {count} forms")


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # without waiting for gloo, which may wait for the other ranks
