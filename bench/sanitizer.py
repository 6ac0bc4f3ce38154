"""Run the GPU kernels under compute-sanitizer."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOLS = ("memcheck", "racecheck")
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: .*")
CLEAN = 0
FOUND = 9  # our exit code for findings


def sanitize(timeout_s: int = 900) -> list[dict[str, Any]]:
    """Return a result a tool: its summary line, and whether it is clean (None: it did not run)."""
    return [_check(tool, timeout_s) for tool in TOOLS]


def _check(tool: str, timeout_s: int) -> dict[str, Any]:
    if shutil.which("compute-sanitizer") is None:
        return {"tool": tool, "clean": None, "summary": "compute-sanitizer was not found"}
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", str(FOUND)]
    command += [sys.executable, "-m", "tests.gpu.sanitize"]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"tool": tool, "clean": None, "summary": f"not done after {timeout_s} s"}
    text = run.stdout + run.stderr
    found = SUMMARY.findall(text)
    summary = found[-1] if found else text.strip()[-500:]
    return {"tool": tool, "clean": run.returncode == CLEAN, "summary": summary}
