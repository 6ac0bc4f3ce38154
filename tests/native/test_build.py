"""The native build gives up with a reason where it cannot work, and the installation goes on."""

import json
import sys
from pathlib import Path

from tests.native.test_sanitizers import ROOT, checked, found


def test_another_system_than_linux_gets_the_python_part_alone(tmp_path: Path):
    settings = ["-DCMAKE_SYSTEM_NAME=Darwin", f"-DCMAKE_MAKE_PROGRAM={found('ninja')}"]
    settings += [f"-DPython_EXECUTABLE={sys.executable}"]
    folders = ["-S", str(ROOT / "csrc"), "-B", str(tmp_path)]
    checked([found("cmake"), "-G", "Ninja", *folders, *settings])
    native = json.loads((tmp_path / "native.json").read_text())
    assert native["cpu"] is False and native["cuda"] is False
    assert native["reason"] == "the native library is for Linux, this is Darwin"
