import math
from typing import Any

import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import orthogonality_loss
from tests.oracles.orthogonality import unprojected_gradient, value_and_gradient

NORMS = ("none", "center", "sample", "feature", "standardize")
NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]
PAPER: dict[str, Any] = {"norm": "sample", "scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0}
AUTHORS: dict[str, Any] = {"norm": "none", "scale": None, "offdiag_weight": 0.0051, "factor": 0.5}
BARLOW = {"norm": "standardize", "scale": None, "offdiag_weight": 0.0051, "factor": 1.0}
FORMULAS = {
    "paper": PAPER,
    "authors": AUTHORS,
    "barlow": BARLOW,
    "feature": {"norm": "feature", "scale": 1.0, "offdiag_weight": 0.3, "factor": 1.0},
    "none-lambda1": {"norm": "none", "scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0},
    "sample-lambda0.3": {"norm": "sample", "scale": 0.1, "offdiag_weight": 0.3, "factor": 1.0},
    "vicreg": {"norm": "center", "offdiag_weight": 1.0, "factor": 0.1, "diagonal_weight": 0.0},
}
FAMILIES = ["gaussian", "relu-pooled", "near-one-hot", "orthonormal-rows"]
FAMILIES += ["collapsed", "huge-column", "denormal", "mixed-row-scales"]
# Value: 2 ulp of float32. Gradient: float32 rounding, or one rounding of the 16-bit output.
VALUE_FLOOR = 1.2e-7
GRADIENT_FLOOR = {torch.float32: 4e-7, torch.bfloat16: 2e-3, torch.float16: 3e-4}


def inputs_of(family: str, rows: int, columns: int) -> torch.Tensor:
    """One of the families that separate an accurate kernel from a naive one."""
    generator = torch.Generator().manual_seed(rows * columns)
    normal = torch.randn(rows, columns, generator=generator)
    if family == "relu-pooled":
        return normal.relu() / 2 + normal.abs() / 100
    if family == "near-one-hot":
        one_hot = torch.eye(max(rows, columns))[:rows, :columns]
        return one_hot + normal / 1000
    if family == "orthonormal-rows":
        tall = torch.linalg.qr(normal.T if rows < columns else normal)[0]
        return (tall.T if rows < columns else tall).contiguous()
    if family == "collapsed":
        return torch.randn(1, columns, generator=generator) + normal / 10_000
    if family == "huge-column":
        normal[:, 3] *= 1e4
        return normal
    if family == "denormal":
        return normal * 1e-40
    if family == "mixed-row-scales":
        return normal * torch.logspace(-6, 6, rows)[:, None]
    return normal


def loss_and_gradient(z, backend, **formula):
    z = z.detach().clone().requires_grad_()
    loss = orthogonality_loss(z, backend=backend, **formula)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def relative(error, size):
    return (error / size).item() if size > 0 else error.item()


def or_infinity(error):
    return (
        error if math.isfinite(error) else math.inf
    )  # eager overflowed: any finite value is better


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(7, 19), (19, 7), (16, 16), (1, 5), (5, 1)], ids=str)
@pytest.mark.parametrize(
    "s, t, λ, a", [(1.0, 1.0, 1.0, 1.0), (None, 1.0, 0.0051, 0.5), (2.3, 0.4, 1.7, 0.9)]
)
def test_float64_equals_autograd_of_the_full_matrix(backend, norm, shape, s, t, λ, a):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    formula = {"norm": norm, "scale": s, "target": t, "offdiag_weight": λ, "factor": a}
    value, gradient = value_and_gradient(z, **formula)
    size = max(gradient.norm(), 1e-5 * unprojected_gradient(z, **formula).norm())
    loss, ours = loss_and_gradient(z, backend, **formula)
    torch.testing.assert_close(loss, value, rtol=1e-12, atol=1e-14)
    assert (ours - gradient).norm() <= 1e-10 * size + 1e-14


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(7, 19), (19, 7), (16, 16), (5, 1)], ids=str)
@pytest.mark.parametrize("δ, λ", [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.7, 0.2)])
def test_a_weight_of_the_diagonal_equals_autograd_of_the_full_matrix(backend, norm, shape, δ, λ):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    formula = {"norm": norm, "scale": 2.3, "target": 0.4, "offdiag_weight": λ, "diagonal_weight": δ}
    value, gradient = value_and_gradient(z, **formula)
    size = max(gradient.norm(), 1e-5 * unprojected_gradient(z, **formula).norm())
    loss, ours = loss_and_gradient(z, backend, **formula)
    torch.testing.assert_close(loss, value, rtol=1e-12, atol=1e-14)
    assert (ours - gradient).norm() <= 1e-10 * size + 1e-14


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(  # several blocks of the Gram in every way that it is cut
    "shape",
    [(300, 400), (520, 700), (1100, 1100), (400, 300)],
    ids=str,
)
def test_large_float64_equals_autograd_of_the_full_matrix(backend, norm, shape):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    value, gradient = value_and_gradient(z, norm=norm, offdiag_weight=0.3)
    loss, ours = loss_and_gradient(z, backend, norm=norm, offdiag_weight=0.3)
    assert loss.item() == pytest.approx(value.item(), rel=1e-12)
    assert (ours - gradient).norm() <= 1e-11 * gradient.norm()


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("dtype", GRADIENT_FLOOR, ids=str)
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize(
    "family",
    FAMILIES,
)
@pytest.mark.parametrize("shape", [(128, 512), (48, 37), (33, 101)], ids=str)
def test_error_is_at_most_twice_that_of_eager(backend, dtype, formula, family, shape):
    z = inputs_of(family, *shape).to(dtype)
    z = torch.where(z.isfinite(), z, 1.0)  # 16 bit: the huge ones
    value, gradient = value_and_gradient(z.double(), **formula)
    eager_value, eager_gradient = value_and_gradient(z, **formula)
    loss, ours = loss_and_gradient(z, backend, **formula)
    size, full_size = gradient.norm(), unprojected_gradient(z.double(), **formula).norm()
    floor = GRADIENT_FLOOR[dtype]
    if size < 1e-6 * full_size:  # at the optimum: compare with the size of what cancelled
        size = full_size

    eager_error = or_infinity(relative((eager_value.double() - value).abs(), value.abs()))
    assert relative((loss.double() - value).abs(), value.abs()) <= max(2 * eager_error, VALUE_FLOOR)
    eager_error = or_infinity(relative((eager_gradient.double() - gradient).norm(), size))
    assert relative((ours.double() - gradient).norm(), size) <= max(2 * eager_error, floor)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize(
    "formula, value",
    [
        (AUTHORS, 32.6836),
        (PAPER, 0.72),
        ({"norm": "feature", "scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0}, 1.8),
    ],
)
def test_known_answers(backend, formula, value):
    z = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert orthogonality_loss(z, backend=backend, **formula).item() == pytest.approx(
        value, rel=2e-6
    )


@pytest.mark.parametrize("backend", NATIVE)
def test_orthogonal_rows_reach_the_minimum_of_the_paper(backend):
    z = inputs_of("orthonormal-rows", 128, 2048)
    assert orthogonality_loss(z, backend=backend, **PAPER).item() == pytest.approx(1920, rel=1e-6)


@pytest.mark.parametrize("backend", NATIVE)
def test_zeros_give_half_the_columns_in_the_authors_form(backend):
    assert orthogonality_loss(torch.zeros(8, 2048), backend=backend, **AUTHORS).item() == 1024


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("δ", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4)], ids=str)
def test_first_and_second_derivatives(norm, shape, δ):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def loss(z):
        return orthogonality_loss(z, norm=norm, offdiag_weight=0.5, factor=1.0, diagonal_weight=δ)

    assert torch.autograd.gradcheck(loss, z)
    assert torch.autograd.gradgradcheck(loss, z)


@pytest.mark.parametrize(
    "norm, z",
    [
        ("none", torch.ones(5, 3).T),
        ("sample", torch.ones(3, 5)),
        ("feature", torch.ones(5, 3)),
        ("standardize", torch.ones(3, 5, dtype=torch.bfloat16)),
        ("standardize", torch.ones(1, 4)),
        ("center", torch.ones(3, 5)),
    ],
    ids=["transposed", "sample", "primal", "bf16", "B1", "center"],
)
def test_opcheck(norm, z):
    z = (z * torch.arange(z.shape[1], dtype=z.dtype)).requires_grad_()
    arguments = (z, norm, None, 1.0, 0.5, 1.0, 1e-12, 1.0, True, "highest", None)
    torch.library.opcheck(torch.ops.mflag.orthogonality.default, arguments)


def test_opcheck_without_gradient():
    arguments = (
        torch.ones(3, 5),
        "sample",
        None,
        1.0,
        0.5,
        1.0,
        1e-12,
        1.0,
        False,
        "highest",
        None,
    )
    torch.library.opcheck(torch.ops.mflag.orthogonality.default, arguments)


def test_compiling_gives_one_node_and_the_same_value():
    nodes: list[Any] = []

    def capture(graph, _):
        nodes.extend(node for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    torch.manual_seed(0)
    z = torch.randn(4, 9, requires_grad=True)
    compiled = torch.compile(orthogonality_loss, fullgraph=True, backend=capture)
    assert compiled(z).item() == orthogonality_loss(z).item()
    assert sum("mflag" in str(node.target) for node in nodes) == 1


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("shape", [(128, 512), (130, 300), (70, 33)], ids=str)
def test_bits_repeat_and_do_not_depend_on_the_threads(backend, formula, shape):
    z = inputs_of("gaussian", *shape)
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        runs.append(loss_and_gradient(z, backend, **formula))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


@pytest.mark.skipif(backends()["cpu"] is not True, reason="no native library")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(4096, 200), (40, 200), (200, 40)], ids=str)
def test_a_single_block_has_the_same_bits_on_one_and_two_threads(norm, shape):
    z = inputs_of("gaussian", *shape)
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(loss_and_gradient(z, "cpu", norm=norm))
    torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
def test_autocast_changes_nothing(backend, norm):
    z = inputs_of("gaussian", 16, 40)
    expected = orthogonality_loss(z, norm=norm, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert orthogonality_loss(z, norm=norm, backend=backend).item() == expected.item()


@pytest.mark.parametrize("backend", NATIVE)
def test_a_global_lower_precision_changes_nothing(backend):
    z = inputs_of("gaussian", 256, 512)
    expected = orthogonality_loss(z, backend=backend)
    torch.set_float32_matmul_precision("medium")
    try:
        assert orthogonality_loss(z, backend=backend).item() == expected.item()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_global_lower_precision_does_not_change_the_second_derivative():
    z = inputs_of("gaussian", 256, 512).requires_grad_()

    def product():
        (first,) = torch.autograd.grad(orthogonality_loss(z), z, create_graph=True)
        return torch.autograd.grad((first * first.detach()).sum(), z)[0]

    expected = product()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(product(), expected)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
def test_strides_do_not_matter(backend, norm):
    z = inputs_of("gaussian", 24, 60)
    expected = loss_and_gradient(z[::2, ::3].contiguous(), backend, norm=norm)
    sliced = loss_and_gradient(z[::2, ::3], backend, norm=norm)
    transposed = loss_and_gradient(z[::2, ::3].T.contiguous().T, backend, norm=norm)
    for run in (sliced, transposed):
        torch.testing.assert_close(run, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", NATIVE)
def test_the_input_is_not_written(backend):
    z = inputs_of("gaussian", 9, 30)
    before = z.clone()
    loss_and_gradient(z, backend, **PAPER)
    assert torch.equal(z, before)


def test_the_gradient_is_scaled_by_what_comes_in():
    z = inputs_of("gaussian", 9, 30).requires_grad_()
    (once,) = torch.autograd.grad(orthogonality_loss(z), z)
    (thrice,) = torch.autograd.grad(3 * orthogonality_loss(z), z)
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("formula", [PAPER, BARLOW], ids=["paper", "barlow"])
def test_a_scaled_loss_in_float16_keeps_the_digits_of_its_gradient(backend, formula):
    z = (inputs_of("gaussian", 8, 60) * 3000).half().requires_grad_()
    (gradient,) = torch.autograd.grad(65536 * orthogonality_loss(z, backend=backend, **formula), z)
    _, expected = value_and_gradient(z.double(), **formula)
    assert (gradient.double() / 65536 - expected).norm() <= 5e-4 * expected.norm()


def test_the_second_derivative_of_16_bit_input_is_computed_in_float32():
    z = inputs_of("gaussian", 8, 60).half().requires_grad_()
    exact = z.detach().double().requires_grad_()
    products = []
    for leaf in (z, exact):
        (first,) = torch.autograd.grad(orthogonality_loss(leaf), leaf, create_graph=True)
        products.append(torch.autograd.grad((first * exact.detach()).sum(), leaf)[0])
    assert (products[0] - products[1]).norm() <= 1e-3 * products[1].norm()


def test_no_gradient_is_worked_out_without_need():
    _, gradient = torch.ops.mflag.orthogonality(
        torch.ones(3, 5), "none", None, 1.0, 1.0, 1.0, 1e-12, 1.0, False, "highest", None
    )
    assert gradient.shape == (0,)


def test_differentiating_what_was_run_without_gradient_is_an_error():
    z = torch.ones(3, 5, requires_grad=True)
    loss, _ = torch.ops.mflag.orthogonality(
        z, "none", None, 1.0, 1.0, 1.0, 1e-12, 1.0, False, "highest", None
    )
    with pytest.raises(InputError, match="need_grad is False"):
        loss.backward()


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_dtypes_of_loss_and_gradient(dtype):
    loss, gradient = loss_and_gradient(torch.ones(3, 5, dtype=dtype), None, norm="none")
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert gradient.dtype == dtype
