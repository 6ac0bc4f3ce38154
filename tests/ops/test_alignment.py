import pytest
import torch

from mflag.errors import InputError
from mflag.ops import alignment_loss
from mflag.ops.alignment import assert_range
from tests.oracles.alignment import alignment


def embeddings(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor, value", [(1.0, 0.2928932), (2.0, 0.5857864)])
def test_known_answers(factor, value):
    z_a, z_t = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert alignment_loss(z_a, z_t, factor=factor).item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (1, 3), (3, 1)], ids=str)
def test_value_and_both_gradients_equal_the_oracle(shape):
    z_a, z_t = embeddings(*shape).requires_grad_(), embeddings(*shape, seed=1).requires_grad_()
    ours = torch.autograd.grad(alignment_loss(z_a, z_t, factor=2.0), (z_a, z_t))
    theirs = torch.autograd.grad(alignment(z_a, z_t, factor=2.0), (z_a, z_t))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_a_table_with_rows_equals_the_pairs():
    z_a, table, rows = embeddings(4, 6), embeddings(9, 6, seed=1), torch.tensor([8, 0, 3, 3])
    assert alignment_loss(z_a, table, rows) == alignment_loss(z_a, table[rows])


def test_a_half_precision_table_serves_float32_embeddings():
    z_a = embeddings(4, 6, dtype=torch.float32)
    table = embeddings(9, 6, seed=1).half()
    rows = torch.tensor([8, 0, 3, 3])
    expected = alignment(z_a.double(), table[rows].double())
    loss = alignment_loss(z_a, table, rows)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_zero_rows_have_cosine_zero_and_a_finite_gradient():
    z_a, z_t = torch.zeros(2, 3, dtype=torch.float64), embeddings(2, 3)
    z_a.requires_grad_()
    loss = alignment_loss(z_a, z_t)
    assert loss == 2
    ours, theirs = torch.autograd.grad(loss, z_a), torch.autograd.grad(alignment(z_a, z_t), z_a)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_16_bit_input_is_computed_in_float32(dtype):
    z_a, z_t = embeddings(8, 64).to(dtype).requires_grad_(), embeddings(8, 64, seed=1).to(dtype)
    loss = alignment_loss(z_a, z_t)
    (gradient,) = torch.autograd.grad(loss, z_a)
    expected = alignment(z_a.double(), z_t.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert gradient.dtype == dtype


def test_first_and_second_derivatives():
    z_a, z_t = embeddings(3, 4).requires_grad_(), embeddings(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(alignment_loss, (z_a, z_t))
    assert torch.autograd.gradgradcheck(alignment_loss, (z_a, z_t))


@pytest.mark.parametrize("size", [1.0, 1e4])  # 1e4: the gradient alone is too small for float16
def test_a_scaled_loss_in_float16_keeps_the_digits_of_its_gradients(size):
    z_a, z_t = (embeddings(8, 64, seed=seed) * size for seed in (0, 1))
    z = [z_a.clamp(-6e4, 6e4).half().requires_grad_(), z_t.half().clamp(-6e4, 6e4).requires_grad_()]
    ours = torch.autograd.grad(65536 * alignment_loss(*z), z)
    exact = [t.detach().double().requires_grad_() for t in z]
    theirs = torch.autograd.grad(65536 * alignment(*exact), exact)
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).norm() <= 5e-4 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("index", [None, torch.tensor([2, 0, 1])], ids=["pairs", "table"])
def test_opcheck(index, dtype):
    z_a = embeddings(3, 4, dtype=dtype).requires_grad_()
    z_t = embeddings(3, 4, dtype=dtype, seed=1)
    arguments = (z_a, z_t, index, 1.0, True, False, None)
    torch.library.opcheck(torch.ops.mflag.alignment.default, arguments)


@pytest.mark.parametrize(
    "z_t, index, message",
    [
        (torch.ones(3, 5), None, "z_a has 4 columns but z_t has 5"),
        (torch.ones(2, 4), None, "z_a has 3 rows but z_t has 2"),
        (torch.ones(9, 4), torch.tensor([0, 1, 9]), "index holds 9; the table has rows 0 to 8"),
        (torch.ones(9, 4), torch.tensor([0, -1, 2]), "index holds -1; the table has rows 0 to 8"),
        (torch.ones(9, 4), torch.tensor([0, 1]), r"index is \(2,\)"),
        (torch.ones(9, 4), torch.tensor([0.0, 1.0, 2.0]), "torch.float32; give"),
        (torch.ones(3, 4, dtype=torch.int64), None, "z_t has dtype torch.int64"),
    ],
    ids=["columns", "rows", "too-high", "negative", "length", "float", "dtype"],
)
def test_what_does_not_fit_is_refused(z_t, index, message):
    with pytest.raises(InputError, match=message):
        alignment_loss(torch.ones(3, 4), z_t, index)


@pytest.mark.parametrize("wrong", [-1, 9])
def test_a_device_fails_on_an_index_outside_of_the_table(wrong):
    assert_range(torch.tensor([0, 8]), 9)
    with pytest.raises(RuntimeError, match="outside of the table's rows 0 to 8"):
        assert_range(torch.tensor([0, wrong]), 9)


@pytest.mark.parametrize("index", [None, torch.tensor([0, 1, 2])], ids=["pairs", "index"])
def test_inputs_on_two_devices_are_refused(index):
    z_t = torch.ones(3, 4, device="meta")
    with pytest.raises(InputError, match="inputs are on cpu, meta.*; give all of them on one"):
        alignment_loss(torch.ones(3, 4), z_t, index)


def test_a_table_that_wants_a_gradient_is_refused():
    table = torch.ones(9, 4, requires_grad=True)
    with pytest.raises(InputError, match="table requires a gradient"):
        alignment_loss(torch.ones(1, 4), table, torch.tensor([0]))
