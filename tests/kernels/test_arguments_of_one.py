"""Integer arguments of 1: Python integers to the compiler, arguments as any to the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")


def test_every_kernel_compiles_where_an_integer_argument_is_1():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.arguments_of_one"]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    *failures, count = run.stdout.splitlines()
    assert failures == [] and int(count.split()[0]) >= 20
