"""The CUDA kernels of LARS, run on the host, against the reference in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from mflag.ops import lars_step_
from mflag.ops.lars_rule import NORMS, LarsRule
from tests.native.on_host import compile_on_host

CHUNK = 8192
# Two chunks and a tail, 1-d, 0-d, empty, exactly one chunk.
SHAPES = [(3, 5500), (13,), (), (0, 4), (64, 128)]
RULES: dict[str, dict[str, Any]] = {
    "separate": {"weight_decay": 0.01, "adapt_without_decay": True},
    "decayed": {"weight_decay": 0.01, "norm": "decayed", "zero_norm": "keep_decay"},
    "momentum": {"weight_decay": 0.01, "norm": "momentum", "zero_norm": "keep_decay"},
    "nesterov": {"weight_decay": 0.01, "nesterov": True, "maximize": True},
    "inside": {"weight_decay": 0.01, "lr_in_momentum": True},
    "clip": {"weight_decay": 0.01, "trust_clip": True, "trust_coefficient": 10.0},
    "dampening": {"weight_decay": 0.01, "dampening": 0.25},
    "no momentum": {"weight_decay": 0.01, "momentum": 0.0},
    "plain": {"weight_decay": 0.0},
    "1-d excluded": {"weight_decay": 0.01, "exclude": "ndim<=1"},
}
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
DTYPES = {(F32, F32, F32): 0, (BF16, BF16, F32): 1, (F16, F16, F16): 2}
ROUNDING = {F32: 1e-6, BF16: 4e-3, F16: 5e-4}


@pytest.fixture(scope="module")
def library():
    return compile_on_host("lars.cpp", sanitize=True)


def lists(dtypes=(F32, F32, F32), shapes=SHAPES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=generator).to(dtype) for shape in shapes] for dtype in dtypes
    ]


def stepped(
    library, rule, given, order=0, scale=None, found_inf=None, started=None, shifts=(0, 0, 0)
):
    """Weights and buffers after one step of the kernels; ``started`` is written."""
    w, g, m = (
        [torch.cat([x.new_zeros(by), x.flatten()])[by:].view(x.shape) for x in tensors]
        for tensors, by in zip(given, shifts, strict=True)
    )
    numbers = LarsRule(**rule)
    has_momentum = numbers.momentum != 0
    started = [torch.ones(()) for _ in w] if started is None else started
    table = np.array(
        [
            [*(x.data_ptr() for x in row[:4]), row[0].numel(), numbers.is_plain(row[0].ndim)]
            for row in zip(w, g, m, started, strict=True)
        ],
        dtype=np.int64,
    )
    switches = np.array(
        [NORMS.index(numbers.norm), numbers.nesterov, numbers.zero_norm == "plain",
         numbers.trust_clip, numbers.clip_zero_norm, numbers.lr_in_momentum, numbers.maximize,
         has_momentum, numbers.dampening != 0],
        dtype=np.int64,
    )  # fmt: skip
    values = np.array(
        [numbers.momentum, numbers.dampening, numbers.weight_decay, numbers.trust_coefficient,
         numbers.eps]
    )  # fmt: skip
    lr = torch.tensor(0.1, dtype=torch.float64)
    library.call(
        "step", table, len(w), DTYPES[w[0].dtype, g[0].dtype, m[0].dtype], values, switches, lr,
        scale, found_inf, order,
    )  # fmt: skip
    return w + (m if has_momentum else [])


def expected(rule, given, **options):
    wide = [[x.double() for x in tensors] for tensors in given]
    if rule.get("momentum") == 0.0:
        wide[2] = []
    lars_step_(wide[0], wide[1], wide[2], lr=0.1, backend="reference", **rule, **options)
    return wide[0] + wide[2]


def assert_close(after, exact, rounding):
    for x, y in zip(after, exact, strict=True):
        assert (x.double() - y).norm() <= rounding * max(1e-6, float(y.norm())), x.shape


@pytest.mark.parametrize("dtypes", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rules_agree_with_the_reference(library, rule, dtypes):
    given = lists(dtypes)
    started = [torch.zeros(()) for _ in SHAPES] if "dampening" in rule else None
    exact_flags = {} if started is None else {"started": [x.clone() for x in started]}
    exact = expected(rule, given, grad_scale=torch.tensor(8.0), **exact_flags)
    scale = torch.tensor(8.0)
    assert_close(stepped(library, rule, given, 0, scale, None, started), exact, ROUNDING[dtypes[0]])
    assert started is None or all(started)


@pytest.mark.parametrize("rule", ["separate", "momentum", "dampening"])
def test_bits_do_not_depend_on_the_order_of_blocks_and_threads(library, rule):
    results = [stepped(library, RULES[rule], lists(), order) for order in (0, 1, 2, 3)]
    for after in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(after, results[0], strict=True))


def test_found_inf_leaves_every_byte_and_the_first_step_still_to_come(library):
    given, started = lists(), [torch.zeros(()) for _ in SHAPES]
    after = stepped(library, RULES["dampening"], given, 0, None, torch.tensor(1.0), started)
    assert all(torch.equal(x, y) for x, y in zip(after, given[0] + given[2], strict=True))
    assert not any(started)


@pytest.mark.parametrize("dtypes", DTYPES, ids=str)
def test_bits_do_not_depend_on_the_alignment(library, dtypes):
    given = lists(dtypes, [(16411,)])
    after = stepped(library, RULES["separate"], given)
    for shifts in ((1, 2, 3), (0, 5, 0), (7, 0, 0)):
        again = stepped(library, RULES["separate"], given, shifts=shifts)
        assert all(torch.equal(x, y) for x, y in zip(again, after, strict=True))


def test_more_tensors_than_a_launch_holds_give_the_same_bits(library):
    given = lists(shapes=[(3,)] * 1002)
    after = stepped(library, RULES["separate"], given)
    alone = stepped(library, RULES["separate"], [x[998:] for x in given])
    assert all(torch.equal(x, y) for x, y in zip(alone[:4], after[998:1002], strict=True))


def test_flags_of_more_tensors_than_a_launch_holds_are_all_set(library):
    started = [torch.zeros(()) for _ in range(802)]
    stepped(library, RULES["dampening"], lists(shapes=[(3,)] * 802), started=started)
    assert all(started)


def test_a_nan_gradient_stays_in_its_tensor(library):
    given = lists()
    clean = stepped(library, RULES["separate"], given)
    given[1][0][0, 0] = torch.nan
    after = stepped(library, RULES["separate"], given)
    assert after[0].isnan().all()
    assert all(torch.equal(x, y) for x, y in zip(after[1:5], clean[1:5], strict=True))


def test_chunks_find_their_tensor_beyond_32_bits(library):
    sizes = [0, 1, 2**31 + 5, CHUNK, 2**33, 7]
    counts = [max(1, -(-size // CHUNK)) for size in sizes]
    first = np.cumsum([0, *counts])
    table = np.zeros((len(sizes), 6), dtype=np.int64)
    table[:, 4] = sizes
    chunks, wanted = [], []
    for i, size in enumerate(sizes):
        for k in {0, counts[i] // 2, counts[i] - 1}:
            chunks.append(first[i] + k)
            wanted.append([i, k * CHUNK, min(CHUNK, size - k * CHUNK)])
    out, taken = np.zeros((len(chunks), 3), dtype=np.int64), np.zeros(1, dtype=np.int64)
    library.call("places", table, len(sizes), np.array(chunks), len(chunks), out, taken)
    assert out.tolist() == wanted and taken[0] == len(sizes)


def test_a_grid_never_has_more_blocks_than_cuda_takes(library):
    table = np.zeros((3, 6), dtype=np.int64)
    table[:, 4] = 2**43
    taken = np.zeros(1, dtype=np.int64)
    library.call("places", table, 3, np.zeros(0, dtype=np.int64), 0, np.zeros(0), taken)
    assert taken[0] == 1
