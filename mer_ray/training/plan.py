"""What a training would do, found without training, features or Ray."""

import math
from pathlib import Path

from mer_ray.batching import StreamConfig, build_streams
from mer_ray.core.counting import say_count
from mer_ray.core.errors import RunError
from mer_ray.core.manifest import Manifest, read_manifest
from mer_ray.core.plugins import shown_name
from mer_ray.core.table import Table
from mer_ray.store.catalog import list_encoders, resolve_encoder
from mer_ray.store.layout import open_store
from mer_ray.training.config import FoldsProtocol, TrainConfig
from mer_ray.training.encoder_features import features_of_no_clip, wanted_layers
from mer_ray.training.run_folder import RunFolder


def plan_training(config: TrainConfig) -> Table:
    """The parts of a run and how many models it trains; what manifest and store say is counted and checked where they exist already.

    Raises:
        ConfigError: inputs that the store's encoders or the model do not take.
        ManifestError, StoreError: the manifest or the store cannot be read, or it lacks an encoder.
        RunError: `out` holds another run.

    """
    RunFolder(config.out).refuse_other(config)
    manifest = read_manifest(config.manifest) if config.manifest.is_file() else None
    if manifest is not None:
        _check_streams(config, manifest.facts.corpus)
    num_folds = _num_folds(config, manifest)
    low, high = config.worker_range
    rows = [
        ("inputs", ", ".join(f"{stream.encoder} ({_layers(stream)})" for stream in config.inputs)),
        ("model", shown_name(config.model)),
        ("predicts", ", ".join(["emotion", *config.values])),
        ("protocol", config.protocol.label),
        ("normalisation", config.normalise),
        ("models to train", _num_fits(config, num_folds)),
        ("epochs each", f"up to {config.epochs}" if config.early_stopping else str(config.epochs)),
        ("workers of a fit", str(config.num_workers) if low == high else f"{low} to {high}"),
        ("fits at once", "all, as one computation" if config.vectorised else str(config.num_parallel_fits)),
        ("out", str(config.out)),
    ]
    return Table("Training", ("what", "value"), tuple(rows))


def state_of_training(config: TrainConfig) -> str:
    """What a dry run of a job says of its training; data are compared by the times of their files."""
    folder = RunFolder(config.out)
    try:
        folder.refuse_other(config)
    except RunError as error:
        return f"would stop: {error}"
    is_same = folder.differing_keys(config) == []
    if folder.is_complete and is_same and _newest_change(config) <= folder.scores_path.stat().st_mtime:
        return "finished, unless its data change"
    return "does what is left"


def _newest_change(config: TrainConfig) -> float:
    """When the last file of manifest and store was written; infinite where that is not told by local files."""
    store = Path(config.store)
    if not config.manifest.is_file() or not store.is_dir():
        return math.inf
    return max(file.stat().st_mtime for file in (config.manifest, *store.rglob("*")) if file.is_file())


def _layers(stream: StreamConfig) -> str:
    listed = "all layers" if stream.layers == "all" else f"layers {', '.join(map(str, stream.layers))}"
    listed = f"frames of {listed}" if stream.frames else listed
    degraded = [one.describe() for one in stream.augment]
    return f"{listed}; in training clean or with {', or with '.join(degraded)}" if degraded else listed


def _check_streams(config: TrainConfig, corpus: str) -> None:
    """Refuse inputs that the model does not take, as far as the records in the store tell."""
    store = open_store(config.store)
    if not list_encoders(store, corpus):
        return
    records = [resolve_encoder(store, corpus, stream.encoder) for stream in config.inputs]
    features = [features_of_no_clip(record, wanted_layers(stream, record)) for stream, record in zip(config.inputs, records, strict=True)]
    specs = [stream.spec for stream in build_streams(config.inputs, features)]
    for one in [config.candidate(number) for number in range(len(config.candidates))] or [config]:
        one.model.check_streams(specs)


def _num_folds(config: TrainConfig, manifest: Manifest | None) -> int | None:
    """The folds of the manifest, 1 for splits; None where there is no manifest yet."""
    if not isinstance(config.protocol, FoldsProtocol):
        return 1
    if config.protocol.test_folds is not None:
        return len(config.protocol.test_folds)
    if manifest is None:
        return None
    return len(set(manifest.table["fold"].to_pylist()) - {None})


def _num_fits(config: TrainConfig, num_folds: int | None) -> str:
    num_seeds, num_candidates = len(config.seeds), len(config.candidates)
    if num_folds is None:
        return f"{num_seeds} for each fold of the manifest, which is not there yet"
    text = f"{num_folds * num_seeds} ({num_folds} folds, {say_count(num_seeds, 'seed')})" if num_folds > 1 else f"{num_seeds} (a seed each)"
    if not num_candidates:
        return text
    num_inner = num_folds * (num_folds - 1) if num_folds > 1 else 1
    return f"{text}, and {num_inner * num_candidates} to choose between {num_candidates} candidates"
