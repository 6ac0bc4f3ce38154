import sys

import pytest

import mflag
from mflag import doctor
from mflag.runtime import self_test


def run(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["doctor"])
    return doctor.main()


def test_every_backend_and_extra_is_listed_and_the_ops_are_right(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    shown = capsys.readouterr().out
    for name in (
        *mflag.backends(),
        *doctor.EXTRAS,
        "orthogonality",
        "alignment",
        "barlow_twins",
        "lars",
        "augment",
        "torch",
    ):
        assert name in shown


def test_a_missing_extra_comes_with_its_command(monkeypatch, capsys):
    monkeypatch.setitem(doctor.EXTRAS, "demo", ("no_such_module", "nothing"))
    run(monkeypatch)
    assert 'pip install "mflag[demo]"' in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    "op", ["_orthogonality", "_alignment", "_barlow_twins", "_lars", "_augment"]
)
def test_a_wrong_op_is_exit_code_1(monkeypatch, capsys, op):
    monkeypatch.setattr(self_test, op, lambda backend, device: 0.5)
    assert run(monkeypatch) == 1
    assert f"error: {op[1:]} on reference is wrong: 0.5" in capsys.readouterr().err


def test_an_unknown_option_is_one_error_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor", "--verbose"])
    assert doctor.main() == 2
    assert capsys.readouterr().err == "error: '--verbose' is unknown; doctor takes no options\n"
