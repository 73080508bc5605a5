"""DeepSpeedMLP against the contract: every form, norm, activation, dtype and layout."""

import copy
import io
import itertools

import cases
import deepspeed_support as support
import pytest
import torch
from deepspeed_support import ACTS, DTYPES, FORMS, SIZES, vector

import postlude
from postlude.compat.deepspeed import BaseOp, DeepSpeedMLP
from postlude.compat.deepspeed import fallback as pytorch
from postlude.compat.deepspeed.parameters import Parameters


def module(config, device, **options):
    return DeepSpeedMLP(config, **options).to(device)


@pytest.fixture(params=["kernels", "fallback"])
def path(request, monkeypatch):
    """With Postlude's kernels, and with PyTorch because every kernel refuses."""
    if request.param == "fallback":
        refusing = support.Refusing()
        monkeypatch.setattr(BaseOp, "kernels", refusing)
        monkeypatch.setattr(Parameters, "kernels", refusing)
        yield request.param
        assert refusing.asked > 0
    else:
        monkeypatch.setattr(pytorch, "mlp", None)
        yield request.param


# None: attn_nw is None, and the MLP takes residual_norm.
@pytest.mark.parametrize("norm", ["layer", "rms", None])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden", SIZES)
def test_contract(hidden, dtype, norm, path, device):
    inner, leadings = SIZES[hidden]
    acts = ACTS if norm else ("ReLU",)  # residual_norm is given GELU, whatever the config says
    options = itertools.product(acts, FORMS, (False, True), (True, False), (1, 2))
    for index, (act, (pre, after), transposed, biases, mp_size) in enumerate(options):
        # A share of them that meets every option with every other, and fewer of the large ones.
        share = 1 if len(acts) == 1 else 5
        if hidden != 384 or path == "fallback":
            share = share * 4 - 1
        if index % share:
            continue
        config = support.config(
            dtype,
            hidden,
            inner,
            norm or "layer",
            act,
            pre_layer_norm=pre,
            mlp_after_attn=after,
            transposed_mode=transposed,
            mp_size=mp_size,
        )
        mlp = module(config, device)
        leading = leadings[index % len(leadings)]
        case = support.case(config, mlp, leading, device, norm=bool(norm), biases=biases)
        case.check(mlp)


def test_shapes_of_new_parameters(device):
    for dtype, transposed in itertools.product(DTYPES, (False, True)):
        for act, width in (("ReLU", 24), ("GATED_SILU", 48)):
            config = support.config(dtype, 16, 48, act=act, mp_size=2, transposed_mode=transposed)
            mlp = module(config, device)
            rows_first = transposed or dtype is torch.int8
            shapes = {name: tuple(value.shape) for name, value in mlp.named_parameters()}
            assert shapes == {
                "attn_nw": (16,),
                "attn_nb": (16,),
                "inter_w": (width, 16) if rows_first else (16, width),
                "inter_b": (width,),
                "output_w": (16, 24) if rows_first else (24, 16),
                "output_b": (16,),
            }
            half = torch.float16 if dtype is torch.int8 else dtype
            dtypes = {name: value.dtype for name, value in mlp.named_parameters()}
            assert {dtypes.pop("inter_w"), dtypes.pop("output_w")} == {dtype}
            assert set(dtypes.values()) == {half}
            assert not any(value.requires_grad for value in mlp.parameters())
            assert mlp.intm_w_sz_per_partition == width and mlp.intm_o_sz_per_partition == 24
    assert tuple(DeepSpeedMLP(support.config(hidden=4, inner=-1)).inter_w.shape) == (4, 16)


@pytest.fixture
def merges(monkeypatch):
    """How often up and gate were merged."""
    from postlude.compat.deepspeed import weights

    calls, merge = [], weights.merge
    monkeypatch.setattr(weights, "merge", lambda *args: calls.append(args) or merge(*args))
    return calls


def empty_with_halves(config, device):
    """A module with set_empty_params, up and gate apart, and its case."""
    mlp = module(config, device)
    assert list(mlp.parameters()) == []
    case = support.case(config, mlp, (2, 3), device)
    names = {"up": (mlp.inter_w, mlp.inter_b, 0), "gate": (mlp.inter_w, mlp.inter_b, 1)}
    rows_first = config.transposed_mode or config.dtype is torch.int8
    for name, (weight, bias, half) in names.items():
        part = weight.chunk(2, 0 if rows_first else 1)[half].clone()
        part = torch.nn.Parameter(part, requires_grad=False)
        if hasattr(weight, "scale"):
            part.scale = weight.scale.chunk(2)[half].clone()
        setattr(mlp, f"inter_{name}_w", part)
        bias = torch.nn.Parameter(bias.chunk(2)[half].clone(), requires_grad=False)
        setattr(mlp, f"inter_{name}_b", bias)
    mlp.inter_w = mlp.inter_b = None
    return mlp, case


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_up_and_gate_are_merged_once(norm, transposed, dtype, device, merges):
    config = support.config(
        dtype,
        norm=norm,
        act="GATED_SILU",
        transposed_mode=transposed,
        set_empty_params=True,
    )
    mlp, case = empty_with_halves(config, device)
    other, other_case = empty_with_halves(config, device)
    for _ in range(3):
        case.check(mlp)
        other_case.check(other)
    assert len(merges) == 2, "once an instance"
    assert mlp.packed_bytes > 0

    # A replaced parameter, and one that is written in place, are seen.
    swapped = torch.nn.Parameter(mlp.inter_up_w.detach().clone(), requires_grad=False)
    if dtype is torch.int8:
        swapped.scale = mlp.inter_up_w.scale
    mlp.inter_up_w = swapped
    case.check(mlp)
    assert len(merges) == 3
    mlp.output_b.zero_()
    case.exact_weights["output_b"].zero_()
    case.eager_weights["output_b"].zero_()
    case.check(mlp)
    other_case.check(other)
    assert len(merges) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8], ids=str)
def test_replaced_parameters_and_settings_are_seen(dtype, device):
    config = support.config(dtype, norm="layer", act="GELU")
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    before = case.check(mlp)
    w2 = support.stored(config, 96, 384, device)
    mlp.output_w = w2.parameter
    case.exact_weights["output_w"], case.eager_weights["output_w"] = w2.exact, w2.eager
    assert not torch.equal(case.check(mlp), before)
    if dtype is torch.int8:
        mlp.output_w.scale = mlp.output_w.scale * 2
        case.exact_weights["output_w"] = w2.exact * 2
        case.eager_weights["output_w"] = w2.eager * 2
        case.check(mlp)
    for name, value in (("epsilon", 0.5), ("mlp_after_attn", False), ("pre_layer_norm", False)):
        setattr(config, name, value)
        case.check(mlp)
    config.mlp_act_func_type = support.ActivationFuncType.ReLU
    case.check(mlp)
    mlp.attn_nw = None
    case.exact_weights["attn_nw"] = case.eager_weights["attn_nw"] = None
    case.check(mlp)


def test_plain_tensors_may_be_assigned(device):
    """set_empty_params leaves plain attributes, as DeepSpeed does."""
    config = support.config(set_empty_params=True, transposed_mode=True)
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    mlp.output_w = None
    del mlp.output_w
    mlp.output_w = case.eager_weights["output_w"].t().contiguous()
    case.check(mlp)
    mlp.output_w = mlp.output_w * 2
    for weights in (case.exact_weights, case.eager_weights):
        weights["output_w"] = weights["output_w"] * 2
    case.check(mlp)
    mlp.output_w.mul_(0.5)
    for weights in (case.exact_weights, case.eager_weights):
        weights["output_w"] = weights["output_w"] / 2
    case.check(mlp)


def test_state_dict_copies_and_pickles(device):
    config = support.config(act="GATED_GELU")
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    y = case.check(mlp)
    assert set(mlp.state_dict()) == {
        *("attn_nw", "attn_nb", "inter_w", "inter_b", "output_w", "output_b")
    }
    fresh = module(config, device)
    fresh.load_state_dict(mlp.state_dict())
    stream = io.BytesIO()
    torch.save(mlp, stream)
    stream.seek(0)
    for other in (fresh, copy.deepcopy(mlp), torch.load(stream, weights_only=False)):
        assert cases.same_bits(case.check(other), y)


def test_batch_invariant(device):
    config = support.config(torch.bfloat16)
    mlp = module(config, device)
    case = support.case(config, mlp, (70,), device)
    mlp.batch_invariant = True
    y = case.check(mlp)
    for rows in (1, 7):
        inputs = [t[:rows].clone() for t in (case.a, case.r, case.normed)]
        assert cases.same_bits(mlp(*inputs, case.ba), y[:rows])


def test_without_attention_bias_nothing_is_added_twice(device):
    """DeepSpeed then passes output_b as the attention's bias too, and its kernel adds both."""
    for norm in ("layer", "rms"):
        config = support.config(norm=norm)
        mlp = module(config, device)
        case = support.case(config, mlp, (5,), device)
        case.ba = None
        case.check(mlp)


def test_rms_norm_counts_the_attention_once(device):
    """DeepSpeed's kernel adds the attention to the residual in place, and its sum adds it again."""
    config = support.config(norm="rms", act="GATED_SILU")
    mlp = module(config, device)
    case = support.case(config, mlp, (5,), device, biases=False)
    mlp.output_w.zero_()
    residual = case.r.clone()
    y = mlp(case.a, residual, None, None)
    assert torch.equal(y, case.r + case.a) and torch.equal(residual, y)


def test_errors_name_op_and_argument(device):
    config = support.config(hidden=8, inner=4)
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    a, r, ba = case.a, case.r, case.ba

    def refused(pattern, *arguments, error=ValueError):
        with pytest.raises(error, match=pattern):
            mlp(*arguments)

    refused(r"\[DeepSpeedMLP\] input: expected torch.float32, as config", a.half(), r, None, ba)
    refused(r"\[DeepSpeedMLP\] residual: expected shape \(3, 8\)", a, r[:2], None, ba)
    refused(r"\[DeepSpeedMLP\] bias: expected shape \(8,\)", a, r, None, ba[:3])
    refused(r"\[DeepSpeedMLP\] input: expected a torch tensor", None, r, None, ba, error=TypeError)
    mlp.attn_nw = None
    refused(r"\[DeepSpeedMLP\] residual_norm: expected a torch", a, r, None, ba, error=TypeError)
    mlp.attn_nw = torch.nn.Parameter(torch.ones(3, device=device), requires_grad=False)
    refused(r"\[DeepSpeedMLP\] attn_nw: expected shape \(8,\), got \(3,\)", a, r, None, ba)
    mlp.attn_nw = torch.nn.Parameter(torch.ones(8, device=device), requires_grad=False)
    config.mlp_act_func_type = support.ActivationFuncType.UNKNOWN
    refused(r"\[DeepSpeedMLP\] config.mlp_act_func_type: expected one of .*GELU", a, r, None, ba)
    config.mlp_act_func_type = support.ActivationFuncType.GATED_GELU
    refused(r"\[DeepSpeedMLP\] output_w: expected shape \(out, in\) with in = 2", a, r, None, ba)
    config.mlp_act_func_type = support.ActivationFuncType.GELU
    config.norm_type = support.NormType.GroupNorm
    refused(r"\[DeepSpeedMLP\] config.norm_type: .*got <NormType.GroupNorm", a, r, None, ba)
    config.norm_type = support.NormType.LayerNorm
    mlp.inter_w = None
    refused(r"\[DeepSpeedMLP\] inter_w: expected a weight, or inter_up_w and", a, r, None, ba)
    halves = torch.ones(2, 4, 8, device=device)
    mlp.inter_up_w, mlp.inter_gate_w = (torch.nn.Parameter(half, False) for half in halves)
    mlp.inter_up_b = torch.nn.Parameter(torch.ones(4, device=device), False)
    words = "expected a bias just where inter_up_b is one, got NoneType beside Parameter$"
    refused(rf"\[DeepSpeedMLP\] inter_gate_b: {words}", a, r, None, ba)
    with pytest.raises(ValueError, match=r"\[DeepSpeedMLP\] config.mp_size: expected a divisor"):
        DeepSpeedMLP(support.config(inner=6, mp_size=4))
    with pytest.raises(ValueError, match=r"\[DeepSpeedMLP\] merge_count: expected a power of 2"):
        DeepSpeedMLP(config, merge_count=3)
    with pytest.raises(ValueError, match=r"\[DeepSpeedMLP\] config.hidden_size: expected at least"):
        DeepSpeedMLP(support.config(hidden=-1, inner=4))


def test_a_failed_call_writes_nothing(device):
    config = support.config(hidden=8, inner=4, norm="rms")
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    mlp.output_w = torch.nn.Parameter(vector(config, 4, device), requires_grad=False)
    a, r = case.a.clone(), case.r.clone()
    with pytest.raises(ValueError, match=r"\[DeepSpeedMLP\] output_w: expected 2 dimensions"):
        mlp(a, r, None, case.ba)
    assert torch.equal(a, case.a) and torch.equal(r, case.r)


def test_strict_forbids_the_fallback(device, monkeypatch, caplog):
    config = support.config(hidden=8, inner=4)
    mlp = module(config, device)
    case = support.case(config, mlp, (3,), device)
    monkeypatch.setattr(Parameters, "kernels", support.Refusing())
    monkeypatch.setattr("postlude.compat.deepspeed.dispatch._LOGGED", set())
    monkeypatch.setenv("POSTLUDE_STRICT", "1")
    with pytest.raises(postlude.Unsupported, match="no kernel"):
        case.check(mlp)
    monkeypatch.setenv("POSTLUDE_STRICT", "0")
    case.check(mlp)
    case.check(mlp)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith("DeepSpeedMLP: PyTorch computes it")


def test_other_devices_are_computed_by_pytorch():
    config = support.config(hidden=8, inner=4, norm="rms", act="GATED_SILU")
    mlp = DeepSpeedMLP(config).to("meta")
    a, r = torch.empty(2, 3, 8, device="meta"), torch.empty(2, 3, 8, device="meta")
    y = mlp(a, r, None, None)
    assert y.shape == (2, 3, 8) and y.device.type == "meta"
