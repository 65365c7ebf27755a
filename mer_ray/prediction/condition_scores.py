"""The scores of each condition, JSON-able, with the distance from clean.

Shapes: N clips.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.batch import VALUE_NAMES
from mer_ray.core.errors import PredictionError
from mer_ray.prediction.clip_table import ClipTable
from mer_ray.prediction.comparison import compare_files
from mer_ray.prediction.condition_facts import mean_facts, num_affected
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.file_scores import score_file
from mer_ray.prediction.labels import Labels
from mer_ray.prediction.prediction_files import check_predictions
from mer_ray.prediction.protocols import PROTOCOLS
from mer_ray.prediction.scoring_rule import scoring_seed

KEPT = ("official", "scores", "intervals", "per_class", "confusion")


def score_conditions(
    config: EvaluateConfig, labels: Labels, official: str, described: Sequence[dict[str, Any]], tables: Sequence[pa.Table]
) -> list[dict[str, Any]]:
    """What each condition is, with its scores, `difference` from the first (None for it), and the model's mean numbers `facts`.

    `num_affected` of the labelled clips have what is degraded; None for clean media.

    Raises:
        PredictionError: predictions that cannot be scored, a line per condition.

    """
    protocol, seed = PROTOCOLS[config.protocol], scoring_seed(config)
    names = [one["condition"] for one in described]
    files = [check_predictions(_clip_table(name, table), labels, protocol) for name, table in zip(names, tables, strict=True)]
    scores = [score_file(file, labels, official, seed, config.num_resamples) for file in files]
    undefined = [name for name, score in zip(names, scores, strict=True) if score["official"] is None]
    if undefined:
        raise PredictionError(f"{', '.join(undefined)}: {official} is not defined there; choose another metric")
    compared = compare_files(files, labels, official, seed=seed, num_resamples=config.num_resamples, num_swaps=config.num_swaps)
    differences = [None, *({key: one[key] for key in ("difference", "interval", "p_value", "p_holm")} for one in compared)]
    facts = [mean_facts(table, tables[0], one["without"] is not None) for one, table in zip(described, tables, strict=True)]
    affected = [
        num_affected(one, table, tables[0], labels.clip_ids) if one["modality"] else None
        for one, table in zip(described, tables, strict=True)
    ]
    return [
        {**one, "num_affected": count, **{key: score[key] for key in KEPT}, "difference": difference, "facts": found}
        for one, count, score, difference, found in zip(described, affected, scores, differences, facts, strict=True)
    ]


def _clip_table(name: str, table: pa.Table) -> ClipTable:
    """The rows as files of predictions are read, by the name of their condition."""
    values = {value: table[value].fill_null(np.nan).to_numpy().astype(np.float64) for value in VALUE_NAMES if value in table.column_names}
    return ClipTable(Path(name), table["clip_id"].to_pylist(), table["emotion"].to_pylist(), values)
