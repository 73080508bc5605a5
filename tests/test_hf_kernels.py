"""The layers for Hugging Face's package kernels: put in as that package does it, without a hub."""

import inspect
import sys
from types import MethodType

import pytest
import torch
from cases import assert_accurate
from tiny_models import llama, run, tokens

import postlude
from postlude.optimize import hf_kernels


def norms(model):
    return [module for module in model.modules() if type(module).__name__ == "LlamaRMSNorm"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_layer_in_place_of_a_norm(dtype, device):
    norm = norms(llama())[0].to(device, dtype)
    x = torch.randn(3, 5, 32, device=device).to(dtype)
    with torch.inference_mode():
        eager, exact = norm(x), norm.double()(x.double())
        norm.to(dtype).forward = MethodType(hf_kernels.RMSNorm.forward, norm)
        assert_accurate(norm(x), exact, eager)
        assert norm(x[:, :0]).shape == (3, 0, 32)
        assert_accurate(norm(x[::2, 1::3]), exact[::2, 1::3], eager[::2, 1::3])


def test_the_layer_is_what_the_package_accepts():
    """It makes no members beside those of a module, and takes what the norm takes."""
    layer, original = hf_kernels.RMSNorm, type(norms(llama())[0])
    assert layer.__init__ is torch.nn.Module.__init__
    more = {name for name, _ in inspect.getmembers(layer)}
    more -= {name for name, _ in inspect.getmembers(torch.nn.Module)}
    assert more == {"can_torch_compile", "has_backward"}
    expected = inspect.signature(original.forward).parameters
    assert list(inspect.signature(layer.forward).parameters) == list(expected)


@pytest.mark.filterwarnings("ignore:.*No kernel mapping found")  # for the rotation
def test_kernelize(monkeypatch):
    """A whole model, before and after it is optimised: the norms that are left are ours."""
    kernels = pytest.importorskip("kernels")
    model, ids = llama(), tokens()
    plain = run(model, ids)
    monkeypatch.setattr(type(norms(model)[0]), "kernel_layer_name", "RMSNorm", raising=False)
    for optimized in (False, True):
        model = llama()
        if optimized:
            postlude.optimize(model, strict=True)
        with kernels.use_kernel_mapping(hf_kernels.mapping(), inherit_mapping=False):
            kernels.kernelize(model, mode=kernels.Mode.INFERENCE, device="cpu")
        assert all(each.forward.__func__ is hf_kernels.RMSNorm.forward for each in norms(model))
        torch.testing.assert_close(run(model, ids), plain, rtol=1e-4, atol=1e-5)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "kernels", None)
    with pytest.raises(ImportError, match="kernels"):
        hf_kernels.mapping()
