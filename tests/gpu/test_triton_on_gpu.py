"""Every case of the Triton losses on the GPU: accuracy, bits, streams, graphs, memory."""

import pytest
import torch

from mflag.ops import barlow_twins_loss, orthogonality_loss
from mflag.ops.orthogonality import orthogonality_of_rows
from mflag.ops.orthogonality_reference import Formula, OwnRows
from tests.kernels.accuracy import check_accuracy
from tests.oracles.barlow_twins import value_and_gradients

pytestmark = pytest.mark.gpu
NORMS = ("none", "center", "sample", "feature", "standardize")
SHAPES = [(1, 64), (67, 131), (256, 300), (257, 300), (512, 2048), (1024, 2048), (300, 64)]
SHAPES += [(4096, 512), (3100, 3200)]


def latents(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).cuda()


def orthogonality(z, **formula):
    z = z.clone().requires_grad_()
    loss = orthogonality_loss(z, backend="triton", **formula)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("λ, δ", [(1.0, 1.0), (0.3, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_norm_and_weight_equals_the_oracle(norm, λ, δ, shape):
    z, formula = latents(*shape), {"norm": norm, "offdiag_weight": λ, "diagonal_weight": δ}
    check_accuracy(z, *orthogonality(z, **formula), **formula)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(512, 2048), (1000, 500)], ids=str)
def test_16_bit_input_gives_the_value_of_float32(norm, dtype, shape):
    z = latents(*shape).to(dtype)
    loss, gradient = orthogonality(z, norm=norm)
    wide_loss, wide = orthogonality(z.float(), norm=norm)
    assert torch.equal(loss, wide_loss) and torch.equal(gradient, wide.to(dtype))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(100, 300), (512, 2048), (3100, 3200), (600, 300)], ids=str)
def test_bits_repeat_a_hundred_times_on_any_stream(norm, shape):
    z = latents(*shape)
    first = orthogonality(z, norm=norm)
    for _ in range(100):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            again = orthogonality(z, norm=norm)
        torch.cuda.current_stream().wait_stream(stream)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("shape", [(100, 300), (512, 2048), (3100, 3200), (600, 300)], ids=str)
def test_a_captured_graph_replays_on_new_values(shape):
    static = latents(*shape)

    def step():
        return torch.ops.mflag.orthogonality(
            static, "standardize", None, 1.0, 0.3, 1.0, 1e-12, 1.0, True, "highest", "triton"
        )

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    static.mul_(2).add_(1)
    graph.replay()
    expected = step()
    for ours, eager in zip(captured, expected, strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_peak_is_at_most_twice_the_latents_and_the_gram(norm):
    z = latents(1024, 2048)

    def step():
        return torch.ops.mflag.orthogonality(
            z, norm, None, 1.0, 0.3, 1.0, 1e-12, 1.0, True, "highest", "triton"
        )

    step()  # cuBLAS takes its workspace
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    peak = torch.cuda.max_memory_allocated() - before
    assert peak <= 2 * 4 * (1024 * 2048 + 1024**2)


def test_more_than_two_to_the_31_elements():
    z = torch.zeros(65536, 32769, dtype=torch.bfloat16, device="cuda")
    z[-1, -3:] = 1
    loss = orthogonality_loss(z, norm="none", scale=1.0, offdiag_weight=0.5, backend="triton")
    # Three d_i of 1, six C_ij of 1 off the diagonal, the other d_i 0.
    assert float(loss) == pytest.approx(0.5 * (32769 - 3 + 0.5 * 6), rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_own_rows_equal_these_rows_of_the_whole(norm):
    z, formula = latents(1024, 2048), Formula(norm, None, 1.0, 0.3, 0.5, 1e-12)
    arguments = True, "triton", "highest", formula
    parts: tuple[list[torch.Tensor], ...] = [], []
    for rank in range(2):

        def record(part, of_rank=parts[rank]):
            of_rank.append(part)
            return part

        orthogonality_of_rows(z, OwnRows(512 * rank, 512, record), *arguments)
    gradients = []
    for rank in range(2):
        sums = iter([a + b for a, b in zip(*parts, strict=True)])

        def total(part, sums=sums):
            return next(sums)

        own = OwnRows(512 * rank, 512, total)
        loss, gradient = orthogonality_of_rows(z, own, *arguments)
        gradients.append(gradient)
    check_accuracy(z, loss, torch.cat(gradients), norm=norm, offdiag_weight=0.3, factor=0.5)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_barlow_twins_equals_the_oracle(shape):
    z = latents(*shape)
    views = [z.requires_grad_(), (z + z.flip(0) / 2).detach().requires_grad_()]
    loss = barlow_twins_loss(*views, backend="triton")
    ours = loss, *torch.autograd.grad(loss, views)
    exact = value_and_gradients(views[0].double(), views[1].double())
    for value, expected in zip(ours, exact, strict=True):
        assert (value - expected).norm() <= 2e-6 * expected.norm()
