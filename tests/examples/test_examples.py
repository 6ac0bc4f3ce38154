"""The drop-in examples run, and the exchanged part changes nothing but the time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "peer"),
    [
        (["barlow_twins.py", "--steps=4", "--batch=16", "--dim=256", "--dtype=float64"], "lightly"),
        (["lars_in_simclr.py", "--steps=4"], "timm"),
    ],
)
def test_the_loss_curve_is_that_of_the_replaced_part(command, peer):
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / command[0]), *command[1:]], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    curve = re.findall(rf"{peer} +([\d.]+) +mflag +([\d.]+)", ran.stdout)
    assert len(curve) == 4
    for theirs, ours in curve:
        assert float(ours) == pytest.approx(float(theirs), rel=2e-4)
