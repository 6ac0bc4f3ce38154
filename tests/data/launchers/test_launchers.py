"""Joblib and a local Ray prepare the same bytes, whatever dies on the way."""

import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mflag import cli
from mflag.config.launcher import LauncherConfig
from mflag.config.prepare import PrepareConfig
from mflag.data.datasets import plain_csv
from mflag.data.images import read_grey
from mflag.data.launchers import LAUNCHERS, WorkersLostError, open_launcher
from mflag.data.preparing import prepare
from mflag.errors import InputError
from mflag.prepare import main


@pytest.fixture(scope="module")
def local_ray():
    """One Ray for all tests: it takes 5 s to start, and a launcher uses one that runs."""
    ray = pytest.importorskip("ray", reason="ray (extra cluster) is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield ray
    ray.shutdown()


def contents(folder: str | None) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(Path(str(folder)).rglob("*")) if p.is_file()}


def with_broken_images(config: PrepareConfig) -> PrepareConfig:
    """A chunk that begins, one that ends, and one that is nothing but broken images."""
    for number in (0, 31, *range(32, 40)):
        (Path(str(config.root)) / f"{number:03}.png").write_bytes(b"")
    config.max_reject_fraction = 0.5
    return config


@pytest.mark.slow
def test_ray_prepares_the_bytes_of_joblib(csv_dataset, tmp_path, local_ray):
    config = with_broken_images(csv_dataset(40, pneumonia=[0, 1] * 20))
    prepare(config)
    config.launcher, config.out = LauncherConfig("ray"), str(tmp_path / "by_ray")
    prepare(config)
    assert contents(config.out) == contents(str(tmp_path / "made" / "out"))


def load_and_die(marker: Path, image: str, times: int):
    """A ``load``, pickled by value, that kills its process at ``image`` so many times."""

    def load(path: str) -> tuple[np.ndarray, dict]:
        if path.endswith(image):
            deaths = marker.stat().st_size if marker.exists() else 0
            if deaths < times:
                with marker.open("ab") as file:
                    file.write(b"x")
                os.kill(os.getpid(), signal.SIGKILL)
        return read_grey(path), {}

    return load


@pytest.mark.slow
def test_the_part_of_a_killed_ray_worker_is_redone(csv_dataset, tmp_path, monkeypatch, local_ray):
    config = csv_dataset(40)
    prepare(config)
    config.launcher, config.out = LauncherConfig("ray"), str(tmp_path / "by_ray")
    monkeypatch.setattr(plain_csv, "load", load_and_die(tmp_path / "deaths", "021.png", 2))
    prepare(config)
    assert (tmp_path / "deaths").read_bytes() == b"xx"
    assert contents(config.out) == contents(str(tmp_path / "made" / "out"))


def only_by_processes(monkeypatch) -> None:
    """Let joblib take processes, where the reader of CSV files asks for threads."""
    read = plain_csv.read

    def by_processes(config):
        source = read(config)
        object.__setattr__(source, "prefer", "processes")
        return source

    monkeypatch.setitem(sys.modules["mflag.data.preparing"].READERS, "csv", by_processes)


@pytest.mark.parametrize(
    ("launcher", "deaths"),
    [
        (LauncherConfig("joblib"), 1),
        pytest.param(LauncherConfig("ray", retries=0), 1, marks=pytest.mark.slow),
    ],
)
def test_workers_that_die_too_often_end_the_run_and_what_is_done_stays(
    csv_dataset, tmp_path, monkeypatch, capsys, request, launcher, deaths
):
    if launcher.name == "ray":
        request.getfixturevalue("local_ray")
    config = csv_dataset(64)
    config.workers = 2
    prepare(config)
    config.launcher, config.out = launcher, str(tmp_path / "again")
    only_by_processes(monkeypatch)
    monkeypatch.setattr(plain_csv, "load", load_and_die(tmp_path / "deaths", "063.png", deaths))
    with pytest.raises(WorkersLostError, match="what is done stays: start again to go on"):
        prepare(config)
    assert (tmp_path / "again" / ".partial" / "images.u8").is_file()
    prepare(config)
    assert contents(config.out) == contents(str(tmp_path / "made" / "out"))


@pytest.mark.slow
def test_an_error_of_the_reader_comes_out_of_ray_as_it_was(csv_dataset, monkeypatch, local_ray):
    def load(path: str):
        raise InputError("plug-in is missing; install it")

    config = csv_dataset(40)
    config.launcher = LauncherConfig("ray")
    monkeypatch.setattr(plain_csv, "load", load)
    with pytest.raises(InputError, match="^plug-in is missing; install it$"):
        prepare(config)


@pytest.mark.slow
def test_ray_holds_few_parts_at_a_time(local_ray):
    taken = []

    def tasks():
        for number in range(40):
            taken.append(number)
            yield number

    results = open_launcher(LauncherConfig("ray"), 2, "threads").run(abs, tasks(), 40)
    next(results)
    assert len(taken) == 4  # two a worker
    assert len(list(results)) == 39


@pytest.fixture
def fake_ray(monkeypatch):
    """A Ray that works in this process and keeps what it is asked; none of it starts anything."""
    asked: dict[str, list] = {"init": [], "shutdown": []}
    fake = SimpleNamespace(
        asked=asked,
        is_initialized=lambda: False,
        init=lambda address, **keys: asked["init"].append((address, keys)),
        shutdown=lambda: asked["shutdown"].append(True),
        cluster_resources=lambda: {"CPU": 2.0},
        put=lambda value: value,
        remote=lambda **keys: lambda call: SimpleNamespace(remote=call),
        wait=lambda refs, num_returns: (refs[:1], refs[1:]),
        get=lambda ref: ref,
        exceptions=SimpleNamespace(RayError=KeyError, RayTaskError=IndexError),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


def test_a_ray_of_our_own_is_small_silent_and_ends(fake_ray, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    results = list(open_launcher(LauncherConfig("ray"), 8, "threads").run(abs, [-1, -2], 2))
    (address, keys) = fake_ray.asked["init"][0]
    assert (results, address, fake_ray.asked["shutdown"]) == ([1, 2], "local", [True])
    assert (keys["num_cpus"], keys["include_dashboard"], keys["log_to_driver"]) == (2, False, False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.fixture
def listening():
    """An address where something answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("by", ["key", "environment"])
def test_a_cluster_is_taken_by_its_address(fake_ray, listening, monkeypatch, by):
    config = LauncherConfig("ray", address=listening if by == "key" else None)
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", listening)
    assert list(open_launcher(config, None, "threads").run(abs, [-1], 1)) == [1]
    assert fake_ray.asked["init"][0][0] == listening


def test_an_address_where_nothing_answers_is_refused_at_once(fake_ray):
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(InputError, match=f"'{dead}', where no Ray answers"):
        open_launcher(LauncherConfig("ray", address=dead), None, "threads")


def test_an_address_where_no_ray_answers_is_named(fake_ray, listening):
    def init(address, **keys):
        raise ConnectionError("no handshake")

    fake_ray.init = init
    launcher = open_launcher(LauncherConfig("ray", address=listening), None, "threads")
    with pytest.raises(InputError, match=f"'{listening}', where no Ray answers .no handshake"):
        list(launcher.run(abs, [1], 1))


def test_without_ray_the_error_names_the_extra(csv_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", "launcher=ray"])
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(main, "prepare", PrepareConfig)
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and 'pip install "mflag[cluster]"' in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        (
            LauncherConfig("slurm"),
            f"launcher.name is 'slurm'; choose one of {', '.join(LAUNCHERS)}",
        ),
        (LauncherConfig("joblib", address="head:6379"), "launcher=joblib does not read it"),
        (LauncherConfig("joblib", retries=2), "launcher.retries is 2, but"),
        (LauncherConfig("ray", retries=-1), "launcher.retries is -1; give 0 or more"),
    ],
    ids=["name", "address", "retries", "negative"],
)
def test_a_launcher_that_cannot_work_is_refused(monkeypatch, launcher, message):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    with pytest.raises(InputError, match=message):
        open_launcher(launcher, 1, "threads")
