"""`mer-ray evaluate`: predictions and labels in, the official figure and what stands beside it out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import write_json
from mer_ray.core.errors import MerRayError, PredictionError
from mer_ray.core.table import Table
from mer_ray.prediction.agreement import agreement, class_shares
from mer_ray.prediction.clip_table import ClipTable, read_clip_table
from mer_ray.prediction.comparison import compare_files
from mer_ray.prediction.evaluation_config import EvaluateConfig, ScoringConfig
from mer_ray.prediction.evaluation_tables import evaluation_tables
from mer_ray.prediction.file_scores import score_file
from mer_ray.prediction.labels import Labels, read_label_table
from mer_ray.prediction.prediction_files import FilePredictions, check_predictions
from mer_ray.prediction.protocols import PROTOCOLS, Protocol
from mer_ray.prediction.scoring_rule import find_labels, scoring_facts, scoring_seed

TRAIN = "train"


@dataclass(frozen=True)
class EvaluationSummary:
    """What the scores are, the content of the JSON file, and where that lies, if it was written."""

    facts: dict[str, Any]
    path: Path | None = None

    def tables(self) -> list[Table]:
        """Scores, classes, differences, agreement and balance, for a terminal."""
        return evaluation_tables(self.facts, self.path)


def evaluate(config: EvaluateConfig) -> EvaluationSummary:
    """Score, compare, and write the scores atomically.

    Raises:
        ManifestError, PredictionError: as `score_predictions`.

    """
    summary = replace(score_predictions(config), path=config.out)
    write_json(config.out, summary.facts)
    return summary


def score_predictions(config: ScoringConfig) -> EvaluationSummary:
    """Score files of predictions by a protocol's rule, and compare them.

    Raises:
        ManifestError, PredictionError: a file cannot be read, or predictions and labels do not fit; a line per fault.

    """
    protocol = PROTOCOLS[config.protocol]
    tables = [read_clip_table(path, protocol.is_challenge) for path in config.predictions]
    label_table = read_label_table(config.labels, config.split, protocol.is_challenge)
    labels, official = find_labels(config, label_table, tables)
    classes = labels.classes
    files = _check_all(tables, labels, protocol)
    seed = scoring_seed(config)
    scores = [score_file(file, labels, official, seed, config.num_resamples) for file in files]
    lacking = [score["path"] for score in scores if score["official"] is None]
    if lacking:
        raise PredictionError(f"{', '.join(lacking)}: {official} is not defined there; choose another metric, or predict what it needs")
    compared = compare_files(files, labels, official, seed=seed, num_resamples=config.num_resamples, num_swaps=config.num_swaps)
    facts = {
        **scoring_facts(config, labels, official),
        "files": scores,
        "differences": compared,
        "agreement": agreement(tables) if len(tables) > 1 and protocol.has_emotions else None,
        "balance": _balance(config, label_table, tables, classes),
    }
    return EvaluationSummary(facts)


def _check_all(tables: list[ClipTable], labels: Labels, protocol: Protocol) -> list[FilePredictions]:
    """All files checked; the faults of all of them at once."""
    files, faults = [], []
    for table in tables:
        try:
            files.append(check_predictions(table, labels, protocol))
        except MerRayError as error:
            faults.append(str(error))
    if faults:
        raise PredictionError("\n".join(faults))
    return files


def _balance(config: ScoringConfig, labels: ClipTable, tables: list[ClipTable], classes: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """Shares per class of train, labels and predictions; None where there is one file and no train, or no classes."""
    if not classes or (config.train_labels is None and len(tables) == 1):
        return None
    of_train = []
    if config.train_labels is not None:
        train = read_label_table(config.train_labels, None, PROTOCOLS[config.protocol].is_challenge)
        if TRAIN in (train.splits or []):
            train = read_label_table(config.train_labels, TRAIN, PROTOCOLS[config.protocol].is_challenge)
        if not any(emotion in classes for emotion in train.emotions or []):
            raise PredictionError(f"{config.train_labels}: train_labels has no emotion of {', '.join(classes)}")
        of_train = [("train labels", train)]
    listed = [*of_train, ("labels", labels), *[("predictions", table) for table in tables]]
    return [{"of": what, "path": str(table.path), "shares": class_shares(table, classes)} for what, table in listed]
