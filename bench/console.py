"""Lines and tables on the terminal; by rich where it is installed."""

from typing import Any

try:
    from rich.console import Console
    from rich.table import Table
except ImportError:  # an image with torch and triton alone
    Console = None  # type: ignore[assignment,misc]


def say(line: str) -> None:
    """Print one line at once."""
    if Console is None:
        print(line, flush=True)
    else:
        Console(soft_wrap=True, highlight=False).print(line, markup=False)


def show_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows of kernels.json in short."""
    names = ("op", "shape", "dtype", "backend", "ms", "peer", "peer ms", "ratio", "of the bound")
    lines = [
        (
            row["op"], row["shape"], row["dtype"], row["backend"], f"{row['median_ms']:.3f}",
            row["peer"], f"{row['peer_median_ms']:.3f}", f"{row['ratio']:.2f}",
            f"{row['share_of_bound']:.0%}",
        )
        for row in rows
    ]  # fmt: skip
    if Console is None:
        for line in (names, *lines):
            print("  ".join(f"{cell:16}" for cell in line))
        return
    table = Table(*names, show_edge=False)
    for line in lines:
        table.add_row(*line)
    Console(width=max(Console().width, 120)).print(table)
