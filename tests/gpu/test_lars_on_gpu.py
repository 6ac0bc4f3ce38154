"""LARS on the GPU: every preset and backend, bits, CUDA graphs, GradScaler, carried norms."""

from typing import Any

import pytest
import torch

import mflag
from mflag.ops import lars_step_
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS
from tests.oracles.lars import Oracle

pytestmark = pytest.mark.gpu
BACKENDS = [name for name, able in mflag.backends().items() if able is True and name != "cpu"]
KERNELS = [name for name in BACKENDS if name in ("triton", "cuda")]
# Several chunks and a tail, 1-d, 0-d, empty, one value more than a chunk of either backend.
SHAPES = [(64, 3, 7, 7), (64,), (), (0, 3), (300_001,), (4097,), (8193,), (257, 513)]
RULE: dict[str, Any] = {"weight_decay": 0.01}


def lists(dtype=torch.float32, shapes=SHAPES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(s, generator=generator).to(dtype).cuda() for s in shapes] for _ in range(3)
    ]


def stepped(backend, given, rule=RULE, **options):
    w, g, m = ([x.clone() for x in tensors] for tensors in given)
    lars_step_(w, g, m, lr=0.1, backend=backend, **rule, **options)
    return w + m


def assert_equal(a, b):
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x, y), x.shape


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_follow_the_published_formula(preset, backend):
    params = [w.requires_grad_() for w in lists()[0]]
    optimizer = LARS.preset(preset, params, lr=0.1, backend=backend, **RULE)
    oracles = [Oracle(preset, p.detach().cpu().double().numpy(), **RULE) for p in params]
    for step in range(10):
        lr = optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        for p, g, oracle in zip(params, lists(seed=step)[1], oracles, strict=True):
            p.grad = g
            oracle.step(g.cpu().double().numpy(), lr)
        optimizer.step()
    for p, oracle in zip(params, oracles, strict=True):
        exact = torch.as_tensor(oracle.w)
        assert (p.detach().cpu().double() - exact).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", KERNELS)
def test_16_bit_weights_are_rounded_once(backend, dtype):
    given = lists(dtype)
    wide = stepped("reference", [[x.double() for x in tensors] for tensors in given])
    ulp = 2**-8 if dtype == torch.bfloat16 else 2**-11
    for x, y in zip(stepped(backend, given), wide, strict=True):
        assert ((x.double() - y).abs() <= 1.01 * ulp * y.abs() + 1e-6).all()


@pytest.mark.parametrize("norm", ["separate", "decayed", "momentum"])
@pytest.mark.parametrize("backend", KERNELS)
def test_a_hundred_steps_from_one_state_give_one_result(backend, norm):
    given = lists()
    rule = {**RULE, "norm": norm}
    first = stepped(backend, given, rule)
    for _ in range(100):
        assert_equal(first, stepped(backend, given, rule))


@pytest.mark.parametrize("backend", KERNELS)
def test_1500_tensors_are_stepped_as_alone(backend):
    given = lists(shapes=[(7, 5)] * 1500)
    w, m = (stepped(backend, given)[k * 1500 : (k + 1) * 1500] for k in range(2))
    alone = stepped(backend, [x[1200:] for x in given])
    assert_equal(w[1200:] + m[1200:], alone)


@pytest.mark.parametrize("backend", KERNELS)
def test_views_at_any_address_give_the_same_bits(backend):
    given = lists(shapes=[(30_011,)])
    moved = [[torch.cat([x.new_zeros(k), x])[k:] for x in xs] for k, xs in enumerate(given, 1)]
    w, g, m = moved
    lars_step_(w, g, m, lr=0.1, backend=backend, **RULE)
    for x, y in zip(w + m, stepped(backend, given), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", KERNELS)
def test_found_inf_leaves_every_byte(backend):
    given = lists()
    started = [torch.zeros((), device="cuda") for _ in SHAPES]
    found = torch.ones((), device="cuda")
    after = stepped(backend, given, {**RULE, "dampening": 0.5}, found_inf=found, started=started)
    assert_equal(after, given[0] + given[2])
    assert not any(started)


@pytest.mark.parametrize("backend", KERNELS)
def test_a_captured_step_reads_learning_rate_and_gradients_at_each_replay(backend):
    w, g, m = lists()
    exact = [[x.clone() for x in xs] for xs in (w, m)]
    lr = torch.tensor(0.1, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm-up on copies: compiles, allocates
        stepped(backend, [w, g, m])
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        lars_step_(w, g, m, lr=lr, backend=backend, **RULE)
    for step in range(3):
        lr.fill_(0.1 / (1 + step))
        for x, new in zip(g, lists(seed=step)[1], strict=True):
            x.copy_(new)
        graph.replay()
        lars_step_(exact[0], g, exact[1], lr=lr, backend=backend, **RULE)
    assert_equal(w + m, exact[0] + exact[1])


@pytest.mark.parametrize("backend", KERNELS)
def test_two_streams_do_not_share_a_workspace(backend):
    given = [lists(seed=seed) for seed in range(2)]
    alone = [stepped(backend, x) for x in given]
    streams = [torch.cuda.Stream() for _ in given]
    torch.cuda.synchronize()
    for _ in range(30):
        together = []
        for x, stream in zip(given, streams, strict=True):
            with torch.cuda.stream(stream):
                together.append(stepped(backend, x))
        torch.cuda.synchronize()
        for a, b in zip(alone, together, strict=True):
            assert_equal(a, b)


@pytest.mark.parametrize("unscales", [True, False])
@pytest.mark.parametrize("backend", KERNELS)
def test_grad_scaler_skips_the_first_step_and_scales_the_second(backend, unscales):
    starts, grads, _ = lists(shapes=[(64, 65), (300_001,)])
    results = []
    for scaled in (False, True):
        params = [x.clone().requires_grad_() for x in starts]
        optimizer = LARS(params, lr=0.1, dampening=0.5, backend=backend, **RULE)
        scaler = torch.amp.GradScaler("cuda", init_scale=1024.0, enabled=scaled)
        scaler.scale(torch.ones((), device="cuda"))
        for is_finite in (False, True) if scaled else (True,):
            for p, g in zip(params, grads, strict=True):
                p.grad = g * scaler.get_scale() if is_finite else torch.full_like(g, torch.inf)
            if unscales:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        results.append([p.detach() for p in params])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)


@pytest.mark.skipif("triton" not in KERNELS, reason="only the Triton kernels carry norms")
def test_carried_norms_give_the_step_without_them_and_find_a_write_through_data():
    results = []
    for carries in (False, True):
        params = [x.clone().requires_grad_() for x in lists()[0]]
        optimizer = LARS(params, lr=0.1, backend="triton", carry_weight_norms=carries, **RULE)
        for step in range(4):
            for p, g in zip(params, lists(seed=step)[1], strict=True):
                p.grad = g
            optimizer.step()
            torch.cuda.synchronize()
            if step == 1:
                params[4].data[:3] *= 100
        results.append([p.detach() for p in params])
        assert optimizer._norms.is_on != carries or not carries
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", KERNELS)
def test_a_number_as_learning_rate_costs_no_wait(backend):
    given = lists()
    stepped(backend, given)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepped(backend, given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
