"""Every loss as a module among others: compiled, under autocast, copied, saved, differentiated."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mflag import backends
from mflag.losses import AlignmentLoss, BarlowTwinsLoss, MFLAGLoss, OrthogonalityLoss
from mflag.losses.presets import ORTHOGONALITY_PRESETS
from mflag.ops.orthogonality import NORMS

N_FEATURES = 6


class Total(nn.Module):
    """The sum that ``MFLAGLoss`` returns, as a function of two latents."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = MFLAGLoss()

    def forward(self, z_v: Tensor, z_a: Tensor) -> Tensor:
        z_t = torch.arange(z_a.numel(), dtype=z_a.dtype).view(z_a.shape)
        return self.loss(z_v, z_a, z_t).total


LOSSES: dict[str, tuple[type[nn.Module] | Any, int]] = {
    **{f"norm-{norm}": (lambda norm=norm: OrthogonalityLoss(norm=norm), 1) for norm in NORMS},
    **{
        f"preset-{name}": (lambda name=name: OrthogonalityLoss.preset(name), 1)
        for name in ORTHOGONALITY_PRESETS
    },
    "alignment": (AlignmentLoss, 2),
    "barlow_twins": (BarlowTwinsLoss, 2),
    "mflag": (Total, 2),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def made(name: str) -> nn.Module:
    return LOSSES[name][0]()


def latents(name: str, rows: int = 4, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows)
    shape = (rows, N_FEATURES)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(LOSSES[name][1])
    ]


def value_and_gradients(loss: Any, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs)


@every_loss
def test_compiled_whole_it_is_the_same_and_another_batch_compiles_once_more(name):
    """The second batch size makes the rows a variable; the dual and the primal are one op."""
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    loss = made(name)
    compiled = torch.compile(loss, fullgraph=True, backend=count)
    for rows in (4, 5, 3, 9, 17):
        inputs = latents(name, rows)
        found = value_and_gradients(compiled, inputs)
        for mine, expected in zip(found, value_and_gradients(loss, inputs), strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-14)
    assert len(graphs) <= 2


@every_loss
def test_compiled_with_dynamic_shapes_there_is_one_graph(name):
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(made(name), fullgraph=True, dynamic=True, backend=count)
    values = [compiled(*latents(name, rows)).item() for rows in (4, 5, 3, 9)]
    assert len(graphs) == 1 and len(set(values)) == 4


@every_loss
def test_compiled_ahead_of_autograd_it_has_the_same_gradients(name):
    torch._dynamo.reset()
    inputs = latents(name)
    compiled = torch.compile(made(name), fullgraph=True, backend="aot_eager")
    found = value_and_gradients(compiled, inputs)
    for mine, expected in zip(found, value_and_gradients(made(name), inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-14)


@every_loss
def test_bad_input_is_refused_in_a_compiled_module_too(name):
    torch._dynamo.reset()
    compiled = torch.compile(made(name), backend="eager")
    with pytest.raises(RuntimeError, match=r"InputError\('z.* has dtype torch.int64; give"):
        compiled(*(torch.ones(4, N_FEATURES, dtype=torch.int64) for _ in latents(name)))


@every_loss
def test_autocast_leaves_a_float32_loss(name):
    """Of latents in bfloat16, as a layer under autocast gives them."""
    layer = nn.Linear(N_FEATURES, N_FEATURES)
    x = torch.randn(4, N_FEATURES, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = layer(x)
        loss = made(name)(*[z] * len(latents(name)))
    assert z.dtype == torch.bfloat16 and loss.dtype == torch.float32
    expected = made(name)(*[z.detach()] * len(latents(name)))
    assert loss.item() == expected.item()
    loss.backward()
    assert layer.weight.grad is not None and layer.weight.grad.isfinite().all()


@every_loss
def test_grad_of_torch_func_is_an_error_and_never_a_wrong_gradient(name):
    """An op of torch.library has none; torch.autograd.grad is the way."""
    inputs = [z.detach() for z in latents(name)]
    with pytest.raises(RuntimeError, match="autograd.Function with functorch transforms"):
        torch.func.grad(made(name), tuple(range(len(inputs))))(*inputs)


@every_loss
def test_vmap_gives_the_loss_of_each_batch(name):
    batches = [latents(name, rows) for rows in (4, 4, 4)]
    stacked = [torch.stack([*same]).detach() for same in zip(*batches, strict=True)]
    stacked = [z * torch.tensor([1.0, 2.0, 3.0])[:, None, None] for z in stacked]
    loss = made(name)
    expected = torch.stack([loss(*(z[i] for z in stacked)) for i in range(3)])
    torch.testing.assert_close(torch.vmap(loss)(*stacked), expected, rtol=1e-12, atol=1e-14)


@every_loss
def test_it_runs_in_inference_mode(name):
    inputs = latents(name)
    expected = made(name)(*inputs).item()
    with torch.inference_mode():
        loss = made(name)(*(z.clone() for z in inputs))
    assert loss.item() == expected and not loss.requires_grad


@every_loss
@pytest.mark.parametrize(
    "clone",
    [copy.deepcopy, copy.copy, lambda loss: pickle.loads(pickle.dumps(loss))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_copy_is_the_same_loss(name, clone):
    inputs = latents(name)
    loss = made(name)
    assert clone(loss)(*inputs).item() == loss(*inputs).item()
    assert repr(clone(loss)) == repr(loss)


@every_loss
def test_it_has_no_state_and_no_parameters(name):
    loss = made(name)
    assert not loss.state_dict() and not list(loss.parameters()) and not list(loss.buffers())
    loss.load_state_dict({})
    assert loss.double().eval().train() is loss


@pytest.mark.parametrize(
    "loss, shown",
    [
        (
            OrthogonalityLoss.preset("paper"),
            "OrthogonalityLoss(norm='sample', scale=1.0, target=1.0, offdiag_weight=1.0, "
            "factor=1.0, gather=False)",
        ),
        (
            OrthogonalityLoss("center", diagonal_weight=0.0, backend="reference"),
            "OrthogonalityLoss(norm='center', scale='batch', target=1.0, offdiag_weight=0.0051, "
            "factor=0.5, gather=False, diagonal_weight=0.0, backend='reference')",
        ),
        (AlignmentLoss(2.0), "AlignmentLoss(factor=2.0)"),
        (BarlowTwinsLoss(0.1), "BarlowTwinsLoss(lambda_param=0.1, gather_distributed=False)"),
    ],
)
def test_its_name_shows_its_formula(loss, shown):
    assert repr(loss) == shown


def test_the_name_of_both_losses_shows_their_weights():
    shown = repr(MFLAGLoss(alignment_weight=3.0))
    assert "orthogonality_weight=1.0, alignment_weight=3.0" in shown and "AlignmentLoss(" in shown


@every_loss
def test_the_second_derivative_is_that_of_finite_differences(name):
    inputs = latents(name, 3)
    assert torch.autograd.gradgradcheck(made(name), inputs)


@every_loss
@pytest.mark.skipif(backends()["cpu"] is not True, reason="no native library")
def test_a_hessian_vector_product_does_not_depend_on_the_backend(name, monkeypatch):
    products = []
    for backend in ("reference", "cpu"):
        monkeypatch.setenv("MFLAG_BACKEND", backend)
        inputs = latents(name, 3)
        first = torch.autograd.grad(made(name)(*inputs), inputs, create_graph=True)
        square = torch.stack([g.square().sum() for g in first]).sum()
        products.append(torch.autograd.grad(square, inputs))
    torch.testing.assert_close(*products, rtol=1e-10, atol=1e-12)


@every_loss
def test_a_batch_without_gradient_is_free_to_be_one(name):
    with torch.no_grad():
        assert not made(name)(*latents(name)).requires_grad
    assert not made(name)(*(z.detach() for z in latents(name))).requires_grad
