"""What the LARS op refuses, and which device its scalars go to."""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import mflag
import mflag.ops.lars
import mflag.ops.lars_backends
from mflag.errors import InputError
from mflag.ops import lars_step_
from mflag.ops.lars_backends import scalar_on

BACKENDS = [name for name in ("reference", "cpu") if mflag.backends()[name] is True]


def lists(device="cpu"):
    return [[torch.ones(3, 4, device=device), torch.ones(5, device=device)] for _ in range(3)]


def flags(*tensors):
    """A flag that fits, and one that may not."""
    return {"dampening": 0.5, "started": [torch.zeros(()), *tensors]}


@pytest.mark.parametrize(
    "options, message",
    [
        (flags(torch.tensor(False)), r"started\[1\] is torch.bool of shape \(\); give"),
        (flags(torch.tensor(0)), r"started\[1\] is torch.int64 of shape \(\); give"),
        (flags(torch.zeros(0)), r"started\[1\] is torch.float32 of shape \(0,\); give"),
        (flags(torch.zeros(2)), r"started\[1\] is torch.float32 of shape \(2,\); give"),
        (flags(), "started has 1 flags; give 2"),
        (flags(torch.zeros((), device="meta")), r"started\[1\] is on meta; give it on cpu"),
        ({"lr": -0.1}, "lr is -0.1; give 0 or more"),
        ({"lr": float("nan")}, "lr is nan; give 0 or more"),
        ({"lr": torch.tensor(-1.0)}, "lr is -1.0; give 0 or more"),
        ({"lr": torch.tensor(float("nan"))}, "lr is nan; give 0 or more"),
        ({"lr": torch.ones(2)}, r"lr has shape \(2,\); give a tensor of one element"),
        ({"grad_scale": torch.ones(2)}, r"grad_scale has shape \(2,\); give"),
        ({"found_inf": torch.ones(0)}, r"found_inf has shape \(0,\); give"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_scalar_is_named_and_nothing_is_written(backend, options, message):
    w, g, m = lists()
    with pytest.raises(InputError, match=message):
        lars_step_(w, g, m, **{"lr": 0.1, "backend": backend, **options})
    assert all(torch.equal(x, torch.ones_like(x)) for x in w + m)


@pytest.mark.parametrize(
    "place, change, message",
    [
        (1, torch.Tensor.to_sparse, r"grads\[1\] is torch.sparse_coo; give a dense tensor"),
        (2, torch.Tensor.to_sparse, r"momentum_buffers\[1\] is torch.sparse_coo; give"),
        (1, lambda x: x * 1j, r"grads\[1\] is torch.complex64; give real floats"),
        (0, torch.Tensor.long, r"params\[1\] is torch.int64; give real floats"),
        (2, torch.Tensor.long, r"momentum_buffers\[1\] is torch.int64; give real floats"),
        (1, lambda x: x.to("meta"), r"grads\[1\] is on meta; give it on cpu, as its weight"),
        (2, lambda x: x.to("meta"), r"momentum_buffers\[1\] is on meta; give it on cpu"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_tensor_is_named_and_nothing_is_written(backend, place, change, message):
    given = lists()
    given[place][1] = change(given[place][1])
    with pytest.raises(InputError, match=message):
        lars_step_(*given, lr=0.1, backend=backend)
    assert torch.equal(given[0][0], torch.ones(3, 4))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flag_of_one_element_in_one_dimension_is_taken(backend):
    w, g, m = ([x[0, 0] for x in tensors[:1]] for tensors in lists())
    started = [torch.zeros(1)]
    lars_step_(w, g, m, lr=0.5, momentum=0.5, dampening=0.5, started=started, backend=backend)
    assert (w[0].item(), started[0].item()) == (0.25, 1.0)


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the native library was not built")
def test_a_kernel_that_refuses_checked_tensors_is_an_error(monkeypatch):
    for module in (mflag.ops.lars, mflag.ops.lars_backends):
        monkeypatch.setattr(module, "native", lambda *_: False)
    with pytest.raises(RuntimeError, match="backend 'cpu' refused tensors"):
        lars_step_(*lists(), lr=0.1, backend="cpu")


class Copies(TorchFunctionMode):
    """Notes ``non_blocking`` of every ``Tensor.to``."""

    def __init__(self):
        self.non_blocking = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.to:
            self.non_blocking.append(kwargs.get("non_blocking", False))
        return func(*args, **kwargs)


def test_copies_of_scalars_to_the_host_wait():
    with Copies() as copies:
        scalar_on(torch.tensor(0.1), torch.device("cpu"))
    assert copies.non_blocking == [False]


class Learning(TorchDispatchMode):
    """Notes the device of the op's learning rate."""

    def __init__(self):
        super().__init__()
        self.devices: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.mflag.lars_step_.default:
            self.devices.append(args[4].device.type)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_number_as_learning_rate_is_born_on_the_weights_device(device):
    with Learning() as learning:
        lars_step_(*lists(device), lr=0.1)
    assert learning.devices == [device]


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_a_compiled_step_is_the_eager_one(lr):
    def step(w, g, m):
        lars_step_(w, g, m, lr=lr, weight_decay=0.1)

    eager, compiled = lists(), lists()
    step(*eager)
    torch.compile(step, fullgraph=True, backend="aot_eager")(*compiled)
    assert all(torch.equal(x, y) for x, y in zip(eager[0], compiled[0], strict=True))


def test_the_native_op_refuses_what_it_cannot_read():
    if "cpu" not in BACKENDS:
        pytest.skip("the native library was not built")
    w, g, m = lists()
    numbers: tuple[Any, ...] = (
        0.9, 0.0, 0.0, False, 1e-3, 0.0, 0, True, False, False, 0, False, False, False,
    )  # fmt: skip
    native = torch.ops.mflag_native.lars_step_
    lr = torch.tensor(0.1, dtype=torch.float64)
    calls = [
        (w, g, m, [torch.tensor(False)] * 2, lr),
        (w, g, m, [torch.zeros(())], lr),
        (w, g, m, [torch.zeros(0)] * 2, lr),
        (w, g[:1], m, [], lr),
        (w, g, m[:1], [], lr),
        (w, g, [], [], lr),
        (w, g, m, [], lr.float()),
    ]
    assert not any(native(*tensors, None, None, *numbers) for tensors in calls)
