"""postlude.nn: when a layer binds again, and bound layers in copies, threads and captures."""

import copy
import pickle
import threading

import pytest
import torch
from cases import DTYPES, EPS

from postlude import nn, ops


def change_in_place(module):
    module.fc1.weight.mul_(-1.0)


def change_norm(module):
    module.norm.weight.mul_(-1.0)


def replace_parameter(module):
    module.fc2.weight = torch.nn.Parameter(-module.fc2.weight, requires_grad=False)


def replace_data(module):
    module.fc1.bias.data = -module.fc1.bias.data


def remove_bias(module):
    module.fc2.bias = None


def replace_child(module):
    module.fc1 = torch.nn.Linear(16, 24).requires_grad_(False)


def load(module):
    module.load_state_dict({key: -value for key, value in module.state_dict().items()})


def load_assigning(module):
    module.load_state_dict({key: -value for key, value in module.state_dict().items()}, assign=True)


CHANGES = [
    change_in_place,
    change_norm,
    replace_parameter,
    replace_data,
    remove_bias,
    replace_child,
    load,
    load_assigning,
]


def post_norm_mlp():
    return nn.MLP(16, 24, activation="gelu", norm="layer", eps=EPS, norm_position="post")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("make", [post_norm_mlp])
def test_a_changed_parameter_is_bound_again(change, make):
    module, x = make(), torch.randn(3, 16)
    before = module(x)
    change(module)
    fresh = make()
    fresh.fc2.bias = copy.deepcopy(module.fc2.bias)
    fresh.load_state_dict(module.state_dict())
    after = module(x)
    assert not torch.equal(after, before)
    assert torch.equal(after, fresh(x))


def test_unchanged_parameters_are_bound_once(monkeypatch):
    module, made = nn.MLP(16, 24, activation="gelu"), []
    make = module._make
    monkeypatch.setattr(module, "_make", lambda: made.append(1) or make())
    for _ in range(3):
        module(torch.randn(2, 16))
    assert len(made) == 1
    module.refresh()
    module(torch.randn(2, 16))
    assert len(made) == 2


def test_a_write_through_data_needs_refresh():
    module, x = nn.Linear(16, 8, bias=False), torch.randn(3, 16)
    module(x)
    module.weight.data.zero_()
    module.refresh()
    assert torch.equal(module(x), torch.zeros(3, 8))


def test_other_dtype_and_back_is_not_mistaken_for_unchanged():
    module, x = nn.Linear(64, 64, bias=False), torch.randn(3, 64)
    module(x)
    rounded = copy.deepcopy(module)
    rounded.weight.copy_(module.weight.bfloat16())
    module.to(torch.bfloat16).to(torch.float32)
    assert torch.equal(module(x), rounded(x))


def test_children_moved_alone_are_not_mistaken_for_unchanged():
    x, fresh = torch.randn(3, 64), nn.MLP(64, 64, activation="relu", bias=False)
    for _ in range(30):  # whether a new weight gets an old one's address is up to the allocator
        module = nn.MLP(64, 64, activation="relu", bias=False)
        module(x)
        for child in (module.fc1, module.fc2):
            child.to(torch.bfloat16).to(torch.float32)
        fresh.load_state_dict(module.state_dict())
        assert torch.equal(module(x), fresh(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_another_dtype(dtype):
    module, x = nn.MLP(16, 24, activation="gelu"), torch.randn(3, 16)
    module(x)
    module.to(dtype)
    fresh = nn.MLP(16, 24, activation="gelu", dtype=dtype)
    fresh.load_state_dict(module.state_dict())
    assert module(x.to(dtype)).dtype == dtype
    assert torch.equal(module(x.to(dtype)), fresh(x.to(dtype)))


def test_inference_tensors():
    with torch.inference_mode():
        module, x = nn.MLP(16, 24, activation="gelu"), torch.randn(3, 16)
        first = module(x)
        assert torch.equal(module(x), first)
        module.fc1 = torch.nn.Linear(16, 24)
        assert not torch.equal(module(x), first)
    with torch.no_grad():
        module(x)


def test_batch_invariant_rows_do_not_depend_on_the_batch():
    module = nn.MLP(64, 96, activation="gelu", norm="layer", eps=EPS, batch_invariant=True)
    assert module.batch_invariant
    x = torch.randn(37, 64)
    together = module(x)
    for row in (0, 17, 36):
        assert torch.equal(module(x[row : row + 1])[0], together[row])


def test_batch_invariant_can_be_set_later():
    module, x = nn.Linear(16, 8), torch.randn(3, 16)
    module(x)
    module.batch_invariant = True
    assert torch.equal(module(x)[:1], module(x[:1]))
    assert copy.deepcopy(module).batch_invariant


@pytest.mark.parametrize("made", [nn.Linear, nn.MLP, nn.QKV], ids=lambda kind: kind.__name__)
def test_options_reach_the_bound_op(made, monkeypatch):
    bound = {nn.Linear: "Linear", nn.MLP: "Mlp", nn.QKV: "Qkv"}[made]
    original, seen = getattr(ops, bound), []

    def spy(*args, **kwargs):
        options = ("batch_invariant", "weights_static", "allow_tf32")
        seen.append(tuple(kwargs[name] for name in options))
        return original(*args, **kwargs)

    monkeypatch.setattr(ops, bound, spy)
    sizes = {nn.Linear: (16, 8), nn.MLP: (16, 24), nn.QKV: (16, 2)}[made]
    options = {"activation": "gelu"} if made is nn.MLP else {}
    module, x = made(*sizes, **options), torch.randn(3, 16)
    call = module.merged if made is nn.QKV else module
    assert module.weights_static and not module.batch_invariant and not module.allow_tf32
    y = call(x)
    module.weights_static = False
    assert not module.weights_static and not copy.deepcopy(module).weights_static
    assert torch.equal(call(x), y)
    assert torch.equal(call(x), y)
    module.allow_tf32 = True
    assert module.allow_tf32 and copy.deepcopy(module).allow_tf32
    assert torch.equal(call(x), y)
    assert seen == [(False, True, False), (False, False, False), (False, False, True)]
    options |= {"batch_invariant": True, "weights_static": False, "allow_tf32": True}
    other = made(*sizes, **options)
    (other.merged if made is nn.QKV else other)(x)
    assert seen[-1] == (True, False, True)


def test_deepcopy_and_pickle():
    module, x = nn.QKV(16, 2, norm="layer", eps=EPS), torch.randn(3, 16)
    expected = module.merged(x)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.merged(x), expected)
        twin.q.weight.zero_()
        twin.merged(x)
    assert torch.equal(module.merged(x), expected)
    state = pickle.loads(pickle.dumps(module.state_dict()))
    fresh = nn.QKV(16, 2, norm="layer", eps=EPS)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.merged(x), expected)


def test_threads_share_a_module():
    module = nn.MLP(32, 64, activation="gelu", norm="rms", eps=EPS)
    inputs = [torch.randn(4, 32) for _ in range(8)]
    expected = [copy.deepcopy(module)(x) for x in inputs]
    results = [None] * len(inputs)

    def work(i):
        with torch.inference_mode():
            results[i] = [module(inputs[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, y in zip(results, expected, strict=True):
        assert all(torch.equal(each, y) for each in result)


def test_binding_inside_a_graph_capture_is_an_error(monkeypatch):
    module, x = nn.Linear(16, 8), torch.randn(2, 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="CUDA graph capture"):
        module(x)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    y = module(x)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert torch.equal(module(x), y)
    module.weight.mul_(2)
    with pytest.raises(RuntimeError, match="a parameter changed"):
        module(x)
