"""The benchmark ends with its files whatever is installed, and judges its targets."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import mflag
from bench import kernels
from bench.accuracy import distinct_bits
from bench.kernels_report import document, draw
from bench.measure import measure
from bench.memory import peak_memory
from bench.peers.barlow import barlow_twins, vicreg
from bench.peers.installed import installed
from bench.rates import against_bound
from bench.targets import TARGETS, verdicts
from bench.timing import time_in_turns
from bench.workloads.resnet50 import PARAMETER_SHAPES
from bench.workloads.workload import Workload, exact_result, loss_call
from mflag.losses import OrthogonalityLoss

ROOT = Path(__file__).parents[2]
RATES = {"copy_bytes_per_second": 1e10, "float32_flops_per_second": 1e11}
FIELDS = {
    "op", "backend", "shape", "dtype", "peer", "median_ms", "peer_median_ms", "ratio", "spread",
    "peak_memory_bytes", "forward_median_ms", "bytes_moved", "flops", "bound_ms", "share_of_bound",
    "gradient_error", "repeated", "peer_spread", "peer_peak_memory_bytes", "peer_gradient_error",
}  # fmt: skip


def squares(z):
    return z.square().sum()


@pytest.fixture
def work():
    z = torch.ones(64, 32, requires_grad=True)
    work = Workload("squares", "64x32", "float32", bytes_moved=3 * 4 * z.numel(),
                    flops=3 * z.numel(), exact=exact_result(squares, [z]))  # fmt: skip
    work.add_ours("cpu", lambda backend: loss_call(squares, [z]))
    work.add_peer("eager", lambda: loss_call(squares, [z]))
    work.add_peer("absent", lambda: loss_call(installed("no_such_package", "loss"), [z]))
    return work


@pytest.fixture
def content(work, monkeypatch):
    monkeypatch.setattr(kernels, "OPS", {"squares": lambda device: iter([work])})
    monkeypatch.setattr(kernels, "measure_rates", lambda device: RATES)
    return kernels.run("cpu", ["squares"], 0.001, "bench.kernels")


def test_a_row_holds_every_figure_of_ours_and_of_the_peer(work):
    rows = list(measure(work, "cpu", 0.001, RATES))
    assert {(row["backend"], row["peer"]) for row in rows} == {(b, "eager") for b in work.ours}
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["ratio"] > 0 and row["gradient_error"] == row["value_error"] == 0
        assert row["repeated"]["distinct"] == 1


def test_a_peer_that_is_not_installed_is_skipped_with_the_reason(content):
    (skipped,) = [line for line in content["skipped"] if line["what"].endswith("absent")]
    assert skipped["what"] == "squares 64x32 float32 absent"
    assert "No module named 'no_such_package'" in skipped["reason"]


def test_another_package_of_the_same_name_is_no_peer():
    with pytest.raises(ImportError, match="another package of that name"):
        installed("json", "FusedLARS")


def test_the_files_hold_what_was_measured(content, tmp_path):
    pytest.importorskip("matplotlib")
    paths = kernels.write(content, tmp_path)
    assert [path.name for path in paths] == ["kernels.json", "kernels.md", "kernels.svg"]
    written = json.loads((tmp_path / "kernels.json").read_text())
    assert written.keys() >= {"format", "device", "versions", "command", "rates", "rows", "targets"}
    assert "| squares | 64x32 | float32 |" in (tmp_path / "kernels.md").read_text()


def test_without_matplotlib_there_is_no_plot(content, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw(content, tmp_path / "kernels.svg") is False


def test_on_a_gpu_events_and_graphs_are_timed_and_a_failed_capture_is_named(work, monkeypatch):
    def capture(call):
        if call is work.peers["eager"].run:
            raise RuntimeError("not while capturing")
        return call

    monkeypatch.setattr("bench.measure.capture", capture)
    monkeypatch.setattr(
        "bench.measure.time_by_events",
        lambda calls, flush, seconds: time_in_turns(calls, "cpu", seconds) if calls else {},
    )
    monkeypatch.setattr("bench.measure.peak_memory", lambda call, device: 7)
    row = next(measure(work, "cuda", 0.001, RATES))
    assert row.keys() >= FIELDS | {"ratio_flushed", "median_graph_flushed_ms", "p95_graph_ms"}
    assert "ratio_graph" not in row and row["repeated"]["runs"] == 100
    assert work.skipped["eager, graph"] == "RuntimeError: not while capturing"


def test_a_workload_that_does_not_fit_in_memory_is_skipped(work, monkeypatch):
    def too_large(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")

    monkeypatch.setattr(kernels, "OPS", {"squares": lambda device: iter([work])})
    monkeypatch.setattr(kernels, "measure_rates", lambda device: RATES)
    monkeypatch.setattr(kernels, "measure", too_large)
    content = kernels.run("cpu", ["squares"], 0.001, "bench.kernels")
    assert content["rows"] == [] and "80 GiB" in content["skipped"][-1]["reason"]


def test_where_no_peer_is_ours_stand_beside_the_reference(work):
    work.peers.clear()
    assert {row["peer"] for row in measure(work, "cpu", 0.001, RATES)} == {"reference"}


def test_the_page_names_machine_and_command(content):
    page = document(content)
    assert f"cpu {content['device']['cpu']}" in page and f"`{content['command']}`" in page


def row_of(target, value):
    ratio = {"ratio": value, "time": 1 / value}.get(target.measure, 1.0)
    return {
        "op": target.op, "shape": target.shape, "peer": target.peer, "dtype": "float32",
        "backend": target.device, "ratio": ratio, "unit_bytes": 1000,
        "peak_memory_bytes": int(1000 * value),
        "bytes_per_second": value * RATES["copy_bytes_per_second"],
    }  # fmt: skip


@pytest.mark.parametrize("factor, verdict", [(0.5, "FAIL"), (2.0, "PASS")])
@pytest.mark.parametrize(
    "target", TARGETS, ids=lambda t: f"{t.device}-{t.op}-{t.shape}-{t.measure}"
)
def test_a_target_is_judged_by_its_own_row(target, factor, verdict):
    limit = target.must if target.must is not None else target.aim
    better = factor if target.measure in ("ratio", "copy") else 1 / factor
    row = row_of(target, limit * better)
    others = [row | {"backend": "reference", "ratio": 1e9}]
    index = [t for t in TARGETS if t.device == target.device].index(target)
    judged = verdicts(target.device, [*others, row], RATES)[index]
    assert judged["verdict"] == verdict and judged["backend"] == target.device
    assert judged["value"] == pytest.approx(limit * better, rel=1e-3)


def test_a_target_without_a_row_is_not_measured():
    assert {one["verdict"] for one in verdicts("cuda", [], RATES)} == {"not measured"}


def test_the_bound_is_the_slower_of_memory_and_arithmetic():
    assert against_bound(4.0, 10**7, 10**8, RATES)["bound_ms"] == pytest.approx(1.0)
    found = against_bound(4.0, 10**6, 2 * 10**8, RATES)
    assert found["bound_ms"] == pytest.approx(2.0)
    assert found["share_of_bound"] == pytest.approx(0.5)


def test_the_peak_counts_what_was_freed_inside_the_call():
    def call():
        first = torch.empty(1 << 20, dtype=torch.uint8)
        second = torch.empty(1 << 20, dtype=torch.uint8)
        del first, second
        return torch.empty(1 << 10, dtype=torch.uint8)

    assert peak_memory(call, "cpu") == 2 << 20


@pytest.mark.skipif(mflag.backends()["cpu"] is not True, reason="no native library")
def test_the_peak_counts_what_a_native_kernel_allocates_inside():
    z, of_z, of_k = torch.randn(64, 256), 4 * 64 * 256, 4 * 64 * 64
    needed = 2 * of_z + of_k  # the normalised copy, the gradient, K
    z.requires_grad_()
    peak = peak_memory(lambda: OrthogonalityLoss("standardize", backend="cpu")(z), "cpu")
    assert needed <= peak <= 2 * needed


def test_different_bits_are_counted():
    counter = iter(range(10))
    found = distinct_bits(lambda: [torch.tensor([float(next(counter) % 2)])], 6)
    assert found["runs"] == 6 and found["distinct"] == 2


@pytest.mark.parametrize(
    "distinct, line",
    [(1, "PASS         the same bits in 100 runs: 1 results"),
     (2, "FAIL         not the same bits every time: lars resnet50 float32 cuda")],
)  # fmt: skip
def test_one_line_says_whether_bits_repeat(distinct, line):
    key = {"op": "lars", "shape": "resnet50", "dtype": "float32", "backend": "cuda"}
    row = key | {"repeated": {"runs": 100, "distinct": distinct}}
    assert kernels.repeatability([row, row | {"peer": "other"}]) == line


def test_calls_take_turns():
    order: list[str] = []
    time_in_turns({name: partial(order.append, name) for name in "ab"}, "cpu", 0.0)
    assert order[4:] == ["a", "b"] * (len(order[4:]) // 2) and len(order) >= 14


def test_the_shapes_are_those_of_torchvisions_resnet50():
    models = pytest.importorskip("torchvision.models")
    assert [tuple(p.shape) for p in models.resnet50().parameters()] == PARAMETER_SHAPES


@pytest.mark.parametrize(
    "name, ours",
    [("BarlowTwinsLoss", barlow_twins), ("VICRegLoss", lambda a, b: vicreg(a, b, 12.5))],
)
def test_the_n_by_n_forms_compute_lightlys_losses(name, ours):
    lightly = pytest.importorskip("lightly.loss")
    torch.manual_seed(0)
    a, b = torch.randn(2, 12, 20, dtype=torch.float64)
    expected = getattr(lightly, name)()(a, b)
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-12, atol=0)


def test_an_unknown_op_is_refused_with_the_choices():
    command = [sys.executable, "-m", "bench.kernels", "--ops", "lasr"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2 and "'lasr' is unknown; choose from orthogonality" in run.stderr
