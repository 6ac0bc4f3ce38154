import pytest
import torch
import torch.distributed as dist
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwinsLoss

from mflag.losses import BarlowTwinsLoss, GradientShare, OrthogonalityLoss
from tests.losses.ranks import run_on_ranks

NORMS = ("none", "sample", "feature", "standardize")
SHAPES = ((3, 17), (10, 5))  # rows of one rank, columns: dual and primal


def rows_of(rank, shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(shape, dtype=dtype, generator=generator)


def averaged(gradient):
    """What DistributedDataParallel does with a gradient."""
    dist.all_reduce(gradient)
    return gradient / dist.get_world_size()


def step_of_every_loss(rank):
    """Loss, and the averaged gradient of a shared weight per column, for every norm and shape."""
    results = {}
    for norm in NORMS:
        for shape in SHAPES:
            for reduction in ("mean", "sum"):
                weight = torch.ones(shape[1], dtype=torch.float64, requires_grad=True)
                loss = OrthogonalityLoss(norm, gather=True, gradient_reduction=reduction)
                value = loss(rows_of(rank, shape) * weight)
                (gradient,) = torch.autograd.grad(value, weight)
                if reduction == "mean":
                    gradient = averaged(gradient)
                else:
                    dist.all_reduce(gradient)
                results[norm, shape, reduction] = (value.item(), gradient.tolist())
    return results


def barlow_twins(rank, ours):
    z = rows_of(rank, (4, 9)).requires_grad_()
    loss = (BarlowTwinsLoss if ours else LightlyBarlowTwinsLoss)(gather_distributed=True)
    value = loss(z, rows_of(rank + 10, (4, 9)))
    return value.item(), torch.autograd.grad(value, z)[0].tolist()


def share(rank):
    balance = GradientShare(0.5)
    balance.update(rows_of(rank, (4,)), rows_of(rank + 10, (4,)))
    return balance.weight.item()


def everything(rank):
    return (
        step_of_every_loss(rank),
        barlow_twins(rank, True),
        barlow_twins(rank, False),
        share(rank),
    )


@pytest.fixture(scope="module", params=[2])
def ranks(request, tmp_path_factory):
    return run_on_ranks(everything, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gathered_step_equals_the_step_of_the_whole_batch(ranks, norm, shape, reduction):
    weight = torch.ones(shape[1], dtype=torch.float64, requires_grad=True)
    batch = torch.cat([rows_of(rank, shape) for rank in range(len(ranks))])
    value = OrthogonalityLoss(norm)(batch * weight)
    (gradient,) = torch.autograd.grad(value, weight)
    for losses, *_ in ranks:
        loss, ours = losses[norm, shape, reduction]
        assert loss == pytest.approx(value.item(), rel=1e-12)
        torch.testing.assert_close(
            torch.tensor(ours, dtype=torch.float64), gradient, rtol=1e-9, atol=1e-12
        )


def test_barlow_twins_over_ranks_equals_lightly(ranks):
    for _, ours, theirs, _ in ranks:
        torch.testing.assert_close(
            torch.tensor(ours[1]), torch.tensor(theirs[1]), rtol=1e-5, atol=1e-9
        )
        assert ours[0] == pytest.approx(theirs[0], rel=1e-12)


def test_gradient_share_is_of_the_global_gradients(ranks):
    reference = torch.cat([rows_of(rank, (4,)) for rank in range(len(ranks))])
    balanced = torch.cat([rows_of(rank + 10, (4,)) for rank in range(len(ranks))])
    expected = (0.5 * reference.norm() / balanced.norm()).item()
    assert all(weight == pytest.approx(expected, rel=1e-6) for *_, weight in ranks)
