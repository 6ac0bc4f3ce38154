"""Training runs on the page: learning curves, last figures, settings."""

import json
import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from mflag.analysis.trajectory import evenly
from mflag.config.compose import flat
from mflag.errors import InputError
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, details, paragraph
from mflag.reporting.parts import nested
from mflag.reporting.places import without_places
from mflag.reporting.plots import curves_plot, key_of
from mflag.reporting.tables import MISSING, table
from mflag.summary.found import Found
from mflag.summary.wording import dataset_words

CURVES = {
    "loss": "Loss",
    "loss_alignment": "Alignment loss",
    "loss_orthogonality": "Orthogonality loss",
    "orthogonality_share": "Gradient share of orthogonality",
    "effective_rank": "Effective rank (RankMe)",
    "top_singular_share": "Variance in the strongest direction",
    "lr": "Learning rate",
    "images_per_second": "Images a second",
}
# As many as have colours of their own in one figure.
_RUNS_A_FIGURE = 6
# A plot of 16 cm shows no more.
_MOST_POINTS = 500
Points = dict[str, tuple[list[float], list[float]]]


def runs_section(found: list[Found], encoders: list[str]) -> Section | None:
    """Return learning curves of all runs together, and their settings; None without runs.

    Args:
        found: the runs.
        encoders: names that other parts of the page use; runs of these come first, in their order,
            and so get the same colours.
    """
    if not found:
        return None
    order = {name: place for place, name in enumerate(encoders)}
    found = sorted(found, key=lambda f: order.get(f.name.rpartition("/")[2], len(order)))
    runs = {item.name: _read_log(item.path) for item in found}
    settings = {item.name: _read_settings(item.path.parent) for item in found}
    parts = [
        Section("curves", "Learning curves", _curves(runs)),
        Section("figures", "Last figures", _last(runs)),
        Section("settings", "Settings", _settings(settings)),
    ]
    text = paragraph(
        "What each run of mflag.train logged at its own batches: training images, augmented, in "
        "training mode. A figure of one run says nothing about its spread over seeds."
    )
    return nested("pre-training", "Pre-training", text, parts)


def _read_log(path: Path) -> list[dict[str, Any]]:
    """The logging points; a run that is still going may be in the middle of its last line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    points = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            point = json.loads(line)
            points.append(point | {"step": int(point["step"])})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged in line {number} ({error}); remove the run, or train again"
            ) from error
    return points


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path} is cut short or damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings")
    return flat({str(key): value for key, value in content.items()})


def _curves(runs: dict[str, list[dict[str, Any]]]) -> Markup:
    names = list(runs)
    groups = [names[k : k + _RUNS_A_FIGURE] for k in range(0, len(names), _RUNS_A_FIGURE)]
    parts = []
    for place, group in enumerate(groups):
        drawn = _drawn({name: runs[name] for name in group}, f"curve_{place}")
        several = f" to {group[-1]}" if len(group) > 1 else ""
        parts.append(details(f"{group[0]}{several}", drawn) if place else drawn)
    return join(*parts) if any(parts) else paragraph("No run has logged a figure yet.")


def _drawn(runs: dict[str, list[dict[str, Any]]], name: str) -> Markup:
    """A plot a figure, each with all runs; nothing where none was logged."""
    drawn = []
    for figure, title in CURVES.items():
        series = {run: _series(points, figure) for run, points in runs.items()}
        # One that did not log this figure stays, so that the others keep their colours.
        if any(steps for steps, _ in series.values()):
            words = {"x": "training step", "y": title}
            plot = curves_plot(f"{name}_{figure}", f"{title} by step", series, words)
            drawn.append(tag("div", tag("h3", title), plot.inline(_range_words(series))))
    return tag("div", *drawn, class_="pair") if drawn else Markup("")


def _series(points: list[dict[str, Any]], figure: str) -> tuple[list[float], list[float]]:
    """Steps and finite values, evenly thinned; the first and the last stay."""
    known = [
        (float(point["step"]), float(point[figure]))
        for point in points
        if isinstance(point.get(figure), int | float) and math.isfinite(point[figure])
    ]
    known = evenly(known, _MOST_POINTS)
    return [step for step, _ in known], [value for _, value in known]


def _range_words(series: Points) -> str:
    """First and last value of each run, for those who do not see the curve."""
    words = [
        f"{name} {y[0]:.3g} to {y[-1]:.3g}" if y else f"{name} none"
        for name, (_, y) in series.items()
    ]
    return f"First and last value: {'; '.join(words)}."


def _last(runs: dict[str, list[dict[str, Any]]]) -> Markup:
    names = list(runs)
    kept = [
        figure for figure in ("step", *CURVES)
        if any(point.get(figure) is not None for points in runs.values() for point in points)
    ]  # fmt: skip
    rows = []
    for name, points in runs.items():
        last = points[-1] if points else {}
        cells = [_figure(last.get(figure)) for figure in kept]
        if "effective_rank_cap" in last and "effective_rank" in kept:
            cap = tag("small", f"at most {last['effective_rank_cap']:,.0f}")
            place = kept.index("effective_rank")
            cells[place] = join(cells[place], cap)
        rows.append([key_of(name, names), *cells])
    header = ["run", *[CURVES.get(figure, figure) for figure in kept]]
    return table("Figures of the last logging point of each run.", header, rows)


def _figure(value: Any) -> object:
    if value is None:
        return MISSING
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _settings(settings: dict[str, dict[str, Any]]) -> Markup:
    known = {name: values for name, values in settings.items() if values}
    if not known:
        return paragraph("No config.yaml stands beside these runs.")
    keys = [
        key for key in dict.fromkeys(key for values in known.values() for key in values)
        if key not in ("output_dir", "overwrite", "resume")
    ]  # fmt: skip
    differing = [k for k in keys if len({str(v.get(k, MISSING)) for v in known.values()}) > 1]
    main = [k for k in _MAIN_KEYS if k in keys and k not in differing]
    parts = [_settings_table("Settings that matter most.", main, known)]
    if len(known) > 1:
        text = "Settings in which the runs differ."
        parts.insert(0, _settings_table(text, differing, known) if differing else paragraph(
            "These runs have equal settings."))  # fmt: skip
    rest = [k for k in keys if k not in (*main, *differing)]
    parts.append(details("All other settings", _settings_table("Other settings.", rest, known)))
    command = (
        "Each run's config.yaml holds every setting: python -m mflag.train KEY=VALUE … with "
        "these values repeats it."
    )
    return join(*parts, paragraph(command, class_="quiet"))


_MAIN_KEYS = (
    "data.source", "data.path", "model.arch", "model.init", "model.projector", "text.name",
    "loss.norm", "loss.scale", "loss.orthogonality_share", "loss.orthogonality_weight",
    "optim.name", "optim.lr", "optim.schedule", "train.epochs", "train.batch_size",
    "train.image_size", "compute.precision", "seed",
)  # fmt: skip


def _settings_table(caption: str, keys: list[str], settings: dict[str, dict[str, Any]]) -> Markup:
    """A row a setting; one column where all runs agree."""
    agree = all(len({str(v.get(k, MISSING)) for v in settings.values()}) == 1 for k in keys)
    names = ["all runs" if len(settings) > 1 else next(iter(settings))] if agree else list(settings)
    shown = list(settings.values())[: len(names)]
    rows = [[k, *[_setting(k, values.get(k, MISSING)) for values in shown]] for k in keys]
    return table(caption, ["setting", *names], rows, holds_words=True)


def _setting(key: str, value: Any) -> str:
    if value is None:
        return "null"
    return dataset_words(value) if key == "data.source" else without_places(value)
