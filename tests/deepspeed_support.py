"""What the tests of postlude.compat.deepspeed share: configs, stored weights, and inputs."""

import dataclasses
from typing import Any

import cases
import deepspeed_contract as contract
import torch
from cases import tensor

import postlude
from postlude import reference
from postlude.compat.deepspeed import ActivationFuncType, DeepSpeedInferenceConfig, NormType

NORMS = {"layer": NormType.LayerNorm, "rms": NormType.RMSNorm}
ACTS = ("GELU", "ReLU", "GATED_GELU", "GATED_SILU")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8)
# (pre_layer_norm, mlp_after_attn): pre-LN, post-LN, parallel.
FORMS = ((True, True), (False, True), (True, False))
# hidden size -> (intermediate size, leading dimensions)
SIZES = {
    384: (96, ((2, 7), (1, 1), (33,))),
    1600: (40, ((3, 5),)),
    2560: (24, ((1, 3, 3),)),
    14432: (16, ((5, 1),)),
}
EPS = 1e-5


class Refusing:
    """Kernels none of which runs anything: every call goes to PyTorch."""

    def __init__(self):
        self.asked = 0

    def __getattr__(self, function):
        def refuse(*args, **kwargs):
            self.asked += 1
            raise postlude.Unsupported(f"[{function}] no kernel")

        return refuse


def config(dtype=torch.float32, hidden=384, inner=96, norm="layer", act="GELU", **fields):
    """A config of these kinds, by the names of the contract."""
    return DeepSpeedInferenceConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        layer_norm_eps=EPS,
        dtype=dtype,
        norm_type=NORMS[norm],
        mlp_act_func_type=ActivationFuncType[act],
        **fields,
    )


def terms(config: DeepSpeedInferenceConfig) -> dict[str, Any]:
    """The config as the contract's transcription reads it."""
    return {
        "norm": "layer" if config.norm_type == NormType.LayerNorm else "rms",
        "act": config.mlp_act_func_type.name,
        "eps": config.epsilon,
        "mlp_after_attn": config.mlp_after_attn,
        "pre_layer_norm": config.pre_layer_norm,
        "mp_size": config.mp_size,
    }


def activations(config):
    """The dtype of activations."""
    return torch.float16 if config.dtype is torch.int8 else config.dtype


@dataclasses.dataclass
class Stored:
    """A weight as the layer stores it, and (in, out) in float64 and in the activations' dtype."""

    parameter: Any
    exact: torch.Tensor
    eager: torch.Tensor


def stored(config, inputs, outputs, device, groups=4):
    """A new random weight in the config's layout; int8 ones with their scales."""
    weight = cases.weight(outputs, inputs, activations(config), device)
    if config.dtype is torch.int8:
        values, scales = reference.quantize_weight(weight, groups=groups)
        return quantized(config, values, scales)
    parameter = weight if config.transposed_mode else weight.t().contiguous()
    parameter = torch.nn.Parameter(parameter, requires_grad=False)
    return Stored(parameter, weight.double().t(), weight.t())


def quantized(config, values, scales):
    """An int8 weight (out, in) with these scales as its attribute."""
    parameter = torch.nn.Parameter(values, requires_grad=False)
    parameter.scale = scales
    exact = reference.dequantize(reference.QuantizedWeight(values, scales), torch.float64).t()
    return Stored(parameter, exact, exact.to(activations(config)))


def vector(config, size, device, mean=0.0):
    """A bias, or with mean 1 a norm's weight."""
    return tensor(size, dtype=activations(config), device=device, scale=0.2) + mean


def rows(config, leading, size, device):
    """Activations (*leading, size)."""
    return tensor(*leading, size, dtype=activations(config), device=device)


def double(value):
    """Tensors, also inside a dict or a tuple, in float64."""
    if isinstance(value, dict):
        return {name: double(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(double, value))
    return value.double() if isinstance(value, torch.Tensor) else value


def assert_owned(*results, inputs=()):
    """Results share no memory with each other or with the inputs."""
    memories = [t.untyped_storage().data_ptr() for t in (*results, *inputs) if t is not None]
    memories = [pointer for pointer in memories if pointer]
    assert len(set(memories)) == len(memories)


def mlp_width(config, inner):
    """The outputs of W1."""
    return inner * (2 if config.mlp_act_func_type.name.startswith("GATED") else 1)


@dataclasses.dataclass
class Case:
    """Inputs of DeepSpeedMLP, its parameters, and what the contract says of them."""

    config: DeepSpeedInferenceConfig
    a: torch.Tensor
    r: torch.Tensor
    normed: torch.Tensor
    ba: torch.Tensor | None
    exact_weights: dict[str, Any]
    eager_weights: dict[str, Any]

    def expected(self):
        """(y, input afterwards, residual afterwards), exact."""
        inputs = double((self.a, self.r, self.normed, self.ba))
        return contract.mlp(terms(self.config), self.exact_weights, *inputs)

    def eager(self):
        """The same in the activations' dtype."""
        inputs = (self.a, self.r, self.normed, self.ba)
        return contract.mlp(terms(self.config), self.eager_weights, *inputs)

    def run(self, mlp):
        """(y, input afterwards, residual afterwards) of a module, on copies of the inputs."""
        a, r = self.a.clone(), self.r.clone()
        return mlp(a, r, self.normed, self.ba), a, r

    def check(self, mlp):
        """The module computes what the contract says, and writes where it says."""
        actual = self.run(mlp)
        for ours, exact, eager in zip(actual, self.expected(), self.eager(), strict=True):
            cases.assert_accurate(ours, exact, eager)
        before = (self.a, self.r)
        if self.config.norm_type == NormType.LayerNorm or self.eager_weights["attn_nw"] is None:
            assert all(map(cases.same_bits, actual[1:], before))
        assert_owned(*actual, inputs=before)
        return actual[0]


def case(config, mlp, leading, device, *, norm=True, biases=True, groups=4):
    """Random parameters put into the module, and random inputs."""
    hidden, inner = config.hidden_size, mlp.intm_o_sz_per_partition
    w1 = stored(config, hidden, mlp.intm_w_sz_per_partition, device, groups)
    w2 = stored(config, inner, hidden, device, groups)
    weights = {
        "attn_nw": vector(config, hidden, device, 1.0) if norm else None,
        "attn_nb": vector(config, hidden, device) if norm else None,
        "inter_b": vector(config, mlp.intm_w_sz_per_partition, device) if biases else None,
        "output_b": vector(config, hidden, device) if biases else None,
    }
    for name, value in weights.items():
        parameter = None if value is None else torch.nn.Parameter(value, requires_grad=False)
        setattr(mlp, name, parameter)
    mlp.inter_w, mlp.output_w = w1.parameter, w2.parameter
    a, r, normed = (rows(config, leading, hidden, device) for _ in range(3))
    ba = vector(config, hidden, device) if biases else None
    exact = {**double(weights), "inter_w": w1.exact, "output_w": w2.exact}
    eager = {**weights, "inter_w": w1.eager, "output_w": w2.eager}
    return Case(config, a, r, normed, ba, exact, eager)
