"""Imports go down only: apps, tasks, parts, ops, kernels; anyone may use the base."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [  # from the top; a module imports its own layer and those below
    {"prepare", "train", "evaluate", "analyze", "ablate", "export", "report", "doctor"},
    {"training", "downstream", "ablation", "analysis", "exporting", "reporting", "summary"},
    {"losses", "optim", "models", "data", "distributed", "runtime"},
    {"ops"},
    {"kernels"},
    {"native", "config", "cli", "cli_help", "errors"},  # the base
]
LEVEL = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}
FILES = sorted(path for folder in ("mflag", "kernels") for path in ROOT.glob(f"{folder}/**/*.py"))


def imported_modules(source: str) -> set[str]:
    """Every module that a source imports, inside functions too, with its full name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def upward_imports(owner: str, source: str) -> set[str]:
    """What a file of ``owner`` (``ops``, ``train``, ...) may not import."""
    wrong = set()
    for module in imported_modules(source):
        top, _, rest = module.partition(".")
        if top == "":
            wrong.add(f"{module}: write it in full, from mflag")
        elif top in ("kernels", "configs"):
            wrong.add(f"{module}: write mflag.{module}, or it is loaded twice")
        elif top == "mflag" and LEVEL.get(rest.partition(".")[0], -1) > LEVEL[owner]:
            wrong.add(f"{module}: lies above mflag.{owner}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    owner = parts[0] if parts[0] == "kernels" else parts[1]
    if owner == "__init__":  # mflag/__init__.py offers names from every layer
        return
    assert owner in LEVEL, f"say in {Path(__file__).name} which layer mflag.{owner} belongs to"
    assert not upward_imports(owner, path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "from mflag.losses import OrthogonalityLoss",
        "import mflag.train",
        "def lazily():\n    from mflag import optim",
        "from .. import optim",
        "import kernels.lars",
    ],
)
def test_upward_imports_are_found(source):
    assert upward_imports("ops", source)


def test_downward_imports_are_allowed():
    assert not upward_imports("ops", "import torch\nfrom mflag.kernels.lars import step")
