"""Plots that take the page's colours: SVG inside the page, PNG and SVG as files."""

import io
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mflag.reporting.markup import Markup, tag
from mflag.reporting.style import LIGHT
from mflag.runtime.atomic_write import atomic_write

# What matplotlib draws with, and the page's variable that replaces it.
INK, LINE = LIGHT["ink"], LIGHT["line"]
_SERIES = [LIGHT[f"s{k}"] for k in range(6)]
_BASELINES = {name: LIGHT[name] for name in ("random", "imagenet")}
_VARIABLES = (
    {INK: "currentColor", LINE: "var(--line)"}
    | {colour: f"var(--s{k})" for k, colour in enumerate(_SERIES)}
    | {colour: f"var(--{name})" for name, colour in _BASELINES.items()}
)
_MARKERS = "osD^vP"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mflag",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
        name: file name without suffix.
        title: one line, read out by screen readers.
        svg: a file's content, transparent.
        figure: what it was drawn from.
    """

    name: str
    title: str
    svg: bytes
    figure: Figure = field(repr=False, compare=False)

    @cached_property
    def png(self) -> bytes:
        """A file's content, on white; drawn when first asked for, a page needs none."""
        png = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            self.figure.savefig(
                png, format="png", dpi=200, facecolor="white", metadata={"Software": None}
            )
        return png.getvalue()

    def inline(self, caption: str) -> Markup:
        """Return the plot for a page, in the page's colours, without anything to fetch."""
        text = self.svg.decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
        text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
        text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
        text = re.sub(r'id="([^"]+)"', rf'id="{self.name}-\1"', text)
        text = re.sub(r'href="#|url\(#', lambda m: f"{m.group()}{self.name}-", text)
        text = re.sub(r"(font: [\d.]+px )[^;\"]+", r"\1system-ui, sans-serif", text)
        for colour, variable in _VARIABLES.items():
            text = text.replace(colour, variable)
        label = tag("svg", role="img", aria_label=self.title).removesuffix("></svg>")
        svg = Markup(text.replace("<svg", label, 1))
        return tag("figure", svg, tag("figcaption", caption), class_="plot")


def colour_of(name: str, names: Sequence[str]) -> str:
    """Return the colour of a series: baselines have their own."""
    others = [n for n in names if n not in _BASELINES]
    return _BASELINES.get(name) or _SERIES[others.index(name) % len(_SERIES)]


def variable_of(name: str, names: Sequence[str]) -> str:
    """Return the page's variable that holds a series' colour, such as ``var(--s0)``."""
    return _VARIABLES[colour_of(name, names)]


def key_of(name: str, names: Sequence[str]) -> Markup:
    """Return a dot in the series' colour, and its name."""
    style = f"background:{variable_of(name, names)}"
    dot = tag("span", class_="key", style=style, aria_hidden="true")
    return tag("span", dot, name, class_="name")


def estimates_plot(
    name: str,
    title: str,
    series: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    lines: Mapping[str, float] | None = None,
) -> Plot:
    """Draw estimates with intervals over the number of labels.

    Args:
        name: of the file.
        title: one line.
        series: by encoder, points with ``x``, ``value``, ``ci_low``, ``ci_high`` and ``draws``,
            the values of the single draws.
        labels: ``x`` and ``y``, the names of the axes.
        lines: values that need no labels, by name.
    """
    names = list(series)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(3.5)
        for line, value in (lines or {}).items():
            axes.axhline(value, color=INK, linestyle=":", linewidth=1.2, label=line)
        for k, (encoder, points) in enumerate(series.items()):
            colour = colour_of(encoder, names)
            # A little apart, so that intervals stay visible.
            x = np.array([p["x"] for p in points]) * 1.06 ** (k - (len(names) - 1) / 2)
            y = np.array([p["value"] for p in points])
            low = np.array([p["value"] if p["ci_low"] is None else p["ci_low"] for p in points])
            high = np.array([p["value"] if p["ci_high"] is None else p["ci_high"] for p in points])
            axes.errorbar(
                x, y, [np.maximum(y - low, 0), np.maximum(high - y, 0)], color=colour,
                label=encoder, marker=_MARKERS[k % len(_MARKERS)], markersize=5, capsize=2.5,
                elinewidth=1.2, linestyle="--" if encoder in _BASELINES else "-",
            )  # fmt: skip
            for position, point in zip(x, points, strict=True):
                axes.plot(
                    [position * 1.02] * len(point["draws"]), point["draws"], color=colour,
                    marker=".", markersize=3, linestyle="", alpha=0.55,
                )  # fmt: skip
        axes.set_xscale("log")
        ticks = sorted({p["x"] for points in series.values() for p in points})
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel(labels["x"])
        axes.set_ylabel(labels["y"])
        _legend(figure, [*(lines or {}), *names])
        return _drawn(figure, name, title)


def dots_plot(
    name: str, title: str, groups: Sequence[str], series: Mapping[str, Sequence[Any]], label: str
) -> Plot:
    """Draw a row a group, a dot with its interval an encoder.

    Args:
        name: of the file.
        title: one line.
        groups: names of the rows, from the top.
        series: by encoder, one (value, low, high) a group, or None.
        label: name of the axis.
    """
    names = list(series)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.95 + 0.14 * len(groups) * (len(names) + 1.2))
        for k, (encoder, points) in enumerate(series.items()):
            shift = 0.62 * ((k + 0.5) / len(names) - 0.5)
            known = [(g + shift, p) for g, p in enumerate(points) if p is not None]
            y = [at for at, _ in known]
            x = np.array([p[0] for _, p in known])
            low = np.array([p[0] if p[1] is None else p[1] for _, p in known])
            high = np.array([p[0] if p[2] is None else p[2] for _, p in known])
            axes.errorbar(
                x, y, xerr=[np.maximum(x - low, 0), np.maximum(high - x, 0)], label=encoder,
                color=colour_of(encoder, names), marker=_MARKERS[k % len(_MARKERS)], markersize=4.5,
                linestyle="", elinewidth=1.2, capsize=2,
            )  # fmt: skip
        axes.set_yticks(range(len(groups)), [group.replace("$", r"\$") for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", visible=False)
        for border in range(1, len(groups)):
            axes.axhline(border - 0.5, color=LINE, linewidth=0.6)
        axes.set_xlabel(label)
        _legend(figure, names)
        return _drawn(figure, name, title)


def lines_plot(
    name: str, title: str, series: Mapping[str, Sequence[float]], labels: Mapping[str, str]
) -> Plot:
    """Draw positive values by their rank, on a logarithmic axis.

    Args:
        name: of the file.
        title: one line.
        series: by encoder, values in descending order.
        labels: ``x`` and ``y``, the names of the axes.
    """
    names = list(series)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(3.2)
        for k, (encoder, values) in enumerate(series.items()):
            shown = np.array([v for v in values if v > 1e-12 * max(values)])
            axes.plot(
                np.arange(1, len(shown) + 1), shown, color=colour_of(encoder, names), label=encoder,
                linestyle="--" if encoder in _BASELINES else ("-", "-.", ":")[k % 3],
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel(labels["x"])
        axes.set_ylabel(labels["y"])
        _legend(figure, names)
        return _drawn(figure, name, title)


def curves_plot(
    name: str,
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    labels: Mapping[str, str],
    marks: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Plot:
    """Draw figures over the steps of training.

    Args:
        name: of the file.
        title: one line.
        series: by run, steps and values.
        labels: ``x`` and ``y``, the names of the axes.
        marks: by run, steps and values that are drawn as points in the run's colour.
    """
    names = list(series)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(3.0)
        for k, (run, (x, y)) in enumerate(series.items()):
            axes.plot(
                x, y, color=colour_of(run, names), label=run, marker="." if len(x) < 3 else "",
                linestyle=("-", "--", "-.", ":")[k % 4],
            )  # fmt: skip
        for run, (x, y) in (marks or {}).items():
            axes.plot(
                x, y, color=colour_of(run, names), linestyle="", marker="D", markersize=5,
                markerfacecolor="none",
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel(labels["x"])
        axes.set_ylabel(labels["y"])
        _legend(figure, names)
        return _drawn(figure, name, title)


def clouds_plot(name: str, title: str, clouds: Mapping[str, np.ndarray], axis: str) -> Plot:
    """Draw points in three dimensions, a box an encoder; all axes of a box have one scale.

    Args:
        name: of the file.
        title: one line.
        clouds: by encoder, (n, 3).
        axis: what an axis is called, before its number.
    """
    names, columns = list(clouds), min(2, len(clouds))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(_STYLE | {"axes.linewidth": 0.5, "font.size": 8}):
        figure = Figure(figsize=(2.6 * columns, 2.7 * rows), layout="constrained")
        for k, (encoder, points) in enumerate(clouds.items(), 1):
            axes: Any = figure.add_subplot(rows, columns, k, projection="3d")
            colour = colour_of(encoder, names)
            # Depth by opacity would make each point a colour of its own.
            axes.scatter(*points.T, s=4, color=colour, alpha=0.6, linewidths=0, depthshade=False)
            radius = float(np.abs(points).max()) or 1.0
            for k_axis, direction in enumerate((axes.xaxis, axes.yaxis, axes.zaxis), 1):
                direction.set_pane_color((0, 0, 0, 0))
                direction.line.set_color(INK)
                direction.set_major_locator(MaxNLocator(4))
                direction.set_tick_params(labelsize=6, pad=-3)
                direction.set_label_text(f"{axis} {k_axis}")
                direction.labelpad = -8
            axes.set(xlim=(-radius, radius), ylim=(-radius, radius), zlim=(-radius, radius))
            axes.set_box_aspect((1, 1, 1), zoom=0.85)
            axes.set_title(encoder.replace("$", r"\$"), color=colour, fontsize=9, pad=0)
        return _drawn(figure, name, title)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.7, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(figure: Figure, names: Sequence[str]) -> None:
    # A column holds its longest name and a mark; the figure is about 60 letters wide.
    columns = max(1, 60 // (max(map(len, names)) + 9))
    figure.legend(loc="outside upper left", ncols=min(len(names), columns, 4))


def _drawn(figure: Figure, name: str, title: str) -> Plot:
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    return Plot(name, title, svg.getvalue(), figure)


def write_plots(plots: Mapping[str, Plot], out: Path) -> None:
    """Write ``plots/`` into ``out``, each as SVG and PNG, in the place of those before.

    Raises:
        InputError: the disk is full or not writable.
    """
    shutil.rmtree(out / "plots", ignore_errors=True)
    for plot in plots.values():
        for suffix, content in (("svg", plot.svg), ("png", plot.png)):
            with atomic_write(out / "plots" / f"{plot.name}.{suffix}") as file:
                file.write(content)
