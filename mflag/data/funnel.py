"""How many images each filter left."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.table import Table

FORMAT = 2


class Step(NamedTuple):
    """One filter.

    Attributes:
        name: what it asks for.
        kept: images that are left after it.
        dropped: images that it took out.
        published: what a paper or the dataset's authors print here; shown, never required.
        note: what the dropped ones were.
    """

    name: str
    kept: int
    dropped: int
    published: int | None = None  # absent in format 1
    note: str = ""


@dataclass
class Funnel:
    """Filters in their order, with what they kept and dropped."""

    steps: list[Step] = field(default_factory=list)

    def add(self, name: str, kept: int, published: int | None = None, note: str = "") -> None:
        """Note that ``kept`` images are left after the filter ``name``."""
        before = self.steps[-1].kept if self.steps else kept
        self.steps.append(Step(name, kept, before - kept, published, note))

    def as_json(self) -> dict[str, Any]:
        """The content of ``funnel.json``."""
        return {"format": FORMAT, "steps": [step._asdict() for step in self.steps]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Funnel":
        """The funnel that ``as_json`` of this or an earlier version gave."""
        return cls([Step(**step) for step in content["steps"]])

    def as_table(self) -> Table:
        """The same for people; columns that would be empty are left out."""
        table = Table("filter", title="funnel")
        for name in ("kept", "dropped"):
            table.add_column(name, justify="right")
        optional = [
            key for key in ("published", "note") if any(getattr(s, key) for s in self.steps)
        ]
        for name in optional:
            table.add_column(name, justify="right" if name == "published" else "left")
        for step in self.steps:
            published = "" if step.published is None else f"{step.published:,}"
            shown = {"published": published, "note": step.note}
            dropped = f"{step.dropped:,}" if step.dropped else ""
            table.add_row(step.name, f"{step.kept:,}", dropped, *(shown[key] for key in optional))
        return table
