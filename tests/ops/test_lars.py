"""The LARS op: what must hold bit for bit, what it refuses, what it leaves alone."""

from itertools import chain
from typing import Any

import pytest
import torch

import mflag
from mflag.errors import InputError
from mflag.ops import lars_step_
from mflag.ops.lars_rule import NORMS, ZERO_NORMS

BACKENDS = [name for name in ("reference", "foreach", "cpu") if mflag.backends()[name] is True]
SHAPES = [(64, 3, 7, 7), (64,), (), (0, 3), (300_001,), (5, 7), (257, 513)]
RULES: dict[str, dict[str, Any]] = {
    "separate": {"weight_decay": 0.01},
    "decayed": {"weight_decay": 0.01, "norm": "decayed", "zero_norm": "keep_decay"},
    "momentum": {"weight_decay": 0.01, "norm": "momentum", "zero_norm": "keep_decay"},
    "nesterov": {"weight_decay": 0.01, "nesterov": True},
    "inside": {"weight_decay": 0.01, "lr_in_momentum": True},
    "plain": {"weight_decay": 0.0},
}


def tensors(dtype=torch.float32, shapes=SHAPES, seed=0):
    """Weights, gradients and momentum buffers."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
        for _ in range(3)
    ]


def stepped(backend, rule, lists, **options):
    """Copies of weights and buffers after one step."""
    w, g, m = ([x.clone() for x in tensors] for tensors in lists)
    lars_step_(w, g, m, lr=0.1, backend=backend, **rule, **options)
    return w + m


def equal_bits(a, b):
    return all(
        x.shape == y.shape and x.dtype == y.dtype and x.numpy().tobytes() == y.numpy().tobytes()
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_and_two_threads_give_equal_bits(backend, rule, dtype, threads):
    threads(1)
    one = stepped(backend, rule, tensors(dtype))
    threads(2)
    assert equal_bits(one, stepped(backend, rule, tensors(dtype)))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_calls_on_halves_give_the_bits_of_one(backend, rule):
    whole = stepped(backend, rule, tensors())
    halves = [
        stepped(backend, rule, [x[part] for x in tensors()]) for part in (slice(3), slice(3, None))
    ]
    n = len(SHAPES)
    joined = halves[0][:3] + halves[1][: n - 3] + halves[0][3:] + halves[1][n - 3 :]
    assert equal_bits(whole, joined)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("scalars", [{}, {"grad_scale": torch.tensor(3.0), "maximize": True}])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_foreach_gives_the_bits_of_the_reference(rule, scalars, dtype):
    given = tensors(dtype)
    given[1][5].zero_()  # a zero norm
    results = [stepped(name, rule, given, **scalars) for name in ("foreach", "reference")]
    assert equal_bits(*results)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_order_of_tensors_does_not_matter(backend):
    forward = stepped(backend, RULES["separate"], tensors())
    backward = stepped(backend, RULES["separate"], [x[::-1] for x in tensors()])
    n = len(SHAPES)
    assert equal_bits(forward, backward[:n][::-1] + backward[n:][::-1])


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_found_inf_leaves_every_byte(backend, rule):
    lists = tensors()
    lists[1][0][0] = float("inf")
    after = stepped(backend, rule, lists, found_inf=torch.tensor(1.0))
    assert equal_bits(after, lists[0] + lists[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_found_inf_leaves_the_first_step_still_to_come(backend):
    w, g, m = tensors(shapes=[(3, 2)])
    started = [torch.zeros(())]
    lars_step_(
        w, g, m, lr=0.1, dampening=0.5, started=started, found_inf=torch.tensor(1.0),
        backend=backend,
    )  # fmt: skip
    assert started[0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_gradient_stays_in_its_tensor(backend):
    lists = tensors()
    lists[1][0][0, 0, 0, 0] = float("nan")
    after = stepped(backend, RULES["separate"], lists)
    clean = stepped(backend, RULES["separate"], tensors())
    assert equal_bits(after[1 : len(SHAPES)], clean[1 : len(SHAPES)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_infinite_gradient_makes_its_values_nan_and_leaves_the_others(backend):
    w, g, m = tensors(shapes=[(2, 2)])
    g[0][0, 0] = float("inf")
    before, m[0] = w[0].clone(), torch.zeros(2, 2)
    lars_step_(w, g, m, lr=0.1, weight_decay=0.01, backend=backend)  # norm inf: q = 0
    assert w[0].isnan().tolist() == [[True, False], [False, False]]
    assert torch.equal(w[0][1], before[1])


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_grad_scale_divides_the_gradient(backend, rule):
    w, g, m = tensors()
    scaled = [w, [x * 1024 for x in g], m]
    after = stepped(backend, rule, scaled, grad_scale=torch.tensor(1024.0))
    assert all(
        torch.allclose(x, y, rtol=1e-6, atol=1e-7)
        for x, y in zip(after, stepped(backend, rule, [w, g, m]), strict=True)
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_maximize_is_descent_along_the_negated_gradient(backend, rule):
    w, g, m = tensors()
    after = stepped(backend, rule, [w, g, m], maximize=True)
    assert equal_bits(after, stepped(backend, rule, [w, [-x for x in g], m]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_not_written(backend):
    w, g, m = tensors()
    before = [x.clone() for x in g]
    lars_step_(w, g, m, lr=0.1, weight_decay=0.01, backend=backend)
    assert equal_bits(g, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_versions_of_weights_and_buffers_rise(backend):
    w, g, m = tensors()
    before = [x._version for x in w + m]
    lars_step_(w, g, m, lr=0.1, backend=backend)
    assert all(x._version > v for x, v in zip(w + m, before, strict=True))


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "permuted": lambda x: x.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2),
    "every other": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


@pytest.mark.parametrize("layout_g", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("layout_w", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_pair_of_layouts_gives_the_contiguous_step(backend, layout_w, layout_g):
    w, g, m = tensors(torch.float64, [(6, 4, 3, 5)])
    expected = stepped("reference", RULES["separate"], [w, g, m])
    w, g = [layout_w(w[0])], [layout_g(g[0])]
    lars_step_(w, g, m, lr=0.1, backend=backend, **RULES["separate"])
    assert torch.allclose(torch.stack(w + m), torch.stack(expected), rtol=1e-13, atol=0)


def test_an_expanded_gradient_is_taken_as_what_it_shows():
    w, _, m = tensors(shapes=[(4, 4)])
    g = [torch.ones(1, 1).expand(4, 4)]
    assert equal_bits(stepped(None, {}, [w, g, m]), stepped(None, {}, [w, [torch.ones(4, 4)], m]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    lists = tensors(dtype, [(33, 5)])
    wide = stepped("reference", RULES["separate"], [[x.float() for x in t] for t in lists])
    after = stepped(None, RULES["separate"], lists)
    assert equal_bits([x.float() for x in after], [x.to(dtype).float() for x in wide])


def test_mixed_dtypes_in_one_call_give_each_its_own_step():
    dtypes = (torch.float32, torch.float64, torch.float16)
    lists = [list(chain(*same)) for same in zip(*map(tensors, dtypes), strict=True)]
    n = len(SHAPES)
    alone = stepped(None, RULES["separate"], tensors(torch.float64))
    mixed = stepped(None, RULES["separate"], lists)
    assert equal_bits(mixed[n : 2 * n] + mixed[4 * n : 5 * n], alone)


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree(backend):
    for rule in RULES.values():
        after = stepped(backend, rule, tensors(torch.float64))
        expected = stepped("reference", rule, tensors(torch.float64))
        for x, y in zip(after, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-13, atol=1e-15)


CLIPS = [
    {"norm": norm, "zero_norm": zero_norm, "clip_zero_norm": clip_zero_norm}
    for norm in NORMS
    for zero_norm in ZERO_NORMS
    for clip_zero_norm in (False, True)
]


@pytest.mark.parametrize("rule", CLIPS, ids=lambda rule: "-".join(map(str, rule.values())))
@pytest.mark.parametrize("lr", [0.5, 2.0])
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_clip_a_zero_norm_as_its_zero_test_says(backend, lr, rule):
    w = [torch.zeros(2, dtype=torch.float64)]
    g, m = [torch.ones_like(w[0])], [torch.zeros_like(w[0])]
    lars_step_(w, g, m, lr=lr, trust_clip=True, adapt_without_decay=True, backend=backend, **rule)
    is_clipped = rule["clip_zero_norm"] and rule["zero_norm"] == "keep_decay"
    q = min(1 / lr, 1.0) if is_clipped else 1.0
    new = 0.1 if rule["norm"] == "momentum" else 1.0
    torch.testing.assert_close(w[0], torch.full_like(w[0], -lr * q * new), rtol=1e-14, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ratio_cancels_the_scale_of_the_gradient(backend):
    rule: dict[str, Any] = {
        "norm": "decayed",
        "eps": 0.0,
        "adapt_without_decay": True,
        "zero_norm": "keep_decay",
    }
    w, g, m = tensors(torch.float64, [(31, 7)])
    m = [torch.zeros(31, 7, dtype=torch.float64)]
    scaled = stepped(backend, rule, [w, [x * 1e-7 for x in g], m])
    torch.testing.assert_close(scaled, stepped(backend, rule, [w, g, m]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tensor_learning_rate_is_the_number(backend):
    results = []
    for lr in (0.125, torch.tensor(0.125), torch.tensor([0.125], dtype=torch.float64)):
        w, g, m = tensors()
        lars_step_(w, g, m, lr=lr, backend=backend)
        results.append(w + m)
    assert equal_bits(results[0], results[1]) and equal_bits(results[0], results[2])


def test_opcheck_accepts_the_op():
    w, g, m = tensors(shapes=[(3, 4), (5,)])
    arguments: tuple[Any, ...] = (w, g, m, [], torch.tensor(0.1))
    torch.library.opcheck(torch.ops.mflag.lars_step_.default, arguments, {"weight_decay": 0.1})


def test_no_tensors_is_no_work():
    lars_step_([], [], [], lr=0.1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"momentum": 1.0}, "momentum is 1.0; give 0 or more and less than 1"),
        ({"weight_decay": float("nan")}, "weight_decay is nan; give 0 or more"),
        ({"eps": -1e-9}, "eps is -1e-09; give 0 or more"),
        ({"norm": "l1"}, "norm is 'l1'; choose one of separate, decayed, momentum"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov is True; give a momentum above 0"),
        ({"dampening": 0.5}, "started has 0 flags; give 2"),
        ({"backend": "nonsense"}, "backend 'nonsense' is unknown"),
        ({"grads": 1}, "grads has 1 tensors; give 2"),
        ({"buffers": 1}, "momentum_buffers has 1 tensors; give 2"),
        ({"shapes": [(3, 4), (6,)]}, r"grads\[1\] is \(6,\); give \(5,\), as its weight"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_wrong_input_is_named(change, message):
    w, g, m = tensors(shapes=[(3, 4), (5,)])
    if "shapes" in change:
        _, g, _ = tensors(shapes=change.pop("shapes"))
    g, m = g[: change.pop("grads", 2)], m[: change.pop("buffers", 2)]
    with pytest.raises(InputError, match=message):
        lars_step_(w, g, m, lr=0.1, **change)
