import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import alignment_loss, barlow_twins_loss, orthogonality_loss
from mflag.ops.backend import NoKernelError, choose_backend, choose_by_name

ABLE = {"reference": True, "cpu": True, "triton": True, "cuda": "no GPU"}


@pytest.fixture
def able(monkeypatch):
    monkeypatch.setattr("mflag.ops.backend.backends", lambda: ABLE)


def choose(forced, names, device="cpu"):
    return choose_backend(forced, device, dict.fromkeys(names, print))


@pytest.mark.parametrize(
    "preferred, names, chosen",
    [
        ("cpu", ("cpu", "reference"), "cpu"),
        ("reference", ("cpu", "reference"), "reference"),
        ("triton", ("cpu", "reference"), "cpu"),
        ("cpu", ("reference",), "reference"),
        ("", ("cpu", "reference"), "cpu"),
    ],
)
def test_the_environment_is_preferred_where_it_has_a_kernel(
    able, monkeypatch, preferred, names, chosen
):
    monkeypatch.setenv("MFLAG_BACKEND", preferred)
    assert choose(None, names) == chosen


def test_an_argument_wins_over_the_environment(able, monkeypatch):
    monkeypatch.setenv("MFLAG_BACKEND", "tpu")
    assert choose("reference", ("cpu", "reference")) == "reference"


@pytest.mark.parametrize(
    "preferred, message",
    [
        ("tpu", r"backend 'tpu' \(MFLAG_BACKEND\) is unknown; choose one of reference, cpu"),
        ("cuda", r"backend 'cuda' \(MFLAG_BACKEND\) cannot run here: no GPU"),
    ],
)
def test_an_environment_that_names_nothing_that_runs_is_refused(
    able, monkeypatch, preferred, message
):
    monkeypatch.setenv("MFLAG_BACKEND", preferred)
    with pytest.raises(InputError, match=message):
        choose(None, ("cpu", "reference"))


def test_an_argument_without_a_kernel_is_refused(able):
    with pytest.raises(NoKernelError, match=r"does not take these tensors \(on cpu\)"):
        choose("triton", ("cpu", "reference"))


@pytest.mark.parametrize("name", [name for name, state in backends().items() if state is True])
def test_every_loss_runs_under_every_environment(monkeypatch, name):
    z = torch.eye(3, 5, dtype=torch.float64)
    losses = (lambda: orthogonality_loss(z), lambda: alignment_loss(z, z))
    expected = [loss().item() for loss in (*losses, lambda: barlow_twins_loss(z, z))]
    monkeypatch.setenv("MFLAG_BACKEND", name)
    found = [loss().item() for loss in (*losses, lambda: barlow_twins_loss(z, z))]
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_environment_may_change_between_two_calls(monkeypatch):
    z = torch.eye(3, 5)
    orthogonality_loss(z)
    monkeypatch.setenv("MFLAG_BACKEND", "tpu")
    with pytest.raises(InputError, match="backend 'tpu'"):
        orthogonality_loss(z)


def test_a_remembered_choice_follows_the_environment(monkeypatch):
    names = ("reference", "cpu")
    monkeypatch.delenv("MFLAG_BACKEND", raising=False)
    before = choose_by_name(None, "cpu", names)
    monkeypatch.setenv("MFLAG_BACKEND", "reference")
    assert choose_by_name(None, "cpu", names) == "reference"
    monkeypatch.setenv("MFLAG_BACKEND", "wrong")
    with pytest.raises(InputError, match=r"backend 'wrong' \(MFLAG_BACKEND\) is unknown"):
        choose_by_name(None, "cpu", names)
    monkeypatch.delenv("MFLAG_BACKEND")
    assert choose_by_name(None, "cpu", names) == before
