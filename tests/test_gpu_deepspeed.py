"""postlude.compat.deepspeed on a GPU: the side stream of VectorMatMulOp, and CUDA graphs."""

import cases
import deepspeed_support as support
import pytest
import torch
from test_gpu_streams import MICROSECOND, captured

from postlude.compat.deepspeed import DeepSpeedMLP, VectorMatMulOp


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
def test_side_stream_waits_for_its_input_and_is_waited_for(dtype):
    config = support.config(dtype, 512)
    op = VectorMatMulOp(config)
    weight = support.stored(config, 512, 2048, "cuda").parameter
    x = support.rows(config, (64,), 512, "cuda")
    expected = op(x, weight)
    late = torch.empty_like(x)
    stream = torch.cuda.Stream()
    for _ in range(5):
        late.fill_(torch.nan)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(2000 * MICROSECOND)
            late.copy_(x)
            y = op(late, weight, async_op=True)
            late.fill_(torch.nan)  # after the product has read it
            copy = y.clone()
        torch.cuda.synchronize()
        assert cases.same_bits(copy, expected)
    assert len(op._side) == 1


@pytest.mark.parametrize("dtype", support.DTYPES, ids=str)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_in_a_cuda_graph(norm, dtype):
    config = support.config(dtype, 512, 256, norm, "GATED_SILU")
    mlp = DeepSpeedMLP(config)
    assert mlp.inter_w.is_cuda
    case = support.case(config, mlp, (3, 5), "cuda")
    y = case.check(mlp)
    product = VectorMatMulOp(config)
    expected = product(y, mlp.inter_w)
    a, r = case.a.clone(), case.r.clone()
    results = {}

    def step():
        results["y"] = mlp(a, r, None, case.ba)
        results["product"] = product(results["y"], mlp.inter_w, async_op=True)

    graph = captured(step, torch.cuda.Stream())
    for _ in range(3):
        a.copy_(case.a)
        r.copy_(case.r)
        graph.replay()
        torch.cuda.synchronize()
        assert cases.same_bits(results["y"], y)
        assert cases.same_bits(results["product"], expected)


def test_a_replaced_parameter_is_refused_within_a_capture():
    config = support.config(hidden=64, inner=32)
    mlp = DeepSpeedMLP(config)
    case = support.case(config, mlp, (3,), "cuda")
    case.check(mlp)
    mlp.output_b = torch.nn.Parameter(torch.zeros(64, device="cuda"), requires_grad=False)
    with (
        pytest.raises(RuntimeError, match=r"\[DeepSpeedMLP\] a parameter changed"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        case.run(mlp)
