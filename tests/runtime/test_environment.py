import os

import pytest

from mflag.runtime.environment import environment


def test_variables_hold_inside_and_all_is_as_before_after_an_error(monkeypatch):
    monkeypatch.setenv("MFLAG_KEPT", "before")
    monkeypatch.delenv("MFLAG_NEW", raising=False)
    with pytest.raises(KeyError), environment(MFLAG_KEPT="inside", MFLAG_NEW="x"):
        assert (os.environ["MFLAG_KEPT"], os.environ["MFLAG_NEW"]) == ("inside", "x")
        os.environ["MFLAG_BY_A_LIBRARY"] = "left"
        raise KeyError
    assert os.environ["MFLAG_KEPT"] == "before"
    assert not {"MFLAG_NEW", "MFLAG_BY_A_LIBRARY"} & os.environ.keys()
