"""Measured points of several processes: a short run, and its table."""

import json
import sys

import pytest

from bench import scaling
from bench.scaling_table import measured_table


@pytest.mark.slow
def test_two_processes_are_measured_beside_one(tmp_path, monkeypatch):
    small = ["--arch=resnet18", "--image-size=32", "--batch-size=4", "--studies=40", "--turns=1"]
    monkeypatch.setattr(sys, "argv", ["scaling", f"--out={tmp_path}", *small])
    scaling.main()
    content = json.loads((tmp_path / "scaling.json").read_text())
    one, two = content["rows"]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["efficiency"] == 1.0
    rates = [row["images_per_second"] for row in (one, two)]
    assert two["efficiency"] == pytest.approx(rates[1] / (2 * rates[0]))
    assert f"| 2 | {rates[1]:.2f}" in measured_table(content)
