import pytest
import torch

from mflag import backends
from mflag.ops.orthogonality import orthogonality_of_rows
from mflag.ops.orthogonality_reference import Formula, OwnRows
from tests.ops.test_orthogonality import (
    FAMILIES,
    FORMULAS,
    NORMS,
    VALUE_FLOOR,
    inputs_of,
    relative,
)
from tests.oracles.orthogonality import unprojected_gradient, value_and_gradient

NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]
GRADIENT_FLOOR = 4e-7


def loss_and_gradient_of_ranks(z, backend, ranks, **formula):
    """The loss of every rank, and their rows of the gradient, in one process.

    What a rank adds up does not depend on the sums: a first round records it, a second gets them.
    """
    parameters = Formula(**({"scale": None, "target": 1.0, "factor": 1.0, "eps": 1e-12} | formula))
    length = z.shape[0] // ranks
    recorded = []

    def run(rank, total):
        own = OwnRows(rank * length, length, total)
        return orthogonality_of_rows(z, own, True, backend, "highest", parameters)

    for rank in range(ranks):
        parts: list[torch.Tensor] = []
        run(rank, lambda part, parts=parts: parts.append(part) or part)
        recorded.append(parts)
    sums = [torch.stack(parts).sum(0) for parts in zip(*recorded, strict=True)]
    results = []
    for rank in range(ranks):
        remaining = iter(sums)
        results.append(run(rank, lambda _, remaining=remaining: next(remaining)))
    return torch.stack([loss for loss, _ in results]), torch.cat([rows for _, rows in results])


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(8, 19), (200, 210), (20, 7)], ids=str)
@pytest.mark.parametrize("λ, δ", [(0.3, 1.0), (1.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("ranks", [1, 4])
def test_float64_equals_autograd_of_the_full_matrix(backend, norm, shape, λ, δ, ranks):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    formula = {"norm": norm, "offdiag_weight": λ, "diagonal_weight": δ, "factor": 0.7}
    value, gradient = value_and_gradient(z, **formula)
    size = max(gradient.norm(), 1e-5 * unprojected_gradient(z, **formula).norm())
    losses, ours = loss_and_gradient_of_ranks(z, backend, ranks, **formula)
    torch.testing.assert_close(losses, value.expand(ranks), rtol=1e-12, atol=0)
    assert (ours - gradient).norm() <= 1e-10 * size


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("family", FAMILIES)
def test_error_is_at_most_twice_that_of_eager(backend, formula, family):
    z = inputs_of(family, 48, 101)
    value, gradient = value_and_gradient(z.double(), **formula)
    eager_value, eager_gradient = value_and_gradient(z, **formula)
    losses, ours = loss_and_gradient_of_ranks(z, backend, 3, **formula)
    size, full_size = gradient.norm(), unprojected_gradient(z.double(), **formula).norm()
    if size < 1e-6 * full_size:  # at the optimum: compare with the size of what cancelled
        size = full_size
    eager_error = relative((eager_value.double() - value).abs(), value.abs())
    error = relative((losses.double() - value).abs().max(), value.abs())
    assert error <= max(2 * eager_error, VALUE_FLOOR)
    eager_error = relative((eager_gradient.double() - gradient).norm(), size)
    assert relative((ours.double() - gradient).norm(), size) <= max(2 * eager_error, GRADIENT_FLOOR)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
def test_bits_of_own_rows_do_not_depend_on_the_threads(backend, norm):
    z = inputs_of("gaussian", 128, 300)
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(loss_and_gradient_of_ranks(z, backend, 2, norm=norm, offdiag_weight=0.3))
    torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


@pytest.mark.parametrize("backend", NATIVE)
def test_no_gradient_of_own_rows_is_worked_out_without_need(backend):
    own = OwnRows(2, 2, lambda part: part)
    formula = Formula("sample", None, 1.0, 0.3, 1.0, 1e-12)
    _, gradient = orthogonality_of_rows(torch.ones(4, 9), own, False, backend, "highest", formula)
    assert gradient.shape == (0,)
