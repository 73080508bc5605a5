"""What the tests of postlude.jax share: torch tensors as JAX arrays and back, on either device."""

import dataclasses

import jax
import numpy as np
import torch

from postlude import LayerNorm, RMSNorm, reference


def on(device):
    """JAX's first device of that kind."""
    return jax.devices(device)[0]


def to_jax(value, device="cpu"):
    """A tensor, or those in a norm, as arrays on the device; anything else as it is."""
    if isinstance(value, LayerNorm | RMSNorm):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value)(**{name: to_jax(part, device) for name, part in fields.items()})
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype == torch.bfloat16:
        array = value.view(torch.int16).numpy().view(jax.numpy.bfloat16)
    else:
        array = value.numpy()
    return jax.device_put(array, on(device))


def to_torch(value):
    """An array, or a tuple of them, as tensors on the CPU."""
    if isinstance(value, tuple):
        return tuple(map(to_torch, value))
    array = np.array(value)
    if array.dtype == jax.numpy.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def expected(op):
    """The function of postlude.reference."""
    return getattr(reference, op)


def called(function, args, kwargs, device):
    """function of the arguments as JAX arrays, as torch tensors."""
    args = [to_jax(value, device) for value in args]
    kwargs = {name: to_jax(value, device) for name, value in kwargs.items()}
    return to_torch(function(*args, **kwargs))
