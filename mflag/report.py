"""One page of everything that was found: ``python -m mflag.report runs=DIR out=report.html``."""

import sys
from pathlib import Path
from typing import Any

from mflag import cli
from mflag.config.report import ReportConfig
from mflag.errors import InputError
from mflag.runtime.atomic_write import check_writable, write_text
from mflag.summary.compose import MARK, compose_page, pictures_of_real_studies
from mflag.summary.found import find


def main(config: ReportConfig) -> None:
    """Read the folders, write the page, say what is on it."""
    folders = _folders(config.runs)
    out = Path(config.out)
    _check_out(out, config.overwrite)
    findings = find(folders)
    private = pictures_of_real_studies(findings)
    if private and config.report.embed_images:
        names = ", ".join(item.name for item in private)
        print(
            f"warning: {out} will hold images and report text of real studies ({names}); "
            "pass it on only where these may go",
            file=sys.stderr,
        )
    page = compose_page(findings, config.title, config.report.embed_images)
    write_text(out, page)
    for name in findings.unknown:
        print(f"note: {name} is of no known kind; left out")
    counts = {kind: len(findings.of(kind)) for kind in ("data", "run", "analysis", "evaluation")}
    print(", ".join(f"{kind} {count}" for kind, count in counts.items()))
    print("report:", out)


def _folders(runs: Any) -> list[Path]:
    given = runs if isinstance(runs, list) else [runs] if runs is not None else []
    if not given:
        raise InputError("no folders are given; add runs=DIR or runs=[DIR,DIR]")
    return [Path(str(folder)) for folder in given]


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse to replace what is no page of this program, and what cannot be written."""
    if out.is_dir():
        raise InputError(f"out is {str(out)!r}, which is a folder; give a file, as report.html")
    if out.exists() and not overwrite:
        with out.open("rb") as file:
            is_ours = MARK.encode() in file.read(1000)
        if not is_ours:
            raise InputError(
                f"{out} exists and is no page of mflag.report; give another out=, or "
                "overwrite=true to replace it"
            )
    check_writable(out.parent)


if __name__ == "__main__":
    cli.run(main, "report", ReportConfig)
