import pytest
import torch

from mflag.runtime import memory
from mflag.runtime.memory import available_memory

CPU = torch.device("cpu")
MIB = 1 << 20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 900 MiB available; give the folder of its control group."""
    (tmp_path / "meminfo").write_text("MemTotal: 2048000 kB\nMemAvailable:   921600 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    return tmp_path / "cgroup"


def limit(group, most, used, cached):
    group.mkdir()
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\nfile {cached}\n")


def test_without_a_limit_the_machine_decides(machine):
    assert available_memory(CPU) == 900 * MIB


@pytest.mark.parametrize(
    ("most", "available"), [(500 * MIB, 350), (300 * MIB, 150), (9000 * MIB, 900), ("max", 900)]
)
def test_a_container_may_leave_less_and_its_page_cache_counts_as_available(
    machine, most, available
):
    limit(machine, most, used=200 * MIB, cached=50 * MIB)
    assert available_memory(CPU) == available * MIB


def test_a_group_over_its_limit_leaves_nothing(machine):
    limit(machine, 100 * MIB, used=200 * MIB, cached=0)
    assert available_memory(CPU) == 0


def test_a_system_that_does_not_say_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_memory(CPU) is None
