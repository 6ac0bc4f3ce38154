"""LARS as a torch optimizer: groups, state, scaler, schedulers, errors."""

import copy
import pickle
from typing import Any

import pytest
import torch

import mflag
from mflag.errors import InputError
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS

BACKENDS = [name for name in ("reference", "foreach", "cpu") if mflag.backends()[name] is True]
SHAPES = [(6, 4), (4,), (3, 4, 3, 3)]


def make_params(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in SHAPES
    ]


def set_gradients(params, step):
    generator = torch.Generator().manual_seed(100 + step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


def train(optimizer, steps):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        set_gradients(params, step)
        optimizer.step()
    return params


def bits(params):
    return [p.detach().clone().view(torch.uint8).flatten().tolist() for p in params if p.ndim]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(preset, backend):
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "backend": backend}
    whole = train(LARS.preset(preset, make_params(), **options), range(6))
    first = LARS.preset(preset, make_params(), **options)
    train(first, range(3))
    params = [torch.nn.Parameter(p.detach().clone()) for p in first.param_groups[0]["params"]]
    second = LARS.preset(preset, params, **options)
    second.load_state_dict(first.state_dict())
    assert bits(train(second, range(3, 6))) == bits(whole)


def test_resume_with_dampening_does_not_take_another_first_step():
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "dampening": 0.5}
    whole = train(LARS(make_params(), **options), range(4))
    first = LARS(make_params(), **options)
    train(first, range(2))
    second = LARS(first.param_groups[0]["params"], **options)
    second.load_state_dict(first.state_dict())
    assert bits(train(second, range(2, 4))) == bits(whole)


def test_dampening_works_where_float64_is_the_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        train(LARS(make_params(), lr=0.1, weight_decay=0.01, dampening=0.5), range(2))
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on_as_the_original(clone):
    original = LARS.preset("authors", make_params(), lr=0.1, backend="reference")
    train(original, range(2))
    twin = clone(original)
    assert bits(train(twin, range(2, 4))) == bits(train(original, range(2, 4)))


@pytest.mark.parametrize("preset", PRESETS)
def test_state_holds_the_sources_key_and_nothing_else(preset):
    optimizer = LARS.preset(preset, make_params(), lr=0.1)
    train(optimizer, range(1))
    key = "mu" if preset in ("fair", "authors") else "momentum_buffer"
    assert {tuple(s) for s in optimizer.state_dict()["state"].values()} == {(key,)}


def test_the_default_is_lightlys_formula():
    a = train(LARS(make_params(), 0.1, 0.9, 0.0, 0.01), range(3))
    b = train(LARS.preset("lightly", make_params(), lr=0.1, weight_decay=0.01), range(3))
    assert bits(a) == bits(b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dampening", [0.0, 0.5])
def test_scaler_skips_a_step_with_inf_in_every_byte(backend, dampening):
    options: dict[str, Any] = {
        "lr": 0.1,
        "weight_decay": 0.01,
        "dampening": dampening,
        "backend": backend,
    }
    expected = train(LARS(make_params(), **options), [1])
    params = make_params()
    optimizer = LARS(params, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = bits(params)
    scaler.scale(torch.ones(()))  # creates the scale
    set_gradients(params, 0)
    params[0].grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert bits(params) == before and not optimizer.state_dict()["state"]

    set_gradients(params, 1)
    for p in params:
        p.grad *= scaler.get_scale()
    scaler.step(optimizer)
    for p, e in zip(params, expected, strict=True):
        torch.testing.assert_close(p, e, rtol=1e-6, atol=1e-7)


def test_scaler_after_unscale_does_not_divide_again():
    expected = train(LARS(make_params(), lr=0.1), [0])
    params = make_params()
    optimizer = LARS(params, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(torch.ones(()))
    set_gradients(params, 0)
    for p in params:
        p.grad *= 64
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert bits(params) == bits(expected)


def test_a_parameter_without_gradient_and_its_state_stay():
    params = make_params()
    optimizer = LARS(params, lr=0.1)
    set_gradients(params, 0)
    params[1].grad = None
    before = bits(params[1:2])
    optimizer.step()
    assert bits(params[1:2]) == before and params[1] not in optimizer.state


def test_closure_runs_with_gradients_and_its_loss_comes_back():
    (p,) = params = [torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = LARS(params, lr=0.1)

    def closure():
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 4.0 and torch.allclose(p, torch.full((2, 2), 0.8))


def test_groups_have_their_own_options():
    a, b = make_params()[:2], make_params()[2:]
    optimizer = LARS.preset("authors", [{"params": a}], lr=0.1, weight_decay=0.01)
    optimizer.add_param_group({"params": b, "lr": 0.2, "exclude": "all", "momentum": 0.0})
    before = b[0].detach().clone()
    train(optimizer, [0])
    torch.testing.assert_close(b[0].detach(), before - 0.2 * b[0].grad)


def test_an_empty_group_and_an_empty_tensor_do_nothing():
    empty: Any = torch.nn.Parameter(torch.zeros(0, 3))
    empty.grad = torch.zeros(0, 3)
    optimizer = LARS([{"params": []}, {"params": [empty]}], lr=0.1, weight_decay=0.1)
    assert optimizer.step() is None


def test_a_new_group_after_steps_starts_from_zero_momentum():
    params = make_params()
    optimizer = LARS(params[:2], lr=0.1)
    train(optimizer, range(2))
    optimizer.add_param_group({"params": params[2:]})
    before = params[2].detach().clone()
    train(optimizer, [2])
    torch.testing.assert_close(params[2].detach(), before - 0.1 * params[2].grad)


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_last_weights_take_gradients_of_other_strides(backend):
    plain, last = make_params()[2:], make_params()[2:]
    last[0].data = last[0].data.contiguous(memory_format=torch.channels_last)
    optimizers = [LARS(p, lr=0.1, backend=backend) for p in (plain, last)]
    for _ in range(2):
        for (p,), optimizer in zip((plain, last), optimizers, strict=True):
            p.grad = torch.arange(float(p.numel())).view(p.shape)
            optimizer.step()
    torch.testing.assert_close(last[0].detach().contiguous(), plain[0].detach())
    assert last[0].is_contiguous(memory_format=torch.channels_last)


def test_a_tensor_learning_rate_gives_the_same_step():
    a = train(LARS(make_params(), lr=0.125, weight_decay=0.1), range(2))
    b = train(LARS(make_params(), lr=torch.tensor(0.125), weight_decay=0.1), range(2))
    assert bits(a) == bits(b)


@pytest.mark.parametrize(
    "make_scheduler",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10),
    ],
    ids=["cosine", "lambda", "one_cycle"],
)
def test_torch_schedulers_drive_it_as_they_drive_sgd(make_scheduler):
    results = []
    for make in (LARS, torch.optim.SGD):  # without weight decay the default is plain SGD
        optimizer = make(make_params(torch.float64), lr=0.1, momentum=0.9)
        scheduler = make_scheduler(optimizer)
        for step in range(5):
            params = train(optimizer, [step])
            scheduler.step()
        results.append([p.detach() for p in params])
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)


def test_saved_dtype_of_a_buffer_survives_loading():
    optimizer = LARS(make_params(torch.bfloat16), lr=0.1)
    train(optimizer, [0])
    saved = optimizer.state_dict()
    for state in saved["state"].values():
        state["momentum_buffer"] = state["momentum_buffer"].float()
    twin = LARS(make_params(torch.bfloat16), lr=0.1)
    twin.load_state_dict(saved)
    train(twin, [1])
    assert {s["momentum_buffer"].dtype for s in twin.state.values()} == {torch.float32}


def test_loading_copies_the_buffers():
    optimizer = LARS(make_params(), lr=0.1)
    train(optimizer, [0])
    saved = optimizer.state_dict()
    before = [s["momentum_buffer"].clone() for s in saved["state"].values()]
    twin = LARS(make_params(), lr=0.1)
    twin.load_state_dict(saved)
    train(twin, [1])
    assert bits(before) == bits(s["momentum_buffer"] for s in saved["state"].values())


def test_an_illegal_in_place_step_is_noticed_by_autograd():
    p = torch.nn.Parameter(torch.ones(2, 2))
    loss = p.square().sum()
    p.grad = torch.ones(2, 2)
    LARS([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("error", [InputError, RuntimeError])
def test_a_sparse_gradient_names_its_parameter_and_nothing_is_written(error):
    params = make_params()
    named = [("stem.weight", params[0]), ("bias", params[1]), ("conv.weight", params[2])]
    optimizer = LARS(named, lr=0.1)
    set_gradients(params, 0)
    params[1].grad = params[1].grad.to_sparse()
    before = bits(params)
    with pytest.raises(error, match=r"the gradient of parameter 'bias' is sparse"):
        optimizer.step()
    assert bits(params) == before


def test_a_complex_gradient_names_its_parameter():
    p = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.complex64))
    p.grad = torch.ones_like(p)
    with pytest.raises(InputError, match=r"parameter 0 of group 0, shape \(2, 3\) is complex"):
        LARS([p], lr=0.1).step()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr": -0.1}, "lr is -0.1; give 0 or more"),
        ({"lr": float("inf")}, "lr is inf; give 0 or more"),
        ({"lr": float("nan")}, "lr is nan; give 0 or more"),
        ({"lr": "fast"}, "lr is 'fast'; give a number, 0 or more"),
        ({"lr": torch.ones(2)}, r"lr has shape \(2,\); give a tensor of one element"),
        ({"lr": 0.1, "momentum": 1.0}, "momentum is 1.0; give 0 or more and less than 1"),
        ({"lr": 0.1, "momentum": -0.1}, "momentum is -0.1; give 0 or more and less than 1"),
        ({"lr": 0.1, "weight_decay": float("inf")}, "weight_decay is inf; give 0 or more"),
        ({"lr": 0.1, "trust_coefficient": -1}, "trust_coefficient is -1; give 0 or more"),
        ({"lr": 0.1, "dampening": 2.0}, "dampening is 2.0; give 0 to 1"),
        ({"lr": 0.1, "eps": None}, "eps is None; give a number, 0 or more"),
        ({"lr": 0.1, "exclude": "bias"}, "exclude is 'bias'; choose one of none, ndim<=1"),
        ({"lr": 0.1, "state_key": "m"}, "state_key is 'm'; choose one of momentum_buffer, mu"),
        ({"lr": 0.1, "nesterov": True, "momentum": 0.0}, "nesterov is True; give a momentum"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        LARS(make_params(), **options)


def test_wrong_option_of_a_later_group_is_named():
    optimizer = LARS(make_params()[:1], lr=0.1)
    with pytest.raises(InputError, match="momentum is 1.5"):
        optimizer.add_param_group({"params": make_params()[1:], "momentum": 1.5})


def test_unknown_preset_is_named():
    with pytest.raises(InputError, match="LARS preset is 'larc'; choose one of paper2017"):
        LARS.preset("larc", make_params(), lr=0.1)


def test_an_option_under_both_names_is_refused():
    with pytest.raises(InputError, match="trust_coefficient is given twice"):
        LARS.preset("timm", make_params(), lr=0.1, trust_coeff=1.0, trust_coefficient=1.0)
