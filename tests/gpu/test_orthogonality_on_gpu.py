"""The CUDA kernels of the Gram losses on a GPU, against the float64 oracles."""

import shutil
import subprocess
import sys
from typing import Any

import pytest
import torch

from mflag import backends
from mflag.ops import barlow_twins_loss, orthogonality_loss
from tests.oracles.barlow_twins import value_and_gradients
from tests.oracles.orthogonality import value_and_gradient

pytestmark = pytest.mark.gpu
NORMS = ["none", "center", "sample", "feature", "standardize"]
WEIGHTS: dict[str, dict[str, Any]] = {
    "barlow": {},
    "whole": {"scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0},
    "covariance": {"scale": 2.3, "target": 0.4, "offdiag_weight": 1.7, "diagonal_weight": 0.0},
}
SHAPES = [
    (1, 64), (5, 37), (64, 65), (128, 2048), (129, 4096), (256, 1001), (256, 8192),
    (257, 300), (512, 2048), (1100, 2300), (2300, 2500),
    (64, 64), (300, 63), (4096, 512), (1500, 1100),
]  # fmt: skip
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Float32 products of up to 4096 terms; one rounding of a 16-bit gradient.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}


@pytest.fixture(autouse=True)
def the_cuda_backend_is_here():
    assert backends()["cuda"] is True, backends()["cuda"]


def latents(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).relu().to("cuda", dtype)


def loss_and_gradient(z, **formula):
    z = z.detach().requires_grad_()
    loss = orthogonality_loss(z, backend="cuda", **formula)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def check(z, **formula):
    loss, gradient = loss_and_gradient(z, **formula)
    value, expected = value_and_gradient(z.double(), **formula)
    assert float((loss - value).abs()) <= 1e-6 * float(value.abs().clamp(min=1e-6))
    error = float((gradient.double() - expected).norm())
    assert error <= TOLERANCE[z.dtype] * max(float(expected.norm()), 1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_and_shape_equals_the_oracle(norm, weights, shape):
    check(latents(shape), norm=norm, **weights)


@pytest.mark.parametrize("shape", [(128, 2048), (300, 301), (512, 256)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_16_bit_input_is_computed_in_float32(norm, dtype, shape):
    check(latents(shape, dtype), norm=norm)


@pytest.mark.parametrize("norm", NORMS)
def test_more_than_two_billion_values_are_addressed(norm):
    rows, columns = 128, 2**24 + 64
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("less than 40 GiB of GPU memory")
    z = torch.zeros(rows, columns, dtype=torch.bfloat16, device="cuda")
    z[:, -300:] = latents((rows, 300), torch.bfloat16)  # zero columns have no share but t²
    formula: dict[str, Any] = {"norm": norm, "target": 0.0, "offdiag_weight": 0.5}
    loss, gradient = loss_and_gradient(z, **formula)
    value, expected = value_and_gradient(z[:, -300:].double(), **formula)
    assert float(loss) == pytest.approx(float(value), rel=1e-5)
    error = float((gradient[:, -300:].double() - expected).norm())
    assert error <= TOLERANCE[torch.bfloat16] * float(expected.norm())
    assert not gradient[:, :-300].any()


@pytest.mark.parametrize("norm", NORMS)
def test_a_tensor_that_is_not_aligned_equals_the_oracle(norm):
    values = latents((1 + 100 * 260,))
    check(values[1:].view(100, 260), norm=norm)


def two_views(shape, dtype=torch.float32):
    z = latents(shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1)).cuda()
    return z.to(dtype), (z + 0.3 * noise).to(dtype)


def barlow_twins_of(z):
    z = [view.detach().requires_grad_() for view in z]
    loss = barlow_twins_loss(*z, backend="cuda")
    return loss.detach(), *torch.autograd.grad(loss, z)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_barlow_twins_of_two_views_equals_the_oracle(dtype, shape):
    if shape[0] == 1:
        pytest.skip("one row has no variance: the gradient is zero")
    z = two_views(shape, dtype)
    loss, *gradients = barlow_twins_of(z)
    value, *expected = value_and_gradients(*(view.double() for view in z))
    assert float(loss) == pytest.approx(float(value), rel=1e-6)
    for mine, exact in zip(gradients, expected, strict=True):
        assert float((mine.double() - exact).norm()) <= TOLERANCE[dtype] * float(exact.norm())
    assert all(map(torch.equal, barlow_twins_of(z), (loss, *gradients)))


@pytest.mark.parametrize("shape", [(128, 2048), (512, 256)], ids=str)
def test_a_replayed_graph_of_barlow_twins_gives_the_bits_of_a_call(shape):
    z = two_views(shape)
    direct = barlow_twins_of(z)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = barlow_twins_of(z)
    graph.replay()
    assert all(map(torch.equal, captured, direct))


@pytest.mark.parametrize("shape", [(128, 2048), (256, 8192)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_few_rows_take_two_launches(norm, shape):
    z = latents(shape)
    formula = WEIGHTS["whole"] if norm == "sample" else {}
    loss_and_gradient(z, norm=norm, **formula)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        loss_and_gradient(z, norm=norm, **formula)
    names = [event.name for event in profile.events() if "mflag::orthogonality" in event.name]
    assert len(names) == 2, names


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", ["sample", "standardize"])
def test_a_hundred_runs_give_the_same_bits(norm, shape):
    z = latents(shape)
    loss, gradient = loss_and_gradient(z, norm=norm)
    for _ in range(100):
        again, gradient_again = loss_and_gradient(z, norm=norm)
        assert torch.equal(loss, again) and torch.equal(gradient, gradient_again)


@pytest.mark.parametrize("shape", [(128, 2048), (512, 2048)], ids=str)
def test_two_streams_do_not_disturb_each_other(shape):
    z = [latents(shape), latents(shape) * 2 - 1]
    alone = [loss_and_gradient(each, norm="standardize") for each in z]
    streams = [torch.cuda.Stream() for _ in z]
    torch.cuda.synchronize()
    for _ in range(50):
        together = []
        for each, stream in zip(z, streams, strict=True):
            with torch.cuda.stream(stream):
                together.append(loss_and_gradient(each, norm="standardize"))
        torch.cuda.synchronize()
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize("shape", [(128, 2048), (512, 2048), (512, 256)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_a_replayed_graph_gives_the_bits_of_a_call(norm, shape):
    z, other = latents(shape), latents(shape) * 2 - 1
    direct = [loss_and_gradient(each, norm=norm) for each in (z, other)]
    held = z.clone()
    loss_and_gradient(held, norm=norm)  # cuBLAS makes its handle outside of a graph
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = loss_and_gradient(held, norm=norm)
    for each, (loss, gradient) in zip((z, other), direct, strict=True):
        held.copy_(each)
        for _ in range(3):
            graph.replay()
            assert torch.equal(captured[0], loss) and torch.equal(captured[1], gradient)


def test_tf32_only_where_it_is_asked_for():
    z, formula = latents((512, 2048)), {"norm": "standardize", "offdiag_weight": 1.0}
    _, expected = value_and_gradient(z.double(), **formula)
    _, exact = loss_and_gradient(z, **formula)
    _, rounded = loss_and_gradient(z, precision="tf32", **formula)
    errors = [float((each - expected).norm() / expected.norm()) for each in (exact, rounded)]
    assert errors[0] < 2e-6 and 1e-5 < errors[1] < 1e-2


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck", "initcheck"])
def test_the_sanitizer_finds_nothing(tool):
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer was not found")
    command = [program, "--tool", tool, "--error-exitcode", "9", "--kernel-regex", "kns=mflag"]
    command += [sys.executable, "-m", "tests.gpu.sanitized_orthogonality"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
