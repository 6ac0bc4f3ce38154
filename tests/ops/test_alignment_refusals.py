"""What the alignment loss refuses, before any backend or inside it."""

import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import alignment_loss
from mflag.ops.alignment import assert_range

NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]


@pytest.mark.parametrize(
    "z_t, index, message",
    [
        (torch.ones(3, 5), None, "z_a has 4 columns but z_t has 5"),
        (torch.ones(9, 3), torch.tensor([0, 1, 2]), "z_a has 4 columns but z_t has 3"),
        (torch.ones(2, 4), None, "z_a has 3 rows but z_t has 2"),
        (torch.ones(9, 4), torch.tensor([0, 1]), r"index is \(2,\)"),
        (torch.ones(9, 4), torch.tensor([[0], [1], [2]]), r"index is \(3, 1\)"),
        (torch.ones(9, 4), torch.tensor([0.0, 1.0, 2.0]), "torch.float32; give"),
        (torch.ones(9, 4), torch.tensor([0, 1, 2], dtype=torch.int32), "torch.int32; give"),
        (torch.ones(9, 4), torch.ones(3, dtype=torch.bool), "torch.bool; give"),
        (torch.ones(3, 4, dtype=torch.int64), None, "z_t has dtype torch.int64"),
        (torch.ones(3, 4, dtype=torch.complex64), None, "z_t has dtype torch.complex64"),
        (torch.ones(4), None, r"z_t has shape \(4,\)"),
        (torch.ones(0, 4), torch.tensor([0, 1, 2]), r"z_t has shape \(0, 4\)"),
    ],
    ids=[
        "columns", "narrow-table", "rows", "length", "index-rank", "float-index", "int32-index",
        "bool-index", "integer", "complex", "rank", "empty-table",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(z_t, index, message):
    with pytest.raises(InputError, match=message):
        alignment_loss(torch.ones(3, 4), z_t, index)


@pytest.mark.parametrize(
    "z_a, message",
    [
        (torch.ones(3, 4, dtype=torch.int64), "z_a has dtype torch.int64"),
        (torch.ones(3, 4, dtype=torch.complex64), "z_a has dtype torch.complex64"),
        (torch.ones(12), r"z_a has shape \(12,\)"),
        (torch.ones(0, 4), r"z_a has shape \(0, 4\)"),
        (torch.ones(3, 0), r"z_a has shape \(3, 0\)"),
    ],
    ids=["integer", "complex", "rank", "no-rows", "no-columns"],
)
def test_embeddings_that_are_no_matrix_of_floats_are_refused(z_a, message):
    with pytest.raises(InputError, match=message):
        alignment_loss(z_a, torch.ones(3, 4))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("wrong", [-1, 9, 2**40, -(2**63)])
def test_an_index_outside_of_the_table_is_named_with_the_range(backend, wrong):
    message = rf"index holds {wrong}; the table has rows 0 to 8"
    index = torch.tensor([0, 5, wrong, 5, 5, 5])[::2]
    with pytest.raises(InputError, match=message):
        alignment_loss(torch.ones(3, 4), torch.ones(9, 4), index, backend=backend)


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
    table, rows = torch.ones(9, 4, requires_grad=True), torch.tensor([0])
    with pytest.raises(InputError, match="table requires a gradient"):
        alignment_loss(torch.ones(1, 4), table, rows)
    with pytest.raises(InputError, match="table requires a gradient"):
        torch.ops.mflag.alignment(torch.ones(1, 4), table.detach(), rows, 1.0, False, True, None)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_factor_that_is_not_finite_is_refused(factor):
    with pytest.raises(InputError, match="factor is"):
        alignment_loss(torch.ones(3, 4), torch.ones(3, 4), factor=factor)


def test_a_backend_that_does_not_take_cpu_tensors_is_refused_when_forced(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    able = {"reference": True, "cpu": True, "triton": True, "cuda": True}
    monkeypatch.setattr("mflag.ops.backend.backends", lambda: able)
    for backend in ("triton", "cuda"):
        with pytest.raises(InputError, match=rf"{backend}' does not take these tensors \(on cpu\)"):
            alignment_loss(torch.ones(3, 4), torch.ones(3, 4), backend=backend)
