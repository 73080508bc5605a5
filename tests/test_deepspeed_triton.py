"""TritonMLP and the ops with use_triton against the contract, and what is left to postlude.ops."""

import logging

import cases
import deepspeed_contract as contract
import deepspeed_support as support
import pytest
import torch
from deepspeed_support import ACTS, FORMS, SIZES, case, config, double, rows, stored, terms, vector
from triton_cases import DEVICE, KERNEL_DTYPES, tuner  # noqa: F401, a fixture

import postlude
from postlude.compat import deepspeed
from postlude.compat.deepspeed import triton_kernels
from postlude.triton import blocks, launch, tuning

HALF = [dtype for dtype in KERNEL_DTYPES if dtype is not torch.float32]
LEFT_TO_OPS = {torch.float32: "got torch.float32", torch.int8: "plain tensors"}
if torch.bfloat16 not in HALF:
    LEFT_TO_OPS[torch.bfloat16] = "Triton's interpreter"


@pytest.fixture
def launched(monkeypatch):
    """Which of Triton's kernels were launched, in order; nothing has been logged yet."""
    found = []

    def watched(name):
        run = getattr(launch, name)

        def spy(*args):
            found.append(name)
            return run(*args)

        return spy

    for name in ("product", "normalise"):
        monkeypatch.setattr(blocks, name, watched(name))
    monkeypatch.setattr(triton_kernels, "_LOGGED", set())
    monkeypatch.delenv("POSTLUDE_STRICT", raising=False)
    return found


@pytest.fixture
def strict(monkeypatch, launched):
    """Whatever Triton's kernels do not compute is an error."""
    monkeypatch.setenv("POSTLUDE_STRICT", "1")
    return launched


def mlp_of(cfg, leading, **options):
    """A TritonMLP with random parameters, and its inputs."""
    mlp = deepspeed.TritonMLP(cfg)
    return mlp, case(cfg, mlp, leading, DEVICE, **options)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("form", FORMS)
def test_of_the_contract(form, act, norm, dtype, strict):
    pre, after = form
    for transposed, leading in ((False, (2, 7)), (True, (1, 1))):
        fields = {"pre_layer_norm": pre, "mlp_after_attn": after, "transposed_mode": transposed}
        mlp, inputs = mlp_of(config(dtype, 384, 96, norm, act, **fields), leading)
        inputs.check(mlp)
        assert strict.count("product") == 2 and strict.count("normalise") == 1
        assert mlp.packed_bytes == 0
        strict.clear()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("hidden", [size for size in SIZES if size != 384])
def test_sizes(hidden, dtype, strict):
    inner, leadings = SIZES[hidden]
    for leading in leadings:
        mlp, inputs = mlp_of(config(dtype, hidden, inner), leading)
        inputs.check(mlp)


@pytest.mark.parametrize("mp_size", [1, 2])
@pytest.mark.parametrize("options", [{"norm": False}, {"biases": False}, {}])
def test_without_norm_without_biases_and_on_a_part(options, mp_size, strict):
    for norm in ("layer", "rms"):
        fields = {"norm": norm, "mp_size": mp_size}
        mlp, inputs = mlp_of(config(torch.float16, 64, 96, **fields), (3, 5), **options)
        inputs.check(mlp)


def test_is_the_same_module_as_deepspeedmlp(strict):
    cfg = config(torch.float16, 64, 96)
    mlp, inputs = mlp_of(cfg, (3, 5))
    other = deepspeed.DeepSpeedMLP(cfg)
    other.load_state_dict(mlp.state_dict())
    assert list(other.state_dict()) == list(mlp.state_dict())
    ours = inputs.run(mlp)[0]
    assert strict == ["normalise", "product", "product"]
    torch.testing.assert_close(ours, inputs.run(other.to(DEVICE))[0], rtol=2e-3, atol=2e-3)
    assert len(strict) == 3


def test_a_new_parameter_counts(strict):
    mlp, inputs = mlp_of(config(torch.float16, 64, 96), (3,))
    inputs.check(mlp)
    again = case(mlp.config, mlp, (3,), DEVICE)
    again.check(mlp)


def test_parameters_assigned_in_halves(strict):
    cfg = config(torch.float16, 64, 96, act="GATED_SILU", set_empty_params=True)
    mlp, inputs = mlp_of(cfg, (3,))
    up, gate = mlp.inter_w.chunk(2, 1)
    mlp.inter_up_b, mlp.inter_gate_b = mlp.inter_b.chunk(2)
    mlp.inter_up_w, mlp.inter_gate_w, mlp.inter_w, mlp.inter_b = up, gate, None, None
    inputs.check(mlp)


@pytest.mark.parametrize("dtype", LEFT_TO_OPS)
def test_what_is_left_to_the_other_kernels_is_said_once(dtype, launched, caplog, monkeypatch):
    mlp, inputs = mlp_of(config(dtype, 64, 96), (3, 5))
    with caplog.at_level(logging.WARNING, "postlude.compat.deepspeed"):
        inputs.check(mlp)
        inputs.check(mlp)
    assert "product" not in launched
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "TritonMLP: postlude.ops computes it" in said[0]
    assert LEFT_TO_OPS[dtype] in said[0]
    monkeypatch.setenv("POSTLUDE_STRICT", "1")
    with pytest.raises(postlude.Unsupported, match=r"\[TritonMLP\] Triton's kernels do not"):
        inputs.run(mlp)


def test_batch_invariance_is_the_other_kernels(launched):
    mlp, inputs = mlp_of(config(torch.float16, 64, 96), (7,))
    mlp.batch_invariant = True
    inputs.check(mlp)
    assert "product" not in launched


def test_tiles_are_timed_where_the_config_says_so(tuner, strict, monkeypatch):  # noqa: F811
    timed = []

    def measure(run, device):
        run()
        timed.append(run.args[0])
        return float(-len(timed))

    monkeypatch.setattr(tuning, "measure", measure)
    mlp, inputs = mlp_of(config(torch.float16, 64, 96), (3,))
    fixed = inputs.run(mlp)[0]
    assert not timed
    mlp.config.triton_autotune = True
    tuned = inputs.run(mlp)[0]
    assert cases.same_bits(tuned, fixed) or DEVICE == "cpu"  # NumPy's sums know no promise
    count = len(timed)
    assert count > 2 and len(set(timed)) * 2 == count
    inputs.run(mlp)
    assert len(timed) == count


# The ops, by config.use_triton.


def against(actual, expected, eager):
    for ours, exact, torchs in zip(actual, expected, eager, strict=True):
        cases.assert_accurate(ours, exact, torchs)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("transposed", [False, True])
def test_ops(transposed, dtype, strict):
    fields = {"use_triton": True, "transposed_mode": transposed}
    for norm in ("layer", "rms"):
        cfg = config(dtype, 64, 96, norm, "ReLU", **fields)
        x, r = (rows(cfg, (2, 5), 64, DEVICE) for _ in range(2))
        w1, w2 = stored(cfg, 64, 96, DEVICE), stored(cfg, 96, 64, DEVICE)
        b, gamma, beta = (vector(cfg, size, DEVICE) for size in (96, 64, 64))
        calls = {
            "qkv_gemm": lambda x, r, w1, w2, b, g, beta: (x, w1, b, g, beta),
            "mlp_gemm": lambda x, r, w1, w2, b, g, beta: (x, r, w1, w2, None, b, g, beta),
        }
        ops = {"qkv_gemm": deepspeed.QKVGemmOp, "mlp_gemm": deepspeed.MLPGemmOp}
        for name, arrange in calls.items():
            function = getattr(contract, name)
            exact = arrange(*double((x, r)), w1.exact, w2.exact, *double((b, gamma, beta)))
            eager = arrange(x, r, w1.eager, w2.eager, b, gamma, beta)
            op = ops[name](cfg)
            given = arrange(x.clone(), r.clone(), w1.parameter, w2.parameter, b, gamma, beta)
            actual = op(*given)
            against(actual, function(terms(cfg), *exact)[:2], function(terms(cfg), *eager)[:2])
            assert strict.count("product") == (1 if name == "qkv_gemm" else 2)
            strict.clear()
        y = deepspeed.GELUGemmOp(cfg)(x, w1.parameter, b, w2.parameter)
        exact = contract.gelu_gemm(x.double(), w1.exact, b.double(), w2.exact)
        against([y], [exact], [contract.gelu_gemm(x, w1.eager, b, w2.eager)])
        for beside in (False, True):
            y = deepspeed.VectorMatMulOp(cfg)(x, w1.parameter, async_op=beside)
            against([y], [x.double() @ w1.exact], [x @ w1.eager])
        assert strict == ["product"] * 4
        strict.clear()


def test_ops_without_use_triton_run_no_triton(strict):
    cfg = config(torch.float16, 64, 96)
    x, w = rows(cfg, (5,), 64, DEVICE), stored(cfg, 64, 96, DEVICE)
    deepspeed.VectorMatMulOp(cfg)(x, w.parameter)
    assert not strict
    cfg.use_triton = True
    deepspeed.VectorMatMulOp(cfg)(x, w.parameter)
    assert strict == ["product"]


def test_errors_name_the_callers_arguments(strict):
    cfg = config(torch.float16, 64, 96, use_triton=True)
    x, w = rows(cfg, (5,), 32, DEVICE), stored(cfg, 64, 96, DEVICE)
    with pytest.raises(ValueError, match=r"^\[VectorMatMulOp\] weight: expected .*32"):
        deepspeed.VectorMatMulOp(cfg)(x, w.parameter)
    mlp, inputs = mlp_of(config(torch.float16, 64, 96), (3,))
    inputs.ba = inputs.ba[:5]
    with pytest.raises(ValueError, match=r"^\[TritonMLP\] bias: expected shape \(64,\)"):
        inputs.run(mlp)
    assert mlp.config.epsilon == support.EPS
