"""What torch users expect of an optimizer, clause by clause."""

import copy
from typing import Any

import pytest
import torch

import mflag
from mflag.errors import InputError
from mflag.optim import LARS

BACKENDS = [name for name in ("reference", "foreach", "cpu") if mflag.backends()[name] is True]


def make_params(dtype=torch.float32, shapes=((6, 4), (4,), (3, 4, 3, 3))):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def train(optimizer, steps):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()
    return [p.detach().clone() for p in params]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tensor_learning_rate_written_in_place_is_read_at_each_step(backend):
    lr = torch.tensor(0.5, dtype=torch.float64)
    optimizer = LARS(make_params(), lr=lr, weight_decay=0.1, backend=backend)
    twin = LARS(make_params(), lr=0.5, weight_decay=0.1, backend=backend)
    for step, value in enumerate((0.5, 0.25, 0.0)):
        lr.fill_(value)
        twin.param_groups[0]["lr"] = value
        assert equal(train(optimizer, [step]), train(twin, [step]))
    assert optimizer.param_groups[0]["lr"] is lr


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10),
    ],
    ids=["lambda", "cosine", "one_cycle"],
)
def test_schedulers_drive_a_tensor_learning_rate_as_a_number(make):
    results = []
    for lr in (0.1, torch.tensor(0.1, dtype=torch.float64)):
        optimizer = LARS(make_params(torch.float64), lr=lr, weight_decay=0.01)
        scheduler = make(optimizer)
        for step in range(4):
            after = train(optimizer, [step])
            scheduler.step()
        assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor) == isinstance(
            lr, torch.Tensor
        )
        results.append(after)
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)


def test_one_cycle_moves_the_momentum_that_the_step_uses():
    optimizer = LARS(make_params(), lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, max_momentum=0.7)
    expected = train(LARS(make_params(), lr=optimizer.param_groups[0]["lr"], momentum=0.7), [0, 1])
    assert equal(train(optimizer, [0, 1]), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_maximize_climbs_where_the_negated_gradient_descends(backend):
    up, down = (LARS(make_params(), 0.1, maximize=m, backend=backend) for m in (True, False))
    train(up, [])
    for optimizer, sign in ((up, 1), (down, -1)):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = sign * torch.ones_like(p)
        optimizer.step()
    assert equal(*(train(o, []) for o in (up, down)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_that_is_gone_leaves_weight_and_buffer_and_comes_back(backend):
    optimizer = LARS(make_params(), lr=0.1, dampening=0.5, weight_decay=0.1, backend=backend)
    train(optimizer, [0])
    first = optimizer.param_groups[0]["params"][0]
    before = first.detach().clone(), optimizer.state[first]["momentum_buffer"].clone()
    optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    assert equal(before, (first.detach(), optimizer.state[first]["momentum_buffer"]))
    twin = LARS(make_params(), lr=0.1, dampening=0.5, weight_decay=0.1, backend=backend)
    assert equal(train(optimizer, [1]), train(twin, [0, 1]))


def test_no_gradient_at_all_makes_no_state():
    optimizer = LARS([{"params": []}, {"params": make_params()}], lr=0.1)
    optimizer.step()
    assert not optimizer.state_dict()["state"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_dtypes_may_be_mixed_in_a_group(backend):
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1}
    params = [make_params(dtype)[0] for dtype in dtypes]
    if backend == "cpu":
        with pytest.raises(InputError, match="backend 'cpu' does not take these tensors"):
            train(LARS(params, backend="cpu", **options), [0])
        return
    generators = [torch.Generator().manual_seed(1) for _ in dtypes]
    for p, generator in zip(params, generators, strict=True):
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
    alone = copy.deepcopy(params)
    for p, q in zip(params, alone, strict=True):
        q.grad = p.grad
        LARS([q], backend=backend, **options).step()
    LARS(params, backend=backend, **options).step()
    assert equal([p.detach() for p in params], [q.detach() for q in alone])


@pytest.mark.parametrize("backend", ["reference", "foreach"])
def test_a_float32_gradient_of_a_bfloat16_weight_is_used_in_float32(backend):
    p = torch.nn.Parameter(torch.full((8, 8), 1.5, dtype=torch.bfloat16))
    g = torch.full((8, 8), 1 / 3)
    lars = LARS([p], lr=0.1, weight_decay=0.5, trust_coefficient=1.0, momentum=0.0, backend=backend)
    p.grad_dtype = torch.float32
    p.grad = g
    lars.step()
    q = 12 / (8 / 3 + 0.5 * 12)
    exact = torch.tensor(1.5 - 0.1 * q * (1 / 3 + 0.75)).to(torch.bfloat16)
    assert torch.equal(p.detach(), exact.expand(8, 8))


def test_cpu_and_meta_weights_in_one_group_are_refused_and_nothing_is_written():
    params = [*make_params()[:1], torch.nn.Parameter(torch.ones(3, device="meta"))]
    optimizer = LARS(params, lr=0.1)
    for p in params:
        p.grad = torch.ones_like(p)
    before = params[0].detach().clone()
    with pytest.raises(InputError, match="params are on cpu and meta; step those on meta apart"):
        optimizer.step()
    assert torch.equal(params[0].detach(), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_expanded_gradient_of_a_channels_last_weight(backend):
    plain, last = (make_params(shapes=((6, 4, 3, 3),)) for _ in range(2))
    last[0].data = last[0].data.contiguous(memory_format=torch.channels_last)
    for (p,), grad in (
        (plain, torch.full((6, 4, 3, 3), 0.5)),
        (last, torch.tensor(0.5).expand(6, 4, 3, 3)),
    ):
        p.grad = grad
        LARS([p], lr=0.1, weight_decay=0.1, backend=backend).step()
    torch.testing.assert_close(last[0].detach(), plain[0].detach())
    assert last[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", BACKENDS)
def test_buffers_of_a_skipped_first_step_stay_zero(backend):
    params = make_params()
    optimizer = LARS(params, lr=0.1, dampening=0.5, backend=backend)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    for p in params:
        p.grad = torch.full_like(p, torch.inf)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0
    assert not hasattr(optimizer, "grad_scale") and not hasattr(optimizer, "found_inf")
    for state in optimizer.state.values():
        assert not any(m.any() for m in state.values())
    # the device decides: a flag elsewhere than on the host does not hinder the buffers' creation
    assert equal(
        train(optimizer, [0, 1]),
        train(LARS(make_params(), lr=0.1, dampening=0.5, backend=backend), [0, 1]),
    )


@pytest.mark.parametrize("unscales", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_scaler_hands_over_scaled_or_unscaled_gradients(backend, unscales):
    expected = train(LARS(make_params(), lr=0.1, weight_decay=0.1, backend=backend), [0])
    params = make_params()
    optimizer = LARS(params, lr=0.1, weight_decay=0.1, backend=backend)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(torch.ones(()))
    generator = torch.Generator().manual_seed(100)
    for p in params:
        p.grad = 64 * torch.randn(p.shape, generator=generator)
    if unscales:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    torch.testing.assert_close([p.detach() for p in params], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("foreach", [None, False])
def test_without_foreach_the_backend_decides(foreach):
    expected = train(LARS(make_params(), lr=0.1, weight_decay=0.1), [0])
    assert equal(
        train(LARS(make_params(), lr=0.1, weight_decay=0.1, foreach=foreach), [0]), expected
    )


def test_foreach_is_the_backend_of_that_name_also_in_a_group():
    optimizer = LARS(make_params()[:1], lr=0.1, foreach=True)
    optimizer.add_param_group({"params": make_params()[1:], "backend": None, "foreach": True})
    assert [group["backend"] for group in optimizer.param_groups] == ["foreach"] * 2
    assert all("foreach" not in group for group in optimizer.param_groups)


def test_foreach_beside_another_backend_is_refused():
    with pytest.raises(InputError, match="foreach is True and backend 'reference'; give one"):
        LARS(make_params(), lr=0.1, foreach=True, backend="reference")


def test_a_device_without_kernels_takes_foreach():
    from mflag.ops.backend import choose_backend
    from mflag.ops.lars_backends import implementations_for

    able = implementations_for("mps", (torch.float32, torch.float32))
    assert choose_backend(None, "mps", able) == "foreach"


def test_numbers_are_float32_where_there_is_no_float64():
    from mflag.ops.lars_reference import exact_dtype

    kinds = {device: exact_dtype(torch.device(device)) for device in ("cpu", "cuda", "mps")}
    assert kinds == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}
