"""The CUDA kernels of the orthogonality loss, run on the host by the launches of the CUDA op."""

from typing import Any, NamedTuple

import pytest
import torch

from tests.native.on_host import compile_on_host
from tests.oracles.orthogonality import unprojected_gradient, value_and_gradient

NORMS = ("none", "center", "sample", "feature", "standardize")
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
DEFAULTS = {"scale": None, "target": 1.0, "offdiag_weight": 0.0051, "factor": 0.5, "eps": 1e-12,
            "diagonal_weight": 1.0}  # fmt: skip
WEIGHTS: dict[str, dict[str, Any]] = {
    "barlow": {},
    "whole": {"scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0},
    "covariance": {"scale": 2.3, "target": 0.4, "offdiag_weight": 1.7, "diagonal_weight": 0.0},
    "all": {"scale": 3.0, "target": -0.4, "offdiag_weight": 0.7, "diagonal_weight": 0.3},
}
SMALL = [(5, 37), (33, 100), (64, 65), (70, 230), (129, 301)]
DUAL, PRIMAL = [(257, 270), (262, 267)], [(40, 33), (64, 64), (150, 140)]
# Every norm with every weights on one shape of each way; elsewhere every norm, the weights in turn.
RAGGED = [
    (shape, weights, norm)
    for i, shape in enumerate(SMALL + DUAL + PRIMAL)
    for j, weights in enumerate(WEIGHTS)
    for k, norm in enumerate(NORMS)
    if shape in (SMALL[1], DUAL[0], PRIMAL[0]) or (i + k) % len(WEIGHTS) == j
]


class Result(NamedTuple):
    loss: torch.Tensor
    gradient: torch.Tensor | None
    launches: int
    products: int


@pytest.fixture(scope="module")
def library():
    return compile_on_host("orthogonality.cpp", sanitize=True)


def latents(rows, columns):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def run(library, z, norm, *, processors=132, order=0, need_grad=True, **weights):
    formula = DEFAULTS | weights
    formula["scale"] = formula["scale"] or float(z.shape[0])
    numbers = torch.tensor(list(formula.values()), dtype=torch.float64)
    loss, counts = torch.full((), torch.nan), torch.zeros(2, dtype=torch.int64)
    gradient = torch.full(z.shape, torch.nan) if need_grad else None
    library.call("orthogonality", z, DTYPES[z.dtype], *z.shape, NORMS.index(norm), numbers,
                 loss, gradient, processors, order, counts)  # fmt: skip
    return Result(loss, gradient, *counts.tolist())


def check(result, z, norm, tolerance=5e-7, **weights):
    """Against the oracle; where the gradient vanishes, on the scale of what it is made of."""
    value, expected = value_and_gradient(z.double(), norm=norm, **weights)
    assert result.loss.item() == pytest.approx(value.item(), rel=2e-7, abs=1e-13)
    whole = unprojected_gradient(z.double(), norm=norm, **(DEFAULTS | weights)).norm()
    floor = 4e-7 * whole / z.double().norm(dim=1).mean()
    assert (result.gradient - expected).norm() <= tolerance * expected.norm() + 1e-3 * floor


@pytest.mark.parametrize("shape, weights, norm", RAGGED, ids=str)
def test_ragged_shapes_equal_the_oracle(library, norm, weights, shape):
    z = latents(*shape)
    check(run(library, z, norm, **WEIGHTS[weights]), z, norm, **WEIGHTS[weights])


@pytest.mark.parametrize("shape", [(20, 72), (260, 270), (70, 40)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_16_bit_input_is_computed_in_float32(library, norm, dtype, shape):
    z = latents(*shape).to(dtype)
    check(run(library, z, norm), z, norm)


@pytest.mark.parametrize("shape", [(70, 230), (258, 260), (70, 40)], ids=str)
@pytest.mark.parametrize("norm", ["sample", "standardize"])
def test_the_order_of_blocks_and_threads_does_not_change_a_bit(library, norm, shape):
    z = latents(*shape)
    first, *others = (run(library, z, norm, order=order) for order in (0, 1, 7))
    for other in others:
        assert torch.equal(first.loss, other.loss) and torch.equal(first.gradient, other.gradient)


@pytest.mark.parametrize("rows", [9, 64, 65, 128, 129, 256])
@pytest.mark.parametrize("norm", ["sample", "standardize"])
def test_wide_and_narrow_tiles_of_columns_equal_the_oracle(library, norm, rows):
    z = latents(rows, 300)
    for processors in (1, 1000):
        check(run(library, z, norm, processors=processors), z, norm)


@pytest.mark.parametrize("rows", [40, 200])
@pytest.mark.parametrize("norm", ["center", "standardize"])
def test_columns_far_from_zero_equal_the_oracle(library, norm, rows):
    z = latents(rows, 300) + 1000 * latents(1, 300)
    check(run(library, z, norm), z, norm)


@pytest.mark.parametrize("size", [1e-18, 1e18, 1e30, 1e36])
@pytest.mark.parametrize("norm", ["feature", "standardize"])
def test_the_size_of_normalised_columns_does_not_matter(library, norm, size):
    z = latents(40, 90) * size
    value, expected = value_and_gradient(z.double(), norm=norm, eps=1e-30)
    result = run(library, z, norm, eps=1e-30)
    assert result.loss.item() == pytest.approx(value.item(), rel=2e-7)
    assert (result.gradient - expected).norm() <= 5e-7 * expected.norm() + 1e-43


def test_a_tensor_that_is_not_aligned_is_read_value_by_value(library):
    z = torch.empty(40 * 80 + 1)[1:].view(40, 80).copy_(latents(40, 80))
    check(run(library, z, "none"), z, "none")


@pytest.mark.parametrize("shape", [(40, 80), (260, 270), (80, 40)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_the_value_alone_has_the_same_bits(library, norm, shape):
    z = latents(*shape)
    alone, both = run(library, z, norm, need_grad=False), run(library, z, norm)
    assert torch.equal(alone.loss, both.loss) and alone.launches < both.launches


@pytest.mark.parametrize(
    "shape, norm, weights, launches, products",
    [
        ((128, 300), "none", {}, 2, 0),
        ((128, 300), "center", {}, 2, 0),
        ((128, 300), "feature", {}, 2, 0),
        ((256, 300), "standardize", {}, 2, 0),
        ((128, 300), "standardize", WEIGHTS["whole"], 2, 0),
        ((128, 300), "sample", WEIGHTS["whole"], 2, 0),
        ((128, 300), "sample", {}, 4, 0),
        ((259, 300), "standardize", {}, 3, 4),
        ((262, 267), "none", {}, 3, 8),
        ((300, 100), "sample", {}, 4, 2),
    ],
)
def test_launches_and_products_are_as_few_as_written(
    library, shape, norm, weights, launches, products
):
    result = run(library, latents(*shape), norm, **weights)
    assert (result.launches, result.products) == (launches, products)


@pytest.mark.parametrize("shape", [(6, 40), (260, 264), (40, 6)], ids=str)
@pytest.mark.parametrize("weights", [{}, WEIGHTS["whole"]], ids=["barlow", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_zero_rows_and_columns(library, norm, weights, shape):
    z = latents(*shape)
    z[2], z[:, 3] = 0, 0
    check(run(library, z, norm, **weights), z, norm, **weights)


@pytest.mark.parametrize("shape", [(6, 40), (260, 264), (40, 6)], ids=str)
@pytest.mark.parametrize("norm", ["sample", "feature"])
def test_rows_and_columns_shorter_than_eps_are_not_projected(library, norm, shape):
    z = latents(*shape)
    z[1] *= 1e-3
    z[:, 2] *= 1e-3
    weights = {"eps": 0.5, "offdiag_weight": 0.3}
    check(run(library, z, norm, **weights), z, norm, **weights)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("shape", [(6, 40), (260, 264), (40, 6)], ids=str)
@pytest.mark.parametrize("weights", [{}, WEIGHTS["whole"]], ids=["barlow", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_nan_and_infinity_reach_the_loss_and_the_gradient(library, norm, weights, shape, bad):
    z = latents(*shape)
    z[2, 3] = bad
    result = run(library, z, norm, **weights)
    assert not result.loss.isfinite() and not result.gradient.isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(1, 64), (1, 7), (1, 1), (7, 1)], ids=str)
def test_one_row_or_one_column(library, norm, shape):
    z = latents(*shape)
    result = run(library, z, norm)
    value, expected = value_and_gradient(z.double(), norm=norm)
    assert result.loss.item() == pytest.approx(value.item(), rel=1e-6, abs=1e-9)
    assert (result.gradient - expected).norm() <= 5e-7 * expected.norm() + 1e-7


@pytest.mark.parametrize("shape", [(40, 90), (258, 300)], ids=str)
def test_rows_at_the_optimum_keep_an_accurate_gradient(library, shape):
    z, whole = torch.eye(*shape) + latents(*shape) / 1000, WEIGHTS["whole"]
    value, expected = value_and_gradient(z.double(), norm="sample", **whole)
    _, eager = value_and_gradient(z, norm="sample", **whole)
    result = run(library, z, "sample", **whole)
    assert result.loss.item() == pytest.approx(value.item(), rel=1.2e-7)
    assert (result.gradient - expected).norm() <= 2 * (eager - expected).norm()


@pytest.mark.parametrize("size", [1e20, 1e37, 1e-11, 1e-25, 1e-41])
def test_the_size_of_unit_rows_does_not_matter(library, size):
    z = latents(4, 9) * torch.tensor([[size], [1.0], [2.0], [size]])
    weights = WEIGHTS["whole"] | {"eps": 1e-60}
    value, expected = value_and_gradient(z.double(), norm="sample", **weights)
    result = run(library, z, "sample", **weights)
    assert result.loss.item() == pytest.approx(value.item(), rel=2e-7)
    rows = slice(0, 4) if size > 1e-38 else slice(1, 3)  # 1/r of the others is beyond float32
    torch.testing.assert_close(result.gradient[rows].double(), expected[rows], rtol=2e-5, atol=0)
