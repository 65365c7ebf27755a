"""`mer-ray predict`: clips and a bundle in, one file of predictions out."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.core.table import Table
from mer_ray.prediction.bundle import Bundle, load_bundle
from mer_ray.prediction.bundle_encoders import bundle_encoders, is_imported
from mer_ray.prediction.clip_features import ClipFeatures
from mer_ray.prediction.config import PredictConfig
from mer_ray.prediction.media_features import extract_features, refuse_absent_media, work_folder
from mer_ray.prediction.prediction_table import PRIOR, TRAINED_ON, write_predictions
from mer_ray.prediction.recogniser import Recogniser, check_speakers, predict_table, refuse_imported, with_windows
from mer_ray.prediction.submission import check_task, complete, read_candidates, to_submission
from mer_ray.prediction.wanted_clips import WantedClips, clips_of_files, clips_of_manifest

MAX_SHOWN = 10


@dataclass(frozen=True)
class PredictSummary:
    """What was predicted: counts by emotion, and how many rows had less than all inputs."""

    out: Path
    table: pa.Table
    modalities: tuple[Modality, ...]

    @property
    def num_prior(self) -> int:
        """Rows that are the prior, because nothing could be read."""
        return int(pc.sum(pc.equal(self.table["used"], PRIOR)).as_py() or 0)

    @property
    def num_with(self) -> dict[Modality, int]:
        """Rows that had each of the bundle's modalities."""
        used = [text.split("+") for text in self.table["used"].to_pylist()]
        return {name: sum(name in names for names in used) for name in self.modalities}

    def tables(self) -> list[Table]:
        """For people: what is in the file, and what of it to mistrust."""
        counts = Counter(self.table["emotion"].to_pylist())
        total = self.table.num_rows
        rows = tuple((name, count, f"{count / total:.1%}") for name, count in counts.most_common())
        lacking = [f"{total - self.num_with[name]} have no {name}" for name in self.num_with if self.num_with[name] < total]
        notes = [f"of {total} rows {', '.join(lacking)}"] if lacking else []
        notes += [f"{self.num_prior} rows are the prior because nothing could be read"] if self.num_prior else []
        num_abstained = int(pc.sum(self.table["abstained"]).as_py() or 0)
        notes += [f"{num_abstained} rows are marked as abstained"] if num_abstained else []
        rows_noted = [row for row in self.table.select(["clip_id", "note"]).to_pylist() if row["note"]]
        num_trained = sum(TRAINED_ON in row["note"] for row in rows_noted)
        if num_trained:
            notes.append(
                f"{num_trained} of {total} rows are of clips that the models were trained on: scores of these are too good; "
                "the run's own predictions/ are of models that had not seen them"
            )
        failed = [(row["clip_id"], row["note"]) for row in rows_noted if row["note"] != TRAINED_ON]
        notes += [f"{clip_id}: {note}" for clip_id, note in failed[:MAX_SHOWN]]
        notes += [f"and {len(failed) - MAX_SHOWN} more, see the column note"] if len(failed) > MAX_SHOWN else []
        return [Table("Predictions", ("emotion", "rows", "share"), rows, (*notes, f"predictions: {self.out}"))]


def predict(config: PredictConfig) -> PredictSummary:
    """Predict every wanted clip; the features that a killed run has made are kept until its file is written.

    Raises:
        ConfigError, ManifestError, RunError, StoreError: bundle, clips and store do not fit, or cannot be read.
        ClusterError: the machines do not have what the config asks for.

    """
    bundle = load_bundle(config.bundle, config.device, config.allow_plugins)
    if config.format != "table":
        check_task(bundle.facts, config.format)
    names = None if config.candidates is None else read_candidates(config.candidates)
    wanted = _wanted(config, names)
    check_speakers(bundle, wanted)
    table = _predict_rows(config, bundle, wanted)
    if names is not None:
        table = complete(table, names, bundle.facts)
    write_predictions(table if config.format == "table" else to_submission(table, config.format), config.out)
    shutil.rmtree(work_folder(config.out), ignore_errors=True)
    read = {stream.modality for group in bundle.facts.groups for stream in group.streams}
    return PredictSummary(config.out, table, tuple(name for name in MODALITIES if name in read))


def _wanted(config: PredictConfig, names: list[str] | None) -> WantedClips:
    if config.manifest is None:
        wanted = clips_of_files(config.files, config.limits)
    else:
        wanted = clips_of_manifest(config.manifest, config.splits, names)
    return with_windows(wanted, config.window_s, config.hop_s)


def _predict_rows(config: PredictConfig, bundle: Bundle, wanted: WantedClips) -> pa.Table:
    if config.store is None and len(wanted.source_ids) <= config.max_in_process:
        refuse_absent_media(wanted, config.manifest or config.files[0])
        recogniser = Recogniser(bundle, config.weights, config.limits, config.allow_plugins)
        return recogniser.predict_clips(wanted, config.without, config.abstain_below)
    return predict_table(bundle, wanted, _extract_features(config, bundle, wanted), config.abstain_below)


def _extract_features(config: PredictConfig, bundle: Bundle, wanted: WantedClips) -> ClipFeatures:
    """On Ray where something is lacking; of the store only what the bundle reads."""
    if config.store is None:
        refuse_imported(bundle, config.without)
    encoders = bundle_encoders(bundle, config.weights, config.without, config.allow_plugins)
    records = {
        key: record
        for key, record in bundle.facts.encoders.items()
        if record.modality not in config.without and (key in encoders or is_imported(record))
    }
    return extract_features(config, work_folder(config.out), wanted, encoders, records, bundle.wanted)


def plan_prediction(config: PredictConfig) -> Table:
    """What a prediction would do, without encoding anything.

    Raises:
        ConfigError, ManifestError, RunError: as `predict`, as far as that is found without media.

    """
    bundle = load_bundle(config.bundle, "cpu", config.allow_plugins)
    rows = [
        ("bundle", f"{config.bundle}: {sum(len(group.members) for group in bundle.facts.groups)} models"),
        ("predicts", ", ".join(("emotion", *bundle.facts.values))),
        ("encoders", ", ".join(key for key, record in bundle.facts.encoders.items() if record.modality not in config.without)),
        ("out", str(config.out)),
    ]
    if config.manifest is None or config.manifest.is_file():
        names = None if config.candidates is None else read_candidates(config.candidates)
        wanted = _wanted(config, names)
        rows.insert(1, ("windows" if wanted.is_windowed else "clips", str(len(wanted.source_ids))))
    return Table("Prediction", ("what", "value"), tuple(rows))
