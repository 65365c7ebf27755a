"""`mer-ray evaluate --noise`: a bundle and labelled media in; its score on clean and on degraded media out.

Shapes: N clips, M members of a group.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import nearest
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, PredictionError, RunError
from mer_ray.core.media_types import MODALITIES, BoolArray
from mer_ray.core.table import Table
from mer_ray.prediction.bundle import Bundle, load_bundle
from mer_ray.prediction.condition_features import ConditionFeatures, ConditionSource
from mer_ray.prediction.condition_scores import score_conditions
from mer_ray.prediction.condition_table import condition_table
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.labels import Labels, read_label_table
from mer_ray.prediction.media_features import work_folder
from mer_ray.prediction.noise_conditions import Condition, conditions_of
from mer_ray.prediction.noise_config import NoiseConfig
from mer_ray.prediction.prediction_table import write_predictions
from mer_ray.prediction.protocols import PROTOCOLS
from mer_ray.prediction.recogniser import check_speakers
from mer_ray.prediction.robustness_tables import robustness_tables
from mer_ray.prediction.scoring_rule import find_labels, scoring_facts
from mer_ray.prediction.unseen_members import unseen_members
from mer_ray.prediction.wanted_clips import WantedClips, clips_of_manifest
from mer_ray.training.bundle_facts import clip_digest


@dataclass(frozen=True)
class RobustnessSummary:
    """The content of the JSON file, a row per condition and clip, and where they lie."""

    facts: dict[str, Any]
    table: pa.Table
    path: Path
    predictions_path: Path

    def tables(self) -> list[Table]:
        """The score of each condition and its distance from clean, for a terminal."""
        return robustness_tables(self.facts, self.path, self.predictions_path)


def evaluate_robustness(config: EvaluateConfig) -> RobustnessSummary:
    """Extract what is lacking, predict the labelled clips under each condition, score, and write scores and predictions.

    Each clip is judged by the models that were not trained on it.

    Raises:
        ClusterError, ConfigError, StoreError: as an extraction of the degraded media.
        ManifestError, PredictionError: the labels are no manifest, none of its media is there, or labels and bundle do not fit.
        RunError: no bundle; clips that all of its models were trained on; or media that could not be degraded.

    """
    noise = config.noise
    assert noise is not None
    bundle = load_bundle(noise.bundle, noise.device, noise.allow_plugins)
    read = {record.modality for record in bundle.facts.encoders.values()}
    conditions = conditions_of(noise, read)
    labels, official = find_labels(config, read_label_table(config.labels, config.split, PROTOCOLS[config.protocol].is_challenge), [])
    _refuse_other_task(config, bundle, labels)
    wanted = _wanted(config, bundle, labels)
    check_speakers(bundle, wanted)
    members, num_held_out = _unseen(config, bundle, wanted)
    source = ConditionSource(noise, work_folder(config.out), bundle, wanted, conditions)
    tables, described = [], []
    for condition in conditions:
        features = source.read(condition)
        predictions = bundle.predict_features(features.by_key, wanted.speaker_ids, members)
        tables.append(condition_table(condition, wanted, predictions, features, bundle.facts.task))
        described.append(_describe(condition, features, tables[-1]))
    table = pa.concat_tables(tables)
    facts = {
        **scoring_facts(config, labels, official),
        "bundle": str(noise.bundle),
        "runs": list(dict.fromkeys(group.run for group in bundle.facts.groups)),
        "modalities": [name for name in MODALITIES if name in read],
        "noise": {"source": noise.source, "seed": noise.seed},
        "num_held_out": num_held_out,
        "conditions": score_conditions(config, labels, official, described, tables),
    }
    write_predictions(table, config.predictions_out)
    write_json(config.out, facts)
    shutil.rmtree(work_folder(config.out), ignore_errors=True)
    return RobustnessSummary(facts, table, config.out, config.predictions_out)


def _refuse_other_task(config: EvaluateConfig, bundle: Bundle, labels: Labels) -> None:
    unknown = [name for name in bundle.classes if name not in labels.classes] if labels.classes else []
    if unknown:
        raise PredictionError(
            f"{bundle.folder}: predicts {', '.join(unknown)}, which {config.labels} does not have{nearest(unknown[0], labels.classes)}; "
            "give the labels of the emotions that it was trained on"
        )
    _refuse_unpredicted(config, bundle, labels)


def _refuse_unpredicted(config: EvaluateConfig, bundle: Bundle, labels: Labels) -> None:
    """Refuse labels that no prediction can meet."""
    labelled = [labels.classes[number] for number in labels.label_N.tolist() if number >= 0]
    beyond = [name for name in labels.classes if name in set(labelled) - set(bundle.classes)]
    if beyond:
        num_beyond = sum(name in beyond for name in labelled)
        raise PredictionError(
            f"{config.labels}: {num_beyond} of {say_count(len(labelled), 'labelled clip')} {'is' if num_beyond == 1 else 'are'} "
            f"{', '.join(beyond)}, which {bundle.folder} does not predict; it predicts {', '.join(bundle.classes)}; map those emotions, "
            "or map them to null, with label_map of the manifest, or choose a bundle that predicts them"
        )


def _wanted(config: EvaluateConfig, bundle: Bundle, labels: Labels) -> WantedClips:
    """The labelled clips; with statistics by speaker also those without a label, which belong to them."""
    splits = None if config.split is None else (config.split,)
    return clips_of_manifest(config.labels, splits, None if bundle.needs_speakers else labels.clip_ids)


def _unseen(config: EvaluateConfig, bundle: Bundle, wanted: WantedClips) -> tuple[list[BoolArray], int]:
    """Who may judge which clip, and how many clips were in the training of others.

    Raises:
        RunError: clips that all models were trained on.

    """
    digests = [clip_digest(wanted.manifest.facts.corpus, clip_id) for clip_id in wanted.clip_ids]
    members = unseen_members(bundle, digests)
    judged_N = np.logical_or.reduce([members_NM.any(axis=1) for members_NM in members])
    known = np.flatnonzero(~judged_N).tolist()
    if known:
        example = wanted.clip_ids[known[0]]
        raise RunError(
            f"{config.labels}: {say_count(len(known), 'clip')} of {len(digests)} were trained or decided on by every model of "
            f"{bundle.folder}, e.g. {example!r}, so that their scores would be too good; choose a split that the run did not learn from "
            "(--split), another manifest, or a run with protocol.name=folds, whose models each held out a fold"
        )
    return members, int(np.isin(digests, list(bundle.train_clips)).sum())


def _describe(condition: Condition, features: ConditionFeatures, table: pa.Table) -> dict[str, Any]:
    """What a condition is, for the JSON."""
    degrade = condition.degrade
    heard = np.asarray(["audio" in used.split("+") for used in table["used"].to_pylist()])
    num_silent = 0 if features.snr_db is None else int((np.isnan(features.snr_db) & heard).sum())
    return {
        "condition": condition.name,
        "modality": condition.modality,
        "snr_db": condition.snr_db,
        "blur": None if degrade is None else degrade.blur,
        "without": condition.modality if condition.is_removal else None,
        "encoders": features.copies,
        "num_silent": num_silent,
    }


def plan_robustness(config: EvaluateConfig) -> list[Table]:
    """What would be done, without encoding anything.

    Raises:
        ConfigError, RunError: as `evaluate_robustness`, as far as that is found without media.

    """
    noise: NoiseConfig | None = config.noise
    if noise is None:
        raise ConfigError("noise: is not set")
    bundle = load_bundle(noise.bundle, "cpu", noise.allow_plugins)
    conditions = conditions_of(noise, {record.modality for record in bundle.facts.encoders.values()})
    rows = (
        ("bundle", f"{noise.bundle}: {sum(len(group.members) for group in bundle.facts.groups)} models"),
        ("labels", str(config.labels)),
        ("protocol", config.protocol),
        ("conditions", ", ".join(one.name for one in conditions)),
        ("extracted again", _extracted(bundle, conditions)),
        ("out", ", ".join(map(str, (config.out, config.predictions_out, config.page_out)))),
    )
    return [Table("Robustness", ("what", "value"), rows)]


def _extracted(bundle: Bundle, conditions: Sequence[Condition]) -> str:
    records = bundle.facts.encoders.values()
    named = [
        f"{one.name} of {record.key}" for one in conditions if not one.is_removal for record in records if record.modality == one.modality
    ]
    return ", ".join(named) or "nothing"
