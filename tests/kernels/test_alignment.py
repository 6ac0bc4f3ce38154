"""What only the Triton kernel of the alignment loss has; the rest is in tests/ops."""

import pytest
import torch

from mflag import backends
from mflag.ops import alignment_loss
from tests.oracles.alignment import value_and_gradients

pytestmark = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)


def embeddings(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def results_of(z_a, z_t, index=None):
    return torch.ops.mflag.alignment(z_a, z_t, index, 1.0, True, index is None, "triton")


@pytest.mark.parametrize("rows", [1, 3, 4, 11])
def test_programs_with_several_rows_leave_none_out(monkeypatch, rows):
    monkeypatch.setattr("mflag.kernels.alignment.MAX_PROGRAMS", 3)
    z_a, z_t = embeddings(rows, 19), embeddings(rows, 19, seed=1)
    exact = value_and_gradients(z_a.double(), z_t.double())
    for ours, right in zip(results_of(z_a, z_t), exact, strict=True):
        assert (ours - right).norm() <= 1.2e-7 * right.norm()


def test_more_programs_than_one_block_of_the_last_sum():
    z_a, z_t = embeddings(260, 2), embeddings(260, 2, seed=1)
    exact, _, _ = value_and_gradients(z_a.double(), z_t.double())
    assert alignment_loss(z_a, z_t, backend="triton").item() == pytest.approx(
        exact.item(), rel=1.2e-7
    )


@pytest.mark.parametrize("columns", [4095, 4096, 4097, 9000])
def test_columns_beyond_the_ones_on_chip_are_read_again(columns):
    z_a, z_t = embeddings(2, columns), embeddings(2, columns, seed=1)
    exact = value_and_gradients(z_a.double(), z_t.double())
    for ours, right in zip(results_of(z_a, z_t), exact, strict=True):
        assert (ours - right).norm() <= 1.2e-7 * right.norm()


def test_the_counter_is_left_at_zero_for_the_next_launch():
    from mflag.kernels.counters import counters_for

    z_a, z_t = embeddings(5, 19), embeddings(5, 19, seed=1)
    first, second = (results_of(z_a, z_t) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert counters_for(z_a.device, 1).item() == 0


@pytest.mark.parametrize("wrong", [-1, 9, 2**40])
def test_an_index_outside_of_the_table_is_not_read(wrong):
    z_a, table = embeddings(2, 4), embeddings(9, 4, seed=1)
    loss, gradient, _ = results_of(z_a, table, torch.tensor([8, wrong]))
    assert loss.isnan() and gradient[1].isnan().all()
    assert torch.equal(gradient[0], results_of(z_a, table, torch.tensor([8, 0]))[1][0])
