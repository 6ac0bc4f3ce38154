"""What a downstream task is made of: the same for every task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import Prepared
from mflag.downstream.request import Request
from mflag.reporting.gallery import Picture
from mflag.reporting.markup import Markup
from mflag.reporting.page import Section
from mflag.reporting.plots import Plot


def no_draws() -> pd.DataFrame:
    """Return the table of drawn images of a task that needs no labels."""
    return pd.DataFrame({"fraction": [], "seed": [], "id": []})


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    Attributes:
        results: the content of ``results.json``.
        drawn_ids: ``fraction``, ``seed``, ``id`` of the labelled images of draws below 100 %.
        pictures: example studies; none where they may not be shown.
    """

    results: dict[str, Any]
    drawn_ids: pd.DataFrame = field(default_factory=no_draws)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """One question that encoders are asked.

    Attributes:
        protocols: what ``task.protocol`` may hold, in the order of the report.
        keys: of ``TaskConfig`` that it reads.
        check: refuses options that cannot be used, before a file is read.
        check_data: refuses prepared data that do not serve, before an encoder runs.
        run: computes; its last argument says whether pictures of studies may be kept.
        plots: draws ``results.json``, by name.
        lead: what a hurried reader of the report must see first.
        sections: the report, from ``results.json``, its plots and pictures.
        remarks: lines for the terminal beside the scores.
    """

    protocols: tuple[str, ...]
    keys: frozenset[str]
    check: Callable[[EvaluateConfig, list[str]], None]
    check_data: Callable[[EvaluateConfig, Prepared], None]
    run: Callable[[EvaluateConfig, Request, Prepared, bool], Outcome]
    plots: Callable[[dict[str, Any]], dict[str, Plot]]
    lead: Callable[[dict[str, Any]], Markup]
    sections: Callable[[dict[str, Any], Mapping[str, Plot], list[Picture]], list[Section]]
    remarks: Callable[[dict[str, Any]], list[str]]
