"""int8 weights of postlude.compat.deepspeed: whose scales they are, and how they are grouped."""

import cases
import deepspeed_support as support
import pytest
import torch

from postlude import reference
from postlude.compat.deepspeed import (
    DeepSpeedMLP,
    GELUGemmOp,
    MLPGemmOp,
    QKVGemmOp,
    VectorMatMulOp,
)

HIDDEN, INNER = 48, 16


def module(device, act="GELU", **options):
    config = support.config(torch.int8, HIDDEN, INNER, act=act)
    return DeepSpeedMLP(config, **options).to(device)


def bare(weight):
    """An int8 parameter without scales."""
    return torch.nn.Parameter(weight.detach().clone(), requires_grad=False)


def test_every_op_multiplies_by_the_scale(device):
    """DeepSpeed binds two int8 ops to nothing, and computes them without the scale."""
    config = support.config(torch.int8, HIDDEN, INNER, act="ReLU")
    x = support.rows(config, (3,), HIDDEN, device)
    w1 = support.stored(config, HIDDEN, INNER, device)
    w2 = support.stored(config, INNER, HIDDEN, device)
    gamma, beta = support.vector(config, HIDDEN, device, 1.0), None
    once = {
        "vector": VectorMatMulOp(config)(x, w1.parameter),
        "qkv": QKVGemmOp(config)(x, w1.parameter, None, gamma, beta)[0],
        "gelu": GELUGemmOp(config)(x, w1.parameter, None, w2.parameter),
        "mlp": MLPGemmOp(config)(x, x, w1.parameter, w2.parameter, None, None, gamma)[0],
    }
    w1.parameter.scale = w1.parameter.scale * 2
    twice = {
        "vector": VectorMatMulOp(config)(x, w1.parameter),
        "qkv": QKVGemmOp(config)(x, w1.parameter, None, gamma, beta)[0],
        "gelu": GELUGemmOp(config)(x, w1.parameter, None, w2.parameter),
        "mlp": MLPGemmOp(config)(x, x, w1.parameter, w2.parameter, None, None, gamma)[0],
    }
    for name in ("vector", "qkv", "mlp"):  # powers of 2, and a ReLU between them, are exact
        assert torch.equal(twice[name], once[name] * 2), name
    assert not torch.equal(twice["gelu"], once["gelu"])


def test_nothing_is_dequantised(device):
    """A layer keeps its int8 weights and nothing besides."""
    mlp = module(device)
    case = support.case(mlp.config, mlp, (5,), device)
    case.check(mlp)
    assert mlp.packed_bytes == 0
    pointers = {mlp.inter_w.data_ptr(), mlp.output_w.data_ptr()}
    parts = mlp._binding.op
    assert {parts.weight_in.values.data_ptr(), parts.weight_out.values.data_ptr()} == pointers


def test_scales_with_columns_for_other_partitions(device):
    """DeepSpeed's quantizer stores (groups, 3) and reads the first ``groups`` numbers."""
    mlp = module(device)
    case = support.case(mlp.config, mlp, (5,), device)
    y = case.check(mlp)
    scale = mlp.inter_w.scale
    others = torch.full((2 * len(scale),), torch.nan, device=device)
    mlp.inter_w.scale = torch.cat([scale, others]).reshape(len(scale), 3)
    assert cases.same_bits(case.check(mlp), y)


@pytest.mark.parametrize("act", ["GELU", "GATED_SILU"])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("merge_count", [1, 2, 4])
def test_scales_of_a_merged_checkpoint(merge_count, extra, act, device):
    """q_scales as DeepSpeed makes them when it merges ``merge_count`` checkpoints: each part of a
    weight has its own groups of rows; inter's parts stand one below the other, output's side by
    side."""
    groups = 2 * (2 if extra else 1)
    width = INNER * (2 if act.startswith("GATED") else 1)
    halves = [cases.weight(width, HIDDEN, torch.float16, device).chunk(merge_count)]
    halves.append(cases.weight(HIDDEN, INNER, torch.float16, device).chunk(merge_count, 1))
    parts = [
        [reference.quantize_weight(part.contiguous(), groups=groups) for part in half]
        for half in halves
    ]
    dense = [[reference.dequantize(part, torch.float64) for part in half] for half in parts]
    # Of each weight: the scales of part 0, part 1, ... below, or beside, each other, in one row.
    row_inter = torch.cat([part.scales for part in parts[0]])
    row_output = torch.stack([part.scales for part in parts[1]], 1).reshape(-1)
    length = len(row_inter) + 3  # rows are padded
    q_scales = torch.zeros(4, length, device=device)
    q_scales[:2] = torch.nan
    q_scales[2, : len(row_inter)], q_scales[3, : len(row_output)] = row_inter, row_output

    mlp = module(
        device,
        act,
        q_scales=q_scales,
        q_groups=2,
        merge_count=merge_count,
        mlp_extra_grouping=extra,
    )
    assert mlp.q_groups == groups and 2**mlp.merge_count == merge_count
    case = support.case(mlp.config, mlp, (7,), device)
    mlp.inter_w = bare(torch.cat([part.values for part in parts[0]]))
    mlp.output_w = bare(torch.cat([part.values for part in parts[1]], 1))
    exact = {"inter_w": torch.cat(dense[0]).t(), "output_w": torch.cat(dense[1], 1).t()}
    case.exact_weights.update(exact)
    case.eager_weights.update({name: weight.half() for name, weight in exact.items()})
    y = case.check(mlp)
    if act.startswith("GATED"):
        (up, gate), (up_b, gate_b) = mlp.inter_w.chunk(2), mlp.inter_b.chunk(2)
        mlp.inter_up_w, mlp.inter_gate_w = bare(up), bare(gate)
        mlp.inter_up_b = torch.nn.Parameter(up_b.clone(), requires_grad=False)
        mlp.inter_gate_b = torch.nn.Parameter(gate_b.clone(), requires_grad=False)
        mlp.inter_w = mlp.inter_b = None
        assert cases.same_bits(case.check(mlp), y)


def test_halves_with_groups_of_other_sizes(device):
    mlp = module(device, "GATED_GELU")
    case = support.case(mlp.config, mlp, (7,), device)
    exact = []
    for name, groups in (("inter_up", 2), ("inter_gate", 8)):
        weight = support.stored(mlp.config, HIDDEN, INNER, device, groups)
        exact.append(weight.exact)
        setattr(mlp, f"{name}_w", weight.parameter)
        setattr(mlp, f"{name}_b", None)
    mlp.inter_w = mlp.inter_b = None
    for weights, dtype in (
        (case.exact_weights, torch.float64),
        (case.eager_weights, torch.float16),
    ):
        weights["inter_w"], weights["inter_b"] = torch.cat(exact, 1).to(dtype), None
    case.check(mlp)


def test_float_weights_beside_int8_ones(device):
    """A float weight in an int8 config is [in, out], as DeepSpeed leaves QKV's by default."""
    config = support.config(torch.int8, HIDDEN)
    x = support.rows(config, (3,), HIDDEN, device)
    weight = cases.tensor(HIDDEN, 24, dtype=torch.float16, device=device)
    weight.scale = torch.empty(1, device=device)
    actual = VectorMatMulOp(config)(x, weight)
    cases.assert_accurate(actual, x.double() @ weight.double(), x @ weight)


def test_errors(device):
    config = support.config(torch.int8, HIDDEN, INNER)
    x = support.rows(config, (3,), HIDDEN, device)
    weight = support.stored(config, HIDDEN, INNER, device).parameter
    op = VectorMatMulOp(config)
    with pytest.raises(ValueError, match=r"\[VectorMatMulOp\] weight.scale: .* got NoneType"):
        op(x, bare(weight))
    for scale, message in (
        (torch.ones(4, dtype=torch.float64), "got torch.float64"),
        (torch.ones(3), "a count of scales that divides 16 rows, got 3"),
        (torch.ones(0), "a count of scales that divides 16 rows, got 0"),
    ):
        weight.scale = scale.to(device)
        with pytest.raises(ValueError, match=rf"\[VectorMatMulOp\] weight.scale: .*{message}"):
            op(x, weight)
    with pytest.raises(ValueError, match=r"\[VectorMatMulOp\] input: expected torch.float16, as"):
        op(x.float(), weight)

    for q_scales, options, message in (
        (torch.ones(1, 8), {}, "q_scales: expected 2 rows or more, got 1"),
        (torch.ones(4, 2), {"q_groups": 4}, "q_scales of inter_w: expected at least 4 scales"),
        (torch.ones(4, 9), {"q_groups": 5}, "q_scales of inter_w: .* divides 16 rows, got 5"),
        (torch.ones(4, 64), {"q_groups": 1, "merge_count": 32}, "q_scales of .* divides 16 rows"),
    ):
        mlp = module(device, q_scales=q_scales.to(device), **options)
        case = support.case(mlp.config, mlp, (3,), device)
        mlp.inter_w, mlp.output_w = bare(mlp.inter_w), bare(mlp.output_w)
        with pytest.raises(ValueError, match=rf"\[DeepSpeedMLP\] {message}"):
            case.run(mlp)
    # Of 2 checkpoints, one beside the other.
    options = {"q_scales": torch.ones(4, 64, device=device), "q_groups": 16, "merge_count": 2}
    mlp = DeepSpeedMLP(support.config(torch.int8, 40, 32), **options).to(device)
    case = support.case(mlp.config, mlp, (3,), device)
    mlp.inter_w, mlp.output_w = bare(mlp.inter_w), bare(mlp.output_w)
    words = (
        r"q_scales of output_w: .* that 16 groups of rows and 2 merged parts divide, got \(40, 32\)"
    )
    with pytest.raises(ValueError, match=rf"\[DeepSpeedMLP\] {words}"):
        case.run(mlp)
