"""Run pytest with the package of the current folder, whose library must be an instrumented one."""

import importlib
import sys
from pathlib import Path

import pytest

# An editable install finds mflag by a hook that comes before every folder.
sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable")]
sys.path.insert(0, str(Path.cwd()))

state = importlib.import_module("mflag").backends()["cpu"]
if state is not True:
    sys.exit(f"the instrumented library does not load: {state}")
mapped = Path("/proc/self/maps").read_text()
if str(Path.cwd() / "mflag" / "libmflag.so") not in mapped or "libasan" not in mapped:
    sys.exit("another library was loaded")
sys.exit(pytest.main(sys.argv[1:]))
