"""Raw trees and what their readers made of them, each made once for all tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mflag.data.manifest import Prepared, open_prepared
from mflag.data.phantom_formats import plan_studies
from mflag.data.phantom_formats.facts import Facts

SIZE, SEED = 36, 1


def arguments(kind: str, root: Path) -> list[str]:
    """What a user types after ``python -m mflag.prepare``."""
    more = {
        "csv": [f"root={root}/images", f"csv={root}/studies.csv"],
        "openi": [f"root={root}", f"csv={root}/nlmcxr_dicom_metadata.csv.gz"],
    }
    return [f"dataset={kind}", "workers=1", *more.get(kind, [f"root={root}"])]


class Trees:
    """All formats, of ``SIZE`` studies of ``SEED``; tests read them and change copies only."""

    def __init__(self, folder: Path, call: Callable[..., None]) -> None:
        self._folder, self._call = folder, call
        self._facts: dict[int, Facts] = {}

    def raw(self, kind: str) -> Path:
        folder = self._folder / kind
        if not folder.exists():
            keys = [f"dataset.size={SIZE}", f"dataset.seed={SEED}", "workers=1"]
            self._call("prepare", f"phantom.format={kind}", *keys, f"out={folder}")
        return folder

    def prepared(self, kind: str) -> Prepared:
        out = self._folder / f"{kind}-prepared"
        if not out.exists():
            self._call("prepare", *arguments(kind, self.raw(kind)), f"out={out}")
        return open_prepared(out)

    def studies(self, kind: str) -> Iterator[Facts]:
        for index in plan_studies(kind, SEED, SIZE):
            yield self._facts.setdefault(index, Facts(SEED, index))
