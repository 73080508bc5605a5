"""Many threads at once: two models interleaved give each thread the bits that it gets alone."""

import gc
import resource
import threading
import time

import cases
import pytest
import torch
from cases import EPS, tensor

import postlude
from postlude import LayerNorm, RMSNorm, ops


def run_all(functions):
    """Each function in a thread of its own, all started together; their results, or the first
    error."""
    start, results = threading.Barrier(len(functions)), [None] * len(functions)

    def run(index):
        try:
            start.wait(timeout=60)
            results[index] = functions[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def model(hidden, inner, dtype, device):
    """A small stack of bound ops as a function of x (*, hidden)."""
    v = tensor(hidden, dtype=dtype, device=device, scale=0.1) + 1
    qkv = ops.Qkv(cases.weight(3 * hidden, hidden, dtype, device), norm=RMSNorm(v, EPS))
    first = ops.Linear(cases.weight(hidden, 3 * hidden, dtype, device), v, activation="gelu")
    mlp = ops.Mlp(
        cases.weight(2 * inner, hidden, dtype, device),
        cases.weight(hidden, inner, dtype, device),
        activation="silu",
        gated=True,
        norm=LayerNorm(v, v, EPS),
    )
    return lambda x: mlp(first(qkv(x), x))


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_two_models_on_eight_threads(dtype, device):
    models = [model(96, 160, dtype, device), model(65, 33, dtype, device)]
    jobs = []
    for index in range(8):
        hidden = (96, 65)[index % 2]
        inputs = [
            tensor(rows, hidden, dtype=dtype, device=device) for rows in (1, 7 + index, 40, 3, 1)
        ]
        jobs.append((models[index % 2], inputs))
    alone = [[function(x) for x in inputs] for function, inputs in jobs]

    def job(function, inputs):
        return lambda: [[function(x) for x in inputs] for _ in range(5)]

    for expected, repeats in zip(alone, run_all([job(*pair) for pair in jobs]), strict=True):
        for result in repeats:
            for ours, want in zip(result, expected, strict=True):
                assert cases.same_bits(ours, want)


def test_one_op_called_and_cleared_by_all(device):
    op = model(96, 160, torch.float32, device)
    inputs = [tensor(rows, 96, device=device) for rows in (1, 50, 130)]
    expected = [op(x) for x in inputs]

    def call():
        for _ in range(20):
            for x, want in zip(inputs, expected, strict=True):
                assert cases.same_bits(op(x), want)

    def clear():
        for _ in range(200):
            postlude.clear_workspaces()

    run_all([call, call, call, clear, clear])


def resident_bytes():
    """Memory of this process that is in RAM."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_clear_workspaces_frees_what_idle_threads_keep():
    x, weight = tensor(2048, 64), cases.weight(4096, 64, torch.float32)
    back = cases.weight(64, 4096, torch.float32)
    workspace = 2048 * 4096 * 4  # at least: the whole intermediate tensor
    done, leave = threading.Event(), threading.Event()

    def idle():
        before = ops.mlp(x, weight, back, activation="relu")
        done.set()
        leave.wait(timeout=60)
        return before, ops.mlp(x, weight, back, activation="relu")

    def clear():
        done.wait(timeout=60)
        held = resident_bytes()
        postlude.clear_workspaces()
        freed = held - resident_bytes()
        leave.set()
        return freed

    (before, after), freed = run_all([idle, clear])
    assert cases.same_bits(before, after)
    assert freed > 0.9 * workspace


def test_binding_in_threads(device):
    weight, x = cases.weight(70, 50, torch.float32, device), tensor(9, 50, device=device)
    expected = ops.Linear(weight)(x)

    def bind():
        results = []
        for _ in range(10):
            results.append(ops.Linear(weight.clone())(x))
            gc.collect(0)
        return results

    for results in run_all([bind] * 6):
        for result in results:
            assert cases.same_bits(result, expected)


def test_other_threads_run_while_an_op_does():
    weight, ticks, stop = cases.weight(1024, 1024, torch.float32), [], threading.Event()

    def tick():
        while not stop.wait(0.0005):
            ticks.append(None)

    def compute():
        try:
            rows, seconds, meanwhile = 2048, 0.0, 0
            while seconds < 0.02 and rows < 65536:  # long enough for many ticks on any machine
                rows *= 2
                x, out = tensor(rows, 1024), torch.empty(rows, 1024)
                ops.linear(x, weight, out=out)
                before, start = len(ticks), time.perf_counter()
                ops.linear(x, weight, out=out)
                seconds, meanwhile = time.perf_counter() - start, len(ticks) - before
            return meanwhile
        finally:
            stop.set()

    _, meanwhile = run_all([tick, compute])
    assert meanwhile >= 3, "the interpreter lock was held during the product"
