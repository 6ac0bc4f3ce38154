"""Every encoder's images among the reports of the test split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import apply_label_policy, check_label_policy
from mflag.data.manifest import LABEL_PREFIX, Prepared
from mflag.downstream.assemble import assemble, options_without_draws
from mflag.downstream.bootstrap import patient_weights, ratio_resamples
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.examples import png
from mflag.downstream.features import embed
from mflag.downstream.image_text import ImageText, spaces_of
from mflag.downstream.request import Request
from mflag.downstream.results import Scores
from mflag.downstream.retrieval.ranking import (
    TOP,
    Patterns,
    Ranking,
    chance_precision,
    finding_patterns,
    finding_precision,
    median_resamples,
    rank_reports,
)
from mflag.downstream.run_text import report_vectors
from mflag.downstream.task import Outcome
from mflag.errors import InputError
from mflag.reporting.gallery import Picture

CHANCE = "chance"


@dataclass(frozen=True)
class Pool:
    """Images with a report, and the reports among which is chosen.

    Attributes:
        rows: (n,) row numbers of the images, ascending.
        texts: the distinct reports (m).
        own: (n,) place of each image's report in ``texts``.
        patterns: findings of both; None without labels.
        weights: (R, n) how often each image counts in each resample of the patients.
    """

    rows: np.ndarray
    texts: list[str]
    own: np.ndarray
    patterns: Patterns | None
    weights: np.ndarray


def check(config: EvaluateConfig, protocols: list[str]) -> None:
    """Check the options.

    Raises:
        InputError: one cannot be used.
    """
    check_label_policy(config.task.label_policy)


def check_data(config: EvaluateConfig, prepared: Prepared) -> None:
    """Check that there are reports to choose from.

    Raises:
        InputError: the test split has fewer than two distinct reports.
    """
    texts = _test_texts(prepared)
    distinct = len({text for text in texts if text.strip()})
    if distinct < 2:
        raise InputError(
            f"{prepared.path} has {distinct} distinct reports in its test split; retrieval needs a "
            "dataset with reports (dataset=mimic_cxr, openi, csv with a text column, or phantom)"
        )


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Rank the reports of the test split for every image of it."""
    spaces, notes = spaces_of(request.encoders)
    pool = _pool(config, prepared)
    encoders = [e for e in request.encoders if e.name in spaces]
    scores = Scores()
    pictures: list[Picture] = []
    for encoder in encoders:
        ranking, left = _rank(config, request, prepared, pool, encoder, spaces[encoder.name])
        notes += left
        _score(scores, ranking, pool, _fields(encoder.name, prepared, pool))
        if show_pictures and not pictures:
            pictures = _pictures(prepared, pool, ranking, config.report.examples)
    _score_chance(scores, pool, _fields(CHANCE, prepared, pool))
    test = prepared.rows("test")
    silent = len(test) - len(pool.rows)
    remarks = [
        *[f"{silent:,} test images have no report"] * bool(silent),
        *["no findings to compare: the data have no labels"] * (pool.patterns is None),
        *notes,
    ]
    results = {
        **assemble("retrieval", scores, ["recall@10"], encoders, prepared, remarks),
        "data": {
            "dataset": str(prepared.info.get("dataset", "prepared")),
            "images": len(pool.rows),
            "test_images": len(test),
            "reports": len(pool.texts),
            "patients": len(set(prepared.manifest["patient"].to_numpy()[pool.rows].tolist())),
        },
        "options": options_without_draws(config, request),
    }
    return Outcome(results, pictures=pictures)


def _test_texts(prepared: Prepared) -> list[str]:
    rows = pa.array(prepared.rows("test"))
    texts: list[str] = prepared.column("text").cast(pa.large_string()).take(rows).to_pylist()
    return texts


def _pool(config: EvaluateConfig, prepared: Prepared) -> Pool:
    texts = np.array(_test_texts(prepared), object)
    has_text = np.array([bool(text.strip()) for text in texts])
    rows = prepared.rows("test")[has_text]
    own, distinct = pd.factorize(texts[has_text])
    patterns = None
    if prepared.labels:
        dataset = str(prepared.info.get("dataset", ""))
        policy = config.task.label_policy
        check_label_policy(policy, prepared.labels)
        values = prepared.values(LABEL_PREFIX)
        labels = apply_label_policy(values, prepared.labels, policy, dataset)[rows]
        # A report has the findings of the first image that it describes.
        patterns = finding_patterns(labels, labels[np.unique(own, return_index=True)[1]])
    patients = prepared.manifest["patient"].to_numpy()[rows]
    weights = patient_weights(patients, config.task.resamples)
    return Pool(rows, list(distinct), own.astype(np.int64), patterns, weights)


def _rank(
    config: EvaluateConfig,
    request: Request,
    prepared: Prepared,
    pool: Pool,
    encoder: NamedEncoder,
    space: ImageText,
) -> tuple[Ranking, list[str]]:
    batch = config.compute.batch_size
    features = embed(prepared.images, pool.rows, encoder, request.device, batch)
    first = pool.rows[np.unique(pool.own, return_index=True)[1]]
    vectors, has_vector = report_vectors(space, prepared, first, request.device)
    left = int((~has_vector).sum())
    note = f"{encoder.name}: {left:,} reports have no vector: their cosine counts as 0"
    return rank_reports(space.of_images(features), vectors, pool.own), [note] * bool(left)


def _score(scores: Scores, ranking: Ranking, pool: Pool, fields: dict[str, Any]) -> None:
    for k in TOP:
        found = (ranking.own <= k).astype(np.float64)
        _add(scores, found, pool, f"recall@{k}", fields)
        _add(scores, found / k, pool, f"precision_exact@{k}", fields)
        if pool.patterns is not None and k <= ranking.count:
            right = finding_precision(ranking, pool.patterns, k)
            _add(scores, right, pool, f"precision_findings@{k}", fields)
    resampled = median_resamples(ranking.own, pool.weights)
    value = float(np.quantile(ranking.own, 0.5, method="inverted_cdf"))
    scores.add(resampled, metric="median_rank", value=value, **fields)


def _add(
    scores: Scores, values: np.ndarray, pool: Pool, metric: str, fields: dict[str, Any]
) -> None:
    if not np.isnan(values).all():
        known = ~np.isnan(values)
        resampled = ratio_resamples(np.where(known, values, 0), known, pool.weights)
        scores.add(resampled, metric=metric, value=float(np.nanmean(values)), **fields)


def _score_chance(scores: Scores, pool: Pool, fields: dict[str, Any]) -> None:
    """Add what a random order of the reports is expected to reach; known, so without interval."""
    count, none = len(pool.texts), np.full(len(pool.weights), np.nan)
    for k in TOP:
        recall = min(k / count, 1.0)
        scores.add(none, metric=f"recall@{k}", value=recall, **fields)
        scores.add(none, metric=f"precision_exact@{k}", value=recall / k, **fields)
        if pool.patterns is not None and k <= count:
            share = chance_precision(pool.patterns)
            _add(scores, share, pool, f"precision_findings@{k}", fields)
    scores.add(none, metric="median_rank", value=(count + 1) / 2, **fields)


def _fields(name: str, prepared: Prepared, pool: Pool) -> dict[str, Any]:
    return {
        "task": "retrieval",
        "dataset": str(prepared.info.get("dataset", "prepared")),
        "encoder": name,
        "protocol": "ranking",
        "fraction": 0.0,
        "seed": 0,
        "n_train": 0,
        "n_test": len(pool.rows),
    }


def _pictures(prepared: Prepared, pool: Pool, ranking: Ranking, count: int) -> list[Picture]:
    """Some images, each with the report that the first encoder puts first."""
    picked = np.linspace(0, len(pool.rows) - 1, min(count, len(pool.rows))).round().astype(int)
    return [
        Picture(
            png(prepared.images[pool.rows[at]]),
            f"example study {k}",
            f"own report on place {ranking.own[at]:,}",
            f"First: {pool.texts[ranking.first[at, 0]]}",
        )
        for k, at in enumerate(picked, 1)
    ]
