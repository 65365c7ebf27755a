"""What a scoring config says of labels: which count, which metric ranks, and what is told of it."""

from collections.abc import Sequence
from typing import Any

from mer_ray.core.config import nearest
from mer_ray.core.errors import PredictionError
from mer_ray.core.seeding import derive_seed
from mer_ray.prediction.clip_table import ClipTable
from mer_ray.prediction.evaluation_config import ScoringConfig
from mer_ray.prediction.labels import Labels, check_labels, label_classes
from mer_ray.prediction.protocols import PROTOCOLS, allowed_metrics, official_metric


def find_labels(config: ScoringConfig, label_table: ClipTable, tables: Sequence[ClipTable]) -> tuple[Labels, str]:
    """The labels of a table, and the metric that ranks; `tables` of predictions may name the classes.

    Raises:
        PredictionError: as `check_labels` and `label_classes`, or these labels do not allow the metric.

    """
    protocol = PROTOCOLS[config.protocol]
    labels = check_labels(label_table, protocol, label_classes(protocol, config.classes, label_table, list(tables)))
    official = official_metric(protocol, config.metric, tuple(labels.values))
    allowed = allowed_metrics(protocol, tuple(labels.values))
    if official not in allowed:
        raise PredictionError(
            f"metric: {official!r} cannot be had from {config.labels} by protocol {protocol.name}{nearest(official, allowed)}"
        )
    return labels, official


def scoring_seed(config: ScoringConfig) -> int:
    """What resamples and swaps are drawn from."""
    return derive_seed("evaluate", config.seed)


def scoring_facts(config: ScoringConfig, labels: Labels, official: str) -> dict[str, Any]:
    """What the JSON says of rule and labels."""
    protocol = PROTOCOLS[config.protocol]
    return {
        "protocol": protocol.name,
        "rule": protocol.rule if config.metric is None else config.metric,
        "official": official,
        "labels": str(config.labels),
        "split": config.split,
        "classes": list(labels.classes),
        "num_labelled": len(labels.clip_ids),
        "num_unlabelled": labels.num_unlabelled,
        "num_speakers": labels.num_speakers,
        "num_resamples": config.num_resamples,
        "num_swaps": config.num_swaps,
        "seed": config.seed,
    }
