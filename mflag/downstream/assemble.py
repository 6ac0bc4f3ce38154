"""The parts of ``results.json`` that are the same for every task."""

from collections.abc import Sequence
from typing import Any

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import Prepared
from mflag.downstream.encoders import NamedEncoder, describe, overlap_notes
from mflag.downstream.request import Request
from mflag.downstream.results import FORMAT, Scores, provenance


def assemble(
    task: str,
    scores: Scores,
    compared: Sequence[str],
    encoders: list[NamedEncoder],
    prepared: Prepared,
    notes: Sequence[str],
    libraries: Sequence[str] = (),
) -> dict[str, Any]:
    """Return format, rows, summary, differences, encoders, notes, command, versions, machine.

    Args:
        task: its name.
        scores: of all encoders.
        compared: metrics of which encoders of files are compared with all others.
        encoders: that were scored.
        prepared: the data; warnings of prepare and known overlaps come first among the notes.
        notes: the task's own.
        libraries: whose versions matter here beside the usual ones.
    """
    files = [encoder.name for encoder in encoders if encoder.origin.startswith("file ")]
    return {
        "format": FORMAT,
        "task": task,
        "rows": scores.as_dicts(),
        "summary": scores.summary(),
        "differences": scores.differences(tuple(compared), files),
        "encoders": describe(encoders),
        "notes": [
            *(f"warning from prepare: {warning}" for warning in prepared.warnings),
            *overlap_notes(encoders, str(prepared.info.get("dataset", "prepared"))),
            *notes,
        ],
    } | provenance("mflag.evaluate", tuple(libraries))


def options_without_draws(config: EvaluateConfig, request: Request) -> dict[str, Any]:
    """Return the options of a task that draws no labelled images."""
    return {
        "protocol": request.protocols,
        "fraction": [0.0],
        "label_policy": config.task.label_policy,
        "resamples": config.task.resamples,
    }
