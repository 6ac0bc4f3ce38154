import os

import pytest

from mflag.config.compute import ComputeConfig
from mflag.errors import InputError
from mflag.runtime.compile_cache import VARIABLE, keep_compiled_code
from mflag.runtime.device import choose_compute


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def test_without_a_word_it_is_the_users_cache(tmp_path):
    assert keep_compiled_code(None) == tmp_path / "user" / "mflag" / "compiled"
    assert os.environ[VARIABLE] == str(tmp_path / "user" / "mflag" / "compiled")


def test_the_environment_wins_over_the_users_cache_and_the_key_over_both(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "environment"))
    assert keep_compiled_code(None) == tmp_path / "environment"
    assert keep_compiled_code(str(tmp_path / "key")) == tmp_path / "key"


def test_only_what_compiles_needs_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "cache")
    choose_compute(ComputeConfig(device="cpu", compile="false", compile_cache=folder))
    assert VARIABLE not in os.environ
    with pytest.raises(InputError, match="cannot write into"):
        choose_compute(ComputeConfig(device="cpu", compile="true", compile_cache=folder))
