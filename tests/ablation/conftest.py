import pytest

from tests.ablation.programs import Programs
from tests.evaluate_program import write_prepared


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """A prepared folder of 80 noise images."""
    return write_prepared(tmp_path_factory.mktemp("ablated") / "prepared")


@pytest.fixture
def programs(monkeypatch):
    """Stand-ins for mflag.train and mflag.evaluate."""
    found = Programs()
    monkeypatch.setattr("mflag.ablation.run.run_program", found.run)
    monkeypatch.setattr("mflag.ablation.write_ablation.build_plots", lambda results: {})
    return found
