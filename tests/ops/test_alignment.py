"""The alignment loss on every backend that takes CPU tensors here, against the float64 oracle."""

import os

import pytest
import torch

from mflag import backends
from mflag.ops import alignment_loss
from tests.oracles.alignment import alignment, value_and_gradients

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BACKENDS = [
    name
    for name in ("reference", "cpu", "triton")
    if backends()[name] is True and (name != "triton" or IS_INTERPRETED)
]
FAMILIES = ["gaussian", "relu-pooled", "near-one-hot", "nearly-equal", "last-digit", "equal"]
FAMILIES += ["opposite", "huge-column", "denormal", "mixed-row-scales"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# Value and gradient: 2 ulp of float32. In float64 the oracle itself rounds, so absolutely.
FLOOR = {torch.float32: (1.2e-7, 4e-7), torch.float64: (0.0, 0.0)}


def embeddings(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def inputs_of(family, rows, columns):
    """One of the families that separate an accurate kernel from a naive one; float64."""
    a, t = embeddings(rows, columns, seed=1), embeddings(rows, columns, seed=2)
    if family == "relu-pooled":
        return a.relu() / 2 + a.abs() / 100, t.relu() / 2 + t.abs() / 100
    if family == "near-one-hot":
        return (torch.eye(rows, columns, dtype=torch.float64) + z / 1000 for z in (a, t))
    if family in ("nearly-equal", "last-digit"):
        return a, a + t * (1e-3 if family == "nearly-equal" else 1e-7)
    if family in ("equal", "opposite"):
        return a, a.clone() if family == "equal" else -a
    if family == "huge-column":
        a[:, 3] *= 1e4
    if family == "denormal":
        return a * 1e-40, t
    if family == "mixed-row-scales":
        return a * torch.logspace(-3, 3, rows, dtype=torch.float64)[:, None], t
    return a, t


def results_of(z_a, z_t, backend, index=None, factor=1.0, wanted=(True, True)):
    """Loss and both gradients in the dtype of the arithmetic."""
    return torch.ops.mflag.alignment(z_a, z_t, index, factor, *wanted, backend)


def check(results, z_a, z_t, factor=1.0, is_rounded=False):
    """``is_rounded``: cos is a float32; near 1 its 2 ulp count, and eager may be right by luck."""
    wide = torch.float64 if z_a.dtype == torch.float64 else torch.float32
    exact = value_and_gradients(z_a.double(), z_t.double(), factor)
    eager = value_and_gradients(z_a.to(wide), z_t.to(wide), factor)
    assert all(result.dtype == wide for result in results)
    value_floor, gradient_floor = FLOOR[wide]
    errors = [(ours - right).norm() for ours, right in zip(results, exact, strict=True)]
    allowed = [2 * (theirs - right).norm() for theirs, right in zip(eager, exact, strict=True)]
    size = 2 * factor if is_rounded else exact[0].abs()
    assert errors[0] <= max(allowed[0], value_floor * size, 1e-15 * factor)
    for i, z in ((1, z_a), (2, z_t)):
        # ‖∂L/∂z‖ before the projection
        whole = 2 * factor / len(z) / z.double().norm(dim=1).clamp(min=1e-12)
        assert errors[i] <= max(
            allowed[i], gradient_floor * exact[i].norm(), 1e-15 * whole.norm()
        ), i


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor, value", [(1.0, 0.2928932), (2.0, 0.5857864)])
def test_known_answers(backend, factor, value):
    z_a, z_t = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    loss = alignment_loss(z_a, z_t, factor=factor, backend=backend)
    assert loss.item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_family_is_as_exact_as_twice_eager(backend, family, dtype):
    z_a, z_t = (z.to(dtype) for z in inputs_of(family, 9, 70))
    check(results_of(z_a, z_t, backend, factor=2.0), z_a, z_t, 2.0, backend == "reference")


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@pytest.mark.parametrize("family", ["nearly-equal", "last-digit", "near-one-hot"])
def test_a_kernel_keeps_all_digits_of_a_gradient_near_the_optimum(backend, family):
    if backend not in BACKENDS:
        pytest.skip(f"{backend} does not run here")
    z_a, z_t = (z.float() for z in inputs_of(family, 9, 70))
    exact = value_and_gradients(z_a.double(), z_t.double())
    _, *gradients = results_of(z_a, z_t, backend)
    for ours, right in zip(gradients, exact[1:], strict=True):
        assert (ours - right).norm() <= 1e-7 * right.norm()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3), (5, 17), (2, 4097), (40, 768)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_shape_equals_the_oracle(backend, shape, dtype):
    z_a, z_t = embeddings(*shape, dtype=dtype), embeddings(*shape, dtype=dtype, seed=1)
    check(results_of(z_a, z_t, backend), z_a, z_t, is_rounded=backend == "reference")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("table_dtype", DTYPES, ids=str)
def test_rows_of_a_table_of_any_dtype_are_gathered_and_may_repeat(backend, dtype, table_dtype):
    z_a, table = embeddings(4, 21, dtype=dtype), embeddings(9, 21, dtype=table_dtype, seed=1)
    rows = torch.tensor([8, 0, 3, 3])
    if dtype != torch.float64 and table_dtype == torch.float64:
        table = table.float().double()  # reference rounds it to the dtype of the arithmetic
    results = results_of(z_a, table, backend, rows, wanted=(True, False))
    exact = value_and_gradients(z_a.double(), table.double()[rows])
    tolerance = 1e-14 if dtype == torch.float64 else 2e-7
    assert results[0].item() == pytest.approx(exact[0].item(), rel=tolerance)
    assert (results[1] - exact[1]).norm() <= tolerance * exact[1].norm()
    assert results[2].shape == (0,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strides_of_all_inputs_are_followed(backend):
    wide = embeddings(40, 30, dtype=torch.float32)
    index = torch.tensor([0, 9, 1, 9, 2, 9, 1, 9])[::2]
    for z_a in (wide[:4, :10], wide[:10, :4].T, wide[:4, :20:2], wide[:1, :10].expand(4, 10)):
        for table in (wide[5:9, 3:13], wide[:10, 7:19].T, wide[3, :10].expand(7, 10)):
            table = table.half() if table.shape[0] > 7 else table
            ours = results_of(z_a, table, backend, index, wanted=(True, False))
            dense = results_of(z_a.clone(), table.contiguous()[index], backend)
            assert torch.equal(ours[0], dense[0]) and torch.equal(ours[1], dense[1])


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the native library is not here")
def test_every_finite_half_is_widened_exactly():
    bits = torch.arange(2**16).to(torch.int32).to(torch.int16)
    values = bits.view(torch.float16)
    values = values[values.isfinite()]
    z_a = torch.stack([values, torch.ones_like(values)], 1)
    z_t = torch.tensor([[0.0, 1.0]]).expand(len(values), 2)  # the gradient of z_t holds the value
    _, _, ours = results_of(z_a, z_t, "cpu")
    _, _, exact = value_and_gradients(z_a.double(), z_t.double())
    torch.testing.assert_close(ours[:, 0].double(), exact[:, 0], rtol=1.2e-7, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_depend_neither_on_the_run_nor_on_the_threads(backend):
    z_a, table = embeddings(34, 1030, dtype=torch.float32), embeddings(9, 1030, seed=1).half()
    rows = torch.arange(34) % 9
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(results_of(z_a, table, backend, rows, wanted=(True, False)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(found[0][0], other[0]) and torch.equal(found[0][1], other[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_value_alone_equals_the_value_with_gradients(backend):
    z_a, z_t = embeddings(5, 17, dtype=torch.float32), embeddings(5, 17, seed=1).half()
    loss, *gradients = results_of(z_a, z_t, backend, wanted=(False, False))
    assert torch.equal(loss, results_of(z_a, z_t, backend)[0])
    assert all(gradient.shape == (0,) for gradient in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [0.0, 1e-13])
def test_rows_shorter_than_epsilon_are_divided_by_it(backend, size):
    z_a, z_t = embeddings(3, 5), embeddings(3, 5, seed=1)
    z_a[1], z_t[2] = z_a[1] * size, z_t[2] * size
    ours, right = results_of(z_a, z_t, backend), value_and_gradients(z_a, z_t)
    torch.testing.assert_close(ours, right, rtol=1e-12, atol=1e-15)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_reach_the_loss_and_the_gradient_of_their_row(backend, bad, dtype):
    z_a, z_t = embeddings(3, 5, dtype=dtype), embeddings(3, 5, dtype=dtype, seed=1)
    z_a[1, 2] = bad
    loss, gradient, _ = results_of(z_a, z_t, backend)
    assert loss.isnan() and gradient[1].isnan().any() and gradient[[0, 2]].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_16_bit_input_gets_a_16_bit_gradient_and_a_float32_loss(backend, dtype):
    z_a, z_t = embeddings(8, 64, dtype=dtype).requires_grad_(), embeddings(8, 64, dtype=dtype)
    loss = alignment_loss(z_a, z_t, backend=backend)
    (gradient,) = torch.autograd.grad(loss, z_a)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1.0, 1e4])  # 1e4: the gradient alone is too small for float16
def test_a_scaled_loss_in_float16_keeps_the_digits_of_its_gradients(backend, size):
    z_a, z_t = (embeddings(8, 64, seed=seed) * size for seed in (0, 1))
    z = [x.clamp(-6e4, 6e4).half().requires_grad_() for x in (z_a, z_t)]
    ours = torch.autograd.grad(65536 * alignment_loss(*z, backend=backend), z)
    exact = [t.detach().double().requires_grad_() for t in z]
    theirs = torch.autograd.grad(65536 * alignment(*exact), exact)
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).norm() <= 5e-4 * expected.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing(backend):
    z_a, z_t = embeddings(8, 64, dtype=torch.float32), embeddings(8, 64, seed=1).bfloat16()
    expected = alignment_loss(z_a, z_t, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(alignment_loss(z_a, z_t, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(backend):
    z = embeddings(2, 3).requires_grad_(), embeddings(2, 3, seed=1).requires_grad_()

    def loss(z_a, z_t):
        return alignment_loss(z_a, z_t, factor=2.0, backend=backend)

    assert torch.autograd.gradcheck(loss, z)
    assert torch.autograd.gradgradcheck(loss, z)


def test_an_index_that_was_changed_before_the_backward_is_refused():
    z_a, table = embeddings(3, 4).requires_grad_(), embeddings(9, 4, seed=1)
    rows = torch.tensor([1, 2, 3])
    (first,) = torch.autograd.grad(alignment_loss(z_a, table, rows), z_a, create_graph=True)
    rows.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(first.sum(), z_a)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "index, dtype",
    [(None, torch.float64), (torch.tensor([2, 0, 1]), torch.float16)],
    ids=["pairs", "table"],
)
def test_opcheck(backend, index, dtype):
    z_a = embeddings(3, 4, dtype=dtype).requires_grad_()
    z_t = embeddings(3, 4, dtype=dtype, seed=1)
    arguments = (z_a, z_t, index, 1.0, True, False, backend)
    torch.library.opcheck(torch.ops.mflag.alignment.default, arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_contiguous_whatever_the_inputs_are_as_the_compiler_was_told(backend):
    z = embeddings(4, 3).T
    for gradient in results_of(z, z, backend, wanted=(True, True))[1:]:
        assert gradient.is_contiguous()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_loss_is_the_eager_one_without_a_graph_break(backend):
    z_a, table = embeddings(5, 8).requires_grad_(), embeddings(9, 8, seed=1).half()
    rows = torch.tensor([8, 0, 3, 3, 1])

    def loss(z_a, table, rows):
        return alignment_loss(z_a, table, rows, backend=backend)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(z_a, table, rows)
    eager = loss(z_a, table, rows)
    assert torch.equal(compiled, eager)
    ours, theirs = (torch.autograd.grad(value, z_a)[0] for value in (compiled, eager))
    assert torch.equal(ours, theirs)
