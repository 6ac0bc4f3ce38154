import pytest
import torch

from mflag import backends
from mflag.ops import orthogonality_loss
from mflag.ops.orthogonality import orthogonality_of_rows
from mflag.ops.orthogonality_reference import Formula, OwnRows
from tests.kernels.accuracy import check_accuracy
from tests.losses.ranks import run_on_ranks
from tests.oracles.orthogonality import value_and_gradient

pytestmark = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
NORMS = ("none", "center", "sample", "feature", "standardize")
WEIGHTS = [  # λ, δ, s
    (1.0, 1.0, 1.0),
    (0.3, 1.0, None),
    (0.3, 0.3, 2.0),
    (1.0, 0.0, None),
    (0.0051, 1.7, None),
]


def latents(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator)


def formula_of(norm, λ=0.3, δ=1.0, s=None, eps=1e-12):
    return {
        "norm": norm, "scale": s, "target": 0.4, "offdiag_weight": λ, "factor": 0.5, "eps": eps,
        "diagonal_weight": δ,
    }  # fmt: skip


def large(z, formula, need_grad=True):
    """The launches for any size, also where the op would take the two of few rows."""
    from mflag.kernels.orthogonality_formula import CODES, Parameters
    from mflag.kernels.orthogonality_large import orthogonality_large

    norm, scale, *rest = formula.values()
    return orthogonality_large(z, Parameters(CODES[norm], scale or 0.0, *rest), need_grad)


def of_op(z, **formula):
    z = z.clone().requires_grad_()
    loss = orthogonality_loss(z, backend="triton", **formula)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("λ, δ, s", WEIGHTS)
@pytest.mark.parametrize("shape", [(35, 67), (67, 35)], ids=str)
def test_ragged_shapes_equal_the_oracle(norm, λ, δ, s, shape):
    z, formula = latents(*shape), formula_of(norm, λ, δ, s)
    check_accuracy(z, *large(z, formula), **formula)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (33, 33), (33, 34), (2, 1025)], ids=str)
def test_single_rows_single_columns_and_ties(norm, shape):
    z, formula = latents(*shape), formula_of(norm)
    check_accuracy(z, *large(z, formula), **formula)


@pytest.mark.parametrize(
    "norm, shape",
    [("standardize", (256, 257)), ("sample", (257, 258))]
    + [
        pytest.param(norm, shape, marks=pytest.mark.slow)
        for norm, shape in (("sample", (256, 257)), ("standardize", (257, 258)))
    ],
    ids=str,
)
def test_both_sides_of_every_size_that_changes_the_launches(norm, shape):
    z, formula = latents(*shape), formula_of(norm)
    check_accuracy(z, *of_op(z, **formula), **formula)


@pytest.mark.parametrize("norm", ["none", "sample", "standardize"])
@pytest.mark.parametrize("shape", [(50, 60), (60, 50)], ids=str)
def test_strips_of_a_triangle_equal_the_whole_square(norm, shape, monkeypatch):
    from mflag.kernels.launch_table import GRAM_TILES

    z, formula = latents(*shape), formula_of(norm)
    rows = {known: row._replace(strip=32, strips_from=40) for known, row in GRAM_TILES.items()}
    monkeypatch.setattr("mflag.kernels.launch_table.GRAM_TILES", rows)
    check_accuracy(z, *large(z, formula), **formula)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(20, 70), (70, 20)], ids=str)
def test_16_bit_input_is_computed_in_float32(dtype, norm, shape):
    z, formula = latents(*shape).to(dtype), formula_of(norm)
    loss, gradient = large(z, formula)
    assert loss.dtype == gradient.dtype == torch.float32
    check_accuracy(z, loss, gradient, **formula)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(6, 40), (40, 6)], ids=str)
@pytest.mark.parametrize("eps", [1e-12, 3.0])
def test_zero_rows_and_columns_and_rows_below_eps(norm, shape, eps):
    z, formula = latents(*shape), formula_of(norm, eps=eps)
    z[2], z[:, 3] = 0, 0
    check_accuracy(z, *large(z, formula), **formula)


@pytest.mark.parametrize("norm", ["center", "standardize"])
@pytest.mark.parametrize("shape", [(6, 40), (40, 6)], ids=str)
def test_a_constant_column_of_any_size_and_an_outlier_in_the_first_row(norm, shape):
    z, formula = latents(*shape), formula_of(norm)
    z[:, 0], z[:, 1], z[0, 2] = 1e6, 1e4 + z[:, 1], 1e4
    loss, gradient = large(z, formula)
    check_accuracy(z, loss, gradient, **formula)
    assert (gradient[:, 0] == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (1, 3)], ids=str)
def test_what_is_not_finite_reaches_the_loss_and_the_gradient(value, norm, shape):
    z = latents(*shape)
    z[0, 2] = value
    loss, gradient = large(z, formula_of(norm))
    assert not loss.isfinite() and not gradient.isfinite().all()


@pytest.mark.parametrize("family", ["collapsed", "near-one-hot", "orthonormal", "tiny", "huge"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(20, 45), (45, 20)], ids=str)
def test_hard_inputs_are_as_accurate_as_eager(family, norm, shape):
    z, formula = latents(*shape), formula_of(norm, 1.0, 1.0, 1.0)
    if family == "collapsed":
        z = latents(1, shape[1], 1) + z / 10_000
    elif family == "near-one-hot":
        z = torch.eye(*shape) + z / 1000
    elif family == "orthonormal":
        tall = torch.linalg.qr(z.T if shape[0] < shape[1] else z)[0]
        z = (tall.T if shape[0] < shape[1] else tall).contiguous()
    else:
        z *= 1e-25 if family == "tiny" else torch.logspace(-3, 3, shape[0])[:, None]
    check_accuracy(z, *large(z, formula | {"target": 1.0}), **formula | {"target": 1.0})


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(20, 70), (70, 20)], ids=str)
def test_bits_repeat_and_the_value_alone_is_the_same(norm, shape):
    z, formula = latents(*shape), formula_of(norm)
    first, second = large(z, formula), large(z, formula)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    value, nothing = large(z, formula, need_grad=False)
    assert torch.equal(value, first[0]) and nothing.numel() == 0


def test_the_input_is_not_written_and_may_have_any_strides():
    z = latents(270, 12)
    transposed = z.T.contiguous().T
    before = z.clone()
    first, second = of_op(z), of_op(transposed)
    assert torch.equal(z, before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def gathered(z, cuts, formula, shares):
    """Each rank's part, with the sums over ranks that ``shares`` holds; they are recorded anew."""
    results, recorded = [], []
    for first, length in cuts:
        parts: list[torch.Tensor] = []

        def total(part, parts=parts):
            parts.append(part)
            return sum(share[len(parts) - 1] for share in shares) if shares else part

        own = OwnRows(first, length, total)
        results.append(
            orthogonality_of_rows(z, own, True, "triton", "highest", Formula(*formula.values()))
        )
        recorded.append(parts)
    return results, recorded


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("λ", [0.3, 1.0])
@pytest.mark.parametrize("shape", [(20, 50), (40, 6)], ids=str)
def test_own_rows_over_two_ranks_equal_the_whole_batch(norm, λ, shape, monkeypatch):
    monkeypatch.setattr("mflag.ops.orthogonality._is_small_dual", lambda z: False)
    z, formula = latents(*shape), formula_of(norm, λ)
    cuts = [(0, shape[0] // 2), (shape[0] // 2, shape[0] // 2)]
    _, shares = gathered(z, cuts, formula, [])
    results, _ = gathered(z, cuts, formula, shares)
    assert torch.equal(results[0][0], results[1][0])
    check_accuracy(z, results[0][0], torch.cat([part for _, part in results]), **formula)


def step_of_a_rank(rank):
    from mflag.losses import OrthogonalityLoss

    results = {}
    for norm in ("sample", "center", "standardize"):
        z = latents(132, 280, rank).requires_grad_()
        loss = OrthogonalityLoss(norm, gather=True, gradient_reduction="sum", backend="triton")
        value = loss(z)
        results[norm] = value.item(), torch.autograd.grad(value, z)[0]
    return results


@pytest.mark.slow
def test_two_processes_equal_the_whole_batch(tmp_path):
    ranks = run_on_ranks(step_of_a_rank, 2, tmp_path)
    z = torch.cat([latents(132, 280, rank) for rank in range(2)]).double()
    for norm in ranks[0]:
        value, exact = value_and_gradient(z, norm=norm)
        gradient = torch.cat([rank[norm][1] for rank in ranks])
        assert ranks[0][norm][0] == ranks[1][norm][0] == pytest.approx(value.item(), rel=3e-7)
        assert (gradient - exact).norm() <= 1e-6 * exact.norm()
