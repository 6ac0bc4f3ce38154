import pytest
import torch
import torch.distributed as dist
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwinsLoss
from lightly.loss import VICRegLoss as LightlyVICRegLoss
from torch.nn.parallel import DistributedDataParallel

from mflag.errors import InputError
from mflag.losses import BarlowTwinsLoss, GradientShare, OrthogonalityLoss, VICRegLoss
from tests.losses.ranks import run_on_ranks
from tests.oracles.orthogonality import orthogonality

NORMS = ("none", "center", "sample", "feature", "standardize")
SHAPES = ((3, 17), (10, 5))  # rows of one rank, columns: dual and primal
WEIGHTS = ((0.3, 1.0), (1.0, 1.0), (1.0, 0.0))  # λ, δ
VIEWS = (*SHAPES, (3, 2, 7))


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


def encoder(columns):
    torch.manual_seed(0)
    return torch.nn.Linear(7, columns, dtype=torch.float64)


def ddp_steps(rank):
    """The averaged gradient of a linear encoder under DistributedDataParallel."""
    results = {}
    for shape in SHAPES:
        model = DistributedDataParallel(encoder(shape[1]))
        for norm in NORMS:
            for λ, δ in WEIGHTS:
                for backend in ("reference", None):
                    loss = OrthogonalityLoss(
                        norm, offdiag_weight=λ, diagonal_weight=δ, gather=True, backend=backend
                    )
                    model.zero_grad()
                    value = loss(model(rows_of(rank, (shape[0], 7))))
                    value.backward()
                    case = norm, λ, δ, shape, backend
                    results[case] = value.item(), model.module.weight.grad.tolist()
    return results


def float16_gradient(rank):
    z = (rows_of(rank, (3, 17)) * 3000).half().requires_grad_()
    value = OrthogonalityLoss("sample", gather=True, gradient_reduction="sum")(z)
    return torch.autograd.grad(65536 * value, z)[0].double().tolist()


def unequal_rows(rank):
    try:
        OrthogonalityLoss(gather=True)(rows_of(rank, (3 + rank, 5)))
    except InputError as error:
        return str(error)
    return "no error"


def lower_precision(rank):
    """Whether a global lower precision changes the loss or the gradient of Barlow Twins."""
    z_a, z_b = (rows_of(rank + i, (256, 256), torch.float32).requires_grad_() for i in (0, 10))
    found = []
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        value = BarlowTwinsLoss(gather_distributed=True)(z_a, z_b)
        found.append((value, *torch.autograd.grad(value, (z_a, z_b))))
    torch.set_float32_matmul_precision("highest")
    return not all(torch.equal(*pair) for pair in zip(*found, strict=True))


def barlow_twins(rank, ours):
    z = rows_of(rank, (4, 9)).requires_grad_()
    loss = (BarlowTwinsLoss if ours else LightlyBarlowTwinsLoss)(gather_distributed=True)
    value = loss(z, rows_of(rank + 10, (4, 9)))
    return value.item(), torch.autograd.grad(value, z)[0].tolist()


def vicreg(rank, shape, ours):
    z = rows_of(rank, shape).requires_grad_(), rows_of(rank + 10, shape).requires_grad_()
    value = (VICRegLoss if ours else LightlyVICRegLoss)(gather_distributed=True)(*z)
    return value.detach(), *torch.autograd.grad(value, z)


def vicreg_errors(rank):
    """The largest relative error of value and gradients against lightly's class, by shape."""
    errors = {}
    for shape in VIEWS:
        pairs = zip(vicreg(rank, shape, True), vicreg(rank, shape, False), strict=True)
        errors[shape] = max(((a - b).norm() / b.norm()).item() for a, b in pairs)
    return errors


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


def more(rank):
    return (
        ddp_steps(rank),
        float16_gradient(rank),
        unequal_rows(rank),
        lower_precision(rank),
        vicreg_errors(rank),
    )


@pytest.fixture(scope="module", params=[2, 4])
def more_ranks(request, tmp_path_factory):
    return run_on_ranks(more, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("backend", ["reference", None])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("λ, δ", WEIGHTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_ddp_step_equals_the_oracle_of_the_whole_batch(more_ranks, backend, norm, λ, δ, shape):
    model = encoder(shape[1])
    batch = torch.cat([rows_of(rank, (shape[0], 7)) for rank in range(len(more_ranks))])
    value = orthogonality(model(batch), norm=norm, offdiag_weight=λ, diagonal_weight=δ)
    (expected,) = torch.autograd.grad(value, model.weight)
    for steps, *_ in more_ranks:
        loss, ours = steps[norm, λ, δ, shape, backend]
        assert loss == pytest.approx(value.item(), rel=1e-12)
        gradient = torch.tensor(ours, dtype=torch.float64)
        assert (gradient - expected).norm() <= 1e-11 * expected.norm() + 1e-13


def test_a_gathered_float16_gradient_is_rounded_after_its_scale(more_ranks):
    count = len(more_ranks)
    batch = torch.cat([(rows_of(rank, (3, 17)) * 3000).half() for rank in range(count)]).double()
    batch.requires_grad_()
    (expected,) = torch.autograd.grad(orthogonality(batch, norm="sample"), batch)
    ours = torch.cat([torch.tensor(gradient).double() for _, gradient, *_ in more_ranks])
    assert (ours / 65536 - expected).norm() <= 5e-4 * expected.norm()


def test_unequal_rows_are_refused_on_every_rank(more_ranks):
    counts = list(range(3, 3 + len(more_ranks)))
    for _, _, message, *_ in more_ranks:
        assert message.startswith(f"the ranks have {counts} rows; give every rank as many")


def test_a_global_lower_precision_changes_nothing_over_ranks(more_ranks):
    assert not any(changed for _, _, _, changed, _ in more_ranks)


@pytest.mark.parametrize("shape", VIEWS, ids=str)
def test_vicreg_over_ranks_equals_lightly(more_ranks, shape):
    assert all(errors[shape] <= 1e-12 for *_, errors in more_ranks)


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
