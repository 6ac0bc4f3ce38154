"""How many studies each filter left."""

from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

FORMAT = 1


@dataclass
class Funnel:
    """Filters in their order, with what they kept and dropped."""

    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, name: str, kept: int) -> None:
        """Note that ``kept`` studies are left after the filter ``name``."""
        before = self.steps[-1][1] if self.steps else kept
        self.steps.append((name, kept, before - kept))

    def as_json(self) -> dict[str, Any]:
        """The content of ``funnel.json``."""
        names = ("name", "kept", "dropped")
        return {"format": FORMAT, "steps": [dict(zip(names, s, strict=True)) for s in self.steps]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Funnel":
        """The funnel that ``as_json`` gave."""
        return cls([(step["name"], step["kept"], step["dropped"]) for step in content["steps"]])

    def as_table(self) -> Table:
        """The same for people."""
        table = Table("filter", title="funnel")
        table.add_column("kept", justify="right")
        table.add_column("dropped", justify="right")
        for name, kept, dropped in self.steps:
            table.add_row(name, f"{kept:,}", f"{dropped:,}" if dropped else "")
        return table
