"""Where DeepSpeed's behaviour is a trap: what postlude.compat.deepspeed does, a test each."""

import inspect
import subprocess
import sys

import cases
import deepspeed_contract as contract
import deepspeed_support as support
import pytest
import torch
from deepspeed_support import double, stored, vector
from test_threads import run_all

import postlude
from postlude.compat.deepspeed import (
    ActivationFuncType,
    BaseOp,
    DeepSpeedInferenceConfig,
    DeepSpeedMLP,
    GELUGemmOp,
    MLPGemmOp,
    NormType,
    QKVGemmOp,
    ResidualAddOp,
    VectorMatMulOp,
)


def identity(config, size, device):
    """A weight that passes its input on."""
    return torch.eye(size, dtype=support.activations(config), device=device)


@pytest.mark.parametrize("kernels", [True, False])
def test_gelu_is_tanh_and_gated_gelu_is_erf(kernels, device, monkeypatch):
    if not kernels:
        monkeypatch.setattr(BaseOp, "kernels", support.Refusing())
    size = 64
    # Where the two forms differ by up to 5e-4, tens of times what float32 loses.
    residual = torch.linspace(-4, 4, 8 * size, device=device).reshape(8, size)
    for norm in ("layer", "rms"):
        config = support.config(hidden=size, inner=size, norm=norm, mlp_after_attn=norm == "rms")
        eye = identity(config, size, device)
        gamma, beta = vector(config, size, device, 1.0), torch.zeros(size, device=device)
        x = torch.zeros_like(residual)
        n = contract.norm(norm, residual.double(), gamma.double(), beta.double(), support.EPS)
        plain, _ = MLPGemmOp(config)(x, residual.clone(), eye, eye, None, None, gamma, beta)
        assert (plain - contract.gelu_tanh(n)).abs().max() < 2e-5
        config.mlp_act_func_type = ActivationFuncType.GATED_GELU
        both = torch.cat([eye, eye], 1)
        gated, _ = MLPGemmOp(config)(x, residual.clone(), both, eye, None, None, gamma, beta)
        assert (gated - n * contract.gelu_erf(n)).abs().max() < 5e-5
        assert (contract.gelu_erf(n) - contract.gelu_tanh(n)).abs().max() > 2e-4
    alone = GELUGemmOp(config)(residual, eye, None, eye)
    assert (alone - contract.gelu_tanh(residual.double())).abs().max() < 2e-5


def test_layer_norm_with_a_gate_is_computed(device):
    """DeepSpeed skips its bias, activation and gate."""
    config = support.config(hidden=16, inner=8, act="GATED_SILU")
    w1, w2 = stored(config, 16, 16, device), stored(config, 8, 16, device)
    x, r = (support.rows(config, (5,), 16, device) for _ in range(2))
    bias, gamma, beta = (vector(config, 16, device) for _ in range(3))
    arguments = (x, r, w1.parameter, w2.parameter, None, bias, gamma, beta)
    actual, _ = MLPGemmOp(config)(*arguments)
    c = support.terms(config)
    exact = contract.mlp_gemm(
        c, *double((x, r)), w1.exact, w2.exact, None, *double((bias, gamma, beta))
    )
    cases.assert_accurate(actual, exact[0], actual)


def test_unknown_kinds_are_refused(device):
    config = support.config(hidden=8, inner=4)
    x, w = support.rows(config, (3,), 8, device), identity(config, 8, device)
    mlp, qkv = MLPGemmOp(config), QKVGemmOp(config)
    for kind in (ActivationFuncType.UNKNOWN, 7, None):
        config.mlp_act_func_type = kind
        message = r"^\[MLPGemmOp\] config.mlp_act_func_type: expected one of .*GATED_SILU, got "
        with pytest.raises(ValueError, match=message):
            mlp(x, x, w, w)
    config.mlp_act_func_type = ActivationFuncType.ReLU
    for kind in (NormType.UNKNOWN, NormType.GroupNorm, 9):
        config.norm_type = kind
        for op, arguments in ((mlp, (x, x, w, w)), (qkv, (x, w, None, None, None))):
            message = rf"^\[{type(op).__name__}\] config.norm_type: expected NormType.LayerNorm or"
            with pytest.raises(ValueError, match=message):
                op(*arguments)
        # Ops that have no norm do not ask.
        assert torch.allclose(VectorMatMulOp(config)(x, w), x)
        GELUGemmOp(config)(x, w, None, w)


def test_errors_name_deepspeeds_arguments(device):
    config = support.config(hidden=8, inner=4)
    x, w, v = support.rows(config, (3,), 8, device), identity(config, 8, device), torch.ones(3)
    v = v.to(device)
    for op, message, arguments in (
        (QKVGemmOp, "gamma: expected shape", (x, w, None, v, None)),
        (QKVGemmOp, "beta: expected shape", (x, w, None, None, v)),
        (QKVGemmOp, "bias: expected shape", (x, w, v, None, None)),
        (QKVGemmOp, "weight: expected shape", (x, w[:3], None, None, None)),
        (MLPGemmOp, "weight_interm: expected shape", (x, x, w[:3], w)),
        (MLPGemmOp, "weight_out: expected shape", (x, x, w, w[:3])),
        (MLPGemmOp, "input_bias: expected shape", (x, x, w, w, v)),
        (MLPGemmOp, "bias: expected shape", (x, x, w, w, None, v)),
        (MLPGemmOp, "residual: expected shape", (x, x[:2], w, w)),
        (GELUGemmOp, "weight: expected shape", (x, w[:3], None, w)),
        (GELUGemmOp, "bias: expected shape", (x, w, v, w)),
        (VectorMatMulOp, "weight: expected 2 dimensions", (x, v)),
        (VectorMatMulOp, "weight: expected float32", (x, w.half())),
        (ResidualAddOp, "residual: expected shape", (x, x[:2], True)),
        (ResidualAddOp, "attention_output: expected shape", (x, x, True, x[:2])),
        (ResidualAddOp, "final_bias: expected shape", (x, x, True, x, None, None, v)),
    ):
        with pytest.raises(ValueError, match=rf"^\[{op.__name__}\] {message}"):
            op(config)(*arguments)
    with pytest.raises(TypeError, match=r"^\[QKVGemmOp\] input: expected a torch tensor"):
        QKVGemmOp(config)(None, w, None, None, None)
    with pytest.raises(RuntimeError, match=r"^\[VectorMatMulOp\] input: .* no gradient"):
        VectorMatMulOp(config)(x.clone().requires_grad_(), w)


def test_results_own_their_memory(device):
    """DeepSpeed's are views of one workspace, which the next op overwrites."""
    config = support.config(hidden=32, inner=16)
    w1, w2 = stored(config, 32, 16, device).parameter, stored(config, 16, 32, device).parameter
    x, r = (support.rows(config, (2, 3), 32, device) for _ in range(2))
    gamma, beta = vector(config, 32, device, 1.0), vector(config, 32, device)

    def calls():
        return [
            VectorMatMulOp(config)(x, w1),
            VectorMatMulOp(config)(x, w1, async_op=True),
            GELUGemmOp(config)(x, w1, None, w2),
            ResidualAddOp(config)(x, r, True),
            *QKVGemmOp(config)(x, w1, None, gamma, beta),
            *MLPGemmOp(config)(x, r, w1, w2, None, None, gamma, beta),
        ]

    first = calls()
    kept = [result.clone() for result in first]
    support.assert_owned(*first, *calls(), inputs=(x, r))
    assert all(map(cases.same_bits, first, kept))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8], ids=str)
def test_two_models_on_many_threads(dtype, device):
    """Each gives the bits that it gives alone, whoever else runs."""
    mlps, inputs, alone = [], [], []
    for hidden, inner, act, norm in (
        (48, 32, "GATED_SILU", "rms"),
        (33, 4, "GELU", "layer"),
    ):
        config = support.config(dtype, hidden, inner, norm, act)
        mlp = DeepSpeedMLP(config).to(device)
        case = support.case(config, mlp, (2, 3), device, groups=1)
        mlps.append(mlp)
        inputs.append(case)
        alone.append(case.check(mlp))

    def many(index):
        for _ in range(20):
            y, *_ = inputs[index].run(mlps[index])
            assert cases.same_bits(y, alone[index])
        return index

    run_all([lambda i=i: many(i % 2) for i in range(6)])


def test_any_number_of_rows_at_any_time(device):
    """No workspace is sized by the first call, nor by config.max_out_tokens."""
    config = support.config(hidden=24, inner=8, max_out_tokens=1)
    mlp = DeepSpeedMLP(config).to(device)
    for leading in ((1, 1), (700,), (0, 3), (1, 1), (2, 5, 33)):
        support.case(config, mlp, leading, device).check(mlp)


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("form", support.FORMS)
def test_ranks_add_up_to_one(form, p, device):
    """ResidualAddOp over p slices of the hidden state; DeepSpeed counts post-LN's residual p
    times. The parallel form's attention is a slice, too."""
    pre, after = form
    one, many = (
        support.config(pre_layer_norm=pre, mlp_after_attn=after, mp_size=size) for size in (1, p)
    )
    slices, r, attention = ([cases.integers(3, 8, device=device) for _ in range(p)] for _ in "abc")
    ba, bf = cases.integers(8, device=device), cases.integers(8, device=device)
    h, r, a = sum(slices), r[0], sum(attention)
    expected = ResidualAddOp(one)(h, r, True, a, None, ba, bf)
    parts = [a] * p if after else attention
    total = sum(
        ResidualAddOp(many)(part, r, True, part_of_a, None, ba, bf)
        for part, part_of_a in zip(slices, parts, strict=True)
    )
    assert torch.equal(total, expected)


def test_eps_has_a_default_here_alone():
    assert DeepSpeedInferenceConfig().epsilon == 1e-12
    for norm in (postlude.LayerNorm, postlude.RMSNorm):
        with pytest.raises(TypeError, match="eps"):
            norm(torch.ones(3))


def test_signatures():
    """The names and the order of arguments are DeepSpeed's."""
    expected = {
        MLPGemmOp: "input residual weight_interm weight_out input_bias bias gamma beta",
        QKVGemmOp: "input weight bias gamma beta",
        GELUGemmOp: "input weight bias weight_out",
        VectorMatMulOp: "input weight async_op",
        ResidualAddOp: "hidden_state residual add_bias attention_output residual_add "
        "attention_bias final_bias",
        DeepSpeedMLP: "input residual residual_norm bias",
    }
    for op, names in expected.items():
        assert list(inspect.signature(op.forward).parameters)[1:] == names.split()
    made = "config mp_group q_scales q_groups merge_count mlp_extra_grouping"
    assert list(inspect.signature(DeepSpeedMLP).parameters) == made.split()
    for op in (MLPGemmOp, QKVGemmOp, GELUGemmOp, VectorMatMulOp, ResidualAddOp):
        assert issubclass(op, BaseOp) and list(inspect.signature(op).parameters) == ["config"]


def test_deepspeed_is_not_needed():
    code = (
        "import sys; sys.modules['deepspeed'] = None; "
        "from postlude.compat.deepspeed import DeepSpeedMLP"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
