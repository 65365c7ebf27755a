"""`mer-ray import`: a folder that MERTools has processed becomes manifest and store, ready to train on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from mer_ray.core.config import Config, Place, nearest, where_or_how_fast
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.core.progress import track
from mer_ray.core.table import Table
from mer_ray.corpora.folds import FoldsConfig, StratifiedFoldsConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.mertools_features import FeatureFolder, list_feature_folders
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.mertools_folder import FolderSummary, describe_folder, import_folder
from mer_ray.store.layout import open_store
from mer_ray.store.publishing import check_writable
from mer_ray.store.record import StoredType

MAX_PRINTED_FAILURES = 10


class ImportConfig(Config):
    """Which MERTools folder becomes which manifest and store.

    `features`: the folders to read, by name, default all below `features/`. `modalities`: what a folder's model reads, needed for
    models that MERTools does not know. `dtype`: of stored values. `folds`: of the manifest, null for none. `keep_going`: as of the
    manifest. `max_failure_rate`: share of the files that may be broken. `retry_failed`: read files again that failed before.
    """

    source: MertoolsCorpusConfig
    manifest: Path = where_or_how_fast()
    store: Place = where_or_how_fast()
    features: tuple[str, ...] | None = Field(None, min_length=1)
    modalities: dict[str, Modality] = Field(default_factory=dict)
    dtype: StoredType = "float16"
    folds: FoldsConfig | None = StratifiedFoldsConfig(splits=("train",))
    keep_going: bool = False
    max_failure_rate: float = where_or_how_fast(0.05, ge=0.0, le=1.0)
    retry_failed: bool = where_or_how_fast(False)
    num_threads: int = where_or_how_fast(16, ge=1)

    @model_validator(mode="after")
    def _manifest_is_valid(self) -> Self:
        self.manifest_config()
        return self

    def manifest_config(self) -> ManifestConfig:
        """What `mer-ray manifest` is told."""
        return ManifestConfig(
            corpus=self.source, out=self.manifest, folds=self.folds, keep_going=self.keep_going, num_probe_threads=self.num_threads
        )


@dataclass
class ImportSummary:
    """Tables of the manifest, what became of each folder, and the splits whose labels are placeholders."""

    config: ImportConfig
    manifest_tables: list[Table]
    unlabelled_splits: tuple[str, ...]
    folders: list[FolderSummary] = field(default_factory=list)

    def tables(self) -> list[Table]:
        """What the command line prints."""
        columns = ("encoder", "modality", "layer", "dim", "done", "failed", "no file", "done before")
        rows = []
        for folder in self.folders:
            ((layer, dim),) = folder.record.layers.items()
            rows.append((folder.record.name, folder.record.modality, layer, dim, folder.done, folder.failed, folder.absent, folder.skipped))
        notes = [f"split {split}: every clip is neutral without valence, a placeholder: unlabelled" for split in self.unlabelled_splits]
        notes += [
            f"{each.record.name}: {each.zero} files hold only zeros, as MERTools writes where it finds nothing"
            for each in self.folders
            if each.zero
        ]
        notes.append(f"a first score: {self._train_command()}")
        tables = [*self.manifest_tables, Table("Imported features", columns, tuple(rows), tuple(notes))]
        failures = [(folder.record.name, *failure) for folder in self.folders for failure in folder.failures][:MAX_PRINTED_FAILURES]
        if failures:
            more = sum(folder.failed for folder in self.folders) - len(failures)
            failure_notes = (f"and {more} more: all are in the store's failures",) if more else ()
            tables.append(Table("Failures", ("encoder", "clip", "reason"), tuple(failures), failure_notes))
        return tables

    def _train_command(self) -> str:
        """A short training on all that was imported."""
        # The deviation of one vector is 0 and would only double the input.
        inputs = [
            f"{{encoder: {folder.record.name}{'' if folder.record.sequences else ', statistics: [mean]'}}}" for folder in self.folders
        ]
        where = f"manifest={self.config.manifest} store={self.config.store} out={self.config.manifest.parent / 'run'}"
        return f"mer-ray train {where} 'inputs=[{', '.join(inputs)}]' epochs=10"


def import_mertools(config: ImportConfig) -> ImportSummary:
    """Make the manifest, then read every feature file that the store lacks; a broken or missing file is a failure row.

    Raises:
        ConfigError: a folder that is not there, or one whose modality is not known.
        ManifestError: labels or transcripts cannot be read or have faults, or a folder holds no readable file.
        RunError: more than `max_failure_rate` of the files are broken; all that could be read is in the store.

    """
    corpus = config.source.build()
    corpus.scan()
    folders = choose_folders(config)
    store = open_store(config.store)
    check_writable(store)
    summary = ImportSummary(config, build_manifest(config.manifest_config()).tables(), corpus.unlabelled_splits)
    manifest = read_manifest(config.manifest)
    planned = [(folder, describe_folder(folder, modality, config.dtype)) for folder, modality in folders]
    with track("import", len(planned) * manifest.table.num_rows, "files") as bar:
        for folder, record in planned:
            summary.folders.append(import_folder(store, manifest, folder, record, config.num_threads, config.retry_failed, bar))
    num_broken = sum(folder.standing for folder in summary.folders)
    num_files = len(planned) * manifest.table.num_rows
    if num_broken > config.max_failure_rate * num_files:
        raise RunError(
            f"{config.store}: {num_broken} of {num_files} feature files are broken, more than max_failure_rate "
            f"{config.max_failure_rate:.1%} allows; the rest is stored. {_first_reason(summary)}Mend the files and run again with "
            "retry_failed=true, or set a higher max_failure_rate"
        )
    return summary


def choose_folders(config: ImportConfig) -> list[tuple[FeatureFolder, Modality]]:
    """The folders to read, each with its modality.

    Raises:
        ConfigError: a name that is no folder, or folders of unknown modality.
        ManifestError: there are no folders at all.

    """
    found = {folder.name: folder for folder in list_feature_folders(Path(config.source.path))}
    for key, names in (("features", config.features or ()), ("modalities", config.modalities)):
        for name in names:
            if name not in found:
                raise ConfigError(f"{key}: no folder {name!r} in {config.source.path}/features{nearest(name, list(found))}")
    chosen: list[tuple[FeatureFolder, Modality]] = []
    unknown = []
    for name in config.features or found:
        modality = config.modalities.get(name) or found[name].modality()
        if modality is None:
            unknown.append(name)
        else:
            chosen.append((found[name], modality))
    if unknown:
        example = ", ".join(f"{name}: {MODALITIES[0]}" for name in unknown)
        raise ConfigError(
            f"modalities: MERTools has no model of the names {', '.join(unknown)}; say what they read: 'modalities={{{example}}}' "
            f"(allowed: {', '.join(MODALITIES)}), or name the folders to import: 'features=[...]'"
        )
    return chosen


def _first_reason(summary: ImportSummary) -> str:
    reasons = [reason for folder in summary.folders for _, reason in folder.failures]
    return f"First reason: {reasons[0]}. " if reasons else ""
