"""`mer-ray manifest`: scan a corpus, probe its files, validate all rows, fold, write one Parquet table."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import ManifestError, MediaError
from mer_ray.core.manifest import MANIFEST_SCHEMA, MEDIA_COLUMNS, PATH_COLUMNS, Manifest, ManifestFacts, resolve_path, write_manifest
from mer_ray.core.plugins import PluginHost
from mer_ray.core.progress import track
from mer_ray.corpora import AnyCorpus, Scan, ValueRanges
from mer_ray.corpora.corrections import apply_corrections
from mer_ray.corpora.duplicates import find_repeats, number_media
from mer_ray.corpora.faults import Fault, faults_error, in_source_order, write_faults
from mer_ray.corpora.folds import FoldsConfig, assign_folds
from mer_ray.corpora.label_maps import LabelMapConfig, change_labels
from mer_ray.corpora.stored_files import FileFault, find_files, group_by_content
from mer_ray.corpora.validation import check_media, check_rows
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import MediaFacts, probe_media
from mer_ray.extraction.manifest_summary import ManifestSummary, summarise_manifest


def _as_list(files: Any) -> Any:
    return [files] if isinstance(files, (str, Path)) else files


class ManifestConfig(PluginHost):
    """Which corpus becomes which manifest.

    `label_map` and `values_to`: emotions onto other classes, values onto other ranges. `corrections`: one or more CSV files that the
    error page of a report saved, applied in turn to the labels after the map.
    `folds`: fill the column `fold` of labelled clips. `keep_going`: with faults, write the good rows and the bad ones' table
    `<out stem>.faults.csv` instead of nothing. `limits`: of the decoders, as far as headers show them.
    """

    corpus: AnyCorpus
    out: Path = where_or_how_fast()
    label_map: LabelMapConfig | None = None
    values_to: ValueRanges = Field(default_factory=dict)
    corrections: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = where_or_how_fast(())
    folds: FoldsConfig | None = None
    keep_going: bool = False
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    num_probe_threads: int = where_or_how_fast(16, ge=1)

    @property
    def faults_out(self) -> Path:
        """Where `keep_going` writes the table of the bad rows."""
        return self.out.with_name(f"{self.out.stem}.faults.csv")

    @model_validator(mode="after")
    def _out_is_new(self) -> Self:
        read: dict[str, tuple[str | Path, ...]] = {
            "the corpus's own table": self.corpus.places(),
            "a file of corrections": self.corrections,
        }
        for what, places in read.items():
            if any(Path(place).absolute() == self.out.absolute() for place in places):
                raise ValueError(f"out: {self.out} is {what}, which would be lost; choose another name")
        return self


def build_manifest(config: ManifestConfig) -> ManifestSummary:
    """Build and write a manifest; durations and sizes come from the files' headers.

    Raises:
        ConfigError: the label map or the ranges do not fit the corpus.
        ManifestError: the corpus cannot be read, or has faults and `keep_going` is off, or has faults of the whole table, or no
            good row, or its corrections have faults; nothing is written and an older manifest stays.

    """
    scan, facts = _read_corpus(config)
    faults = list(scan.faults)
    sizes, more = _find(scan, facts, faults)
    faults += more
    media, more = _probe(scan, facts, sizes, config)
    faults += [*more, *check_media(scan, media)]
    contents = group_by_content({path: header.num_bytes for path, header in media.items()}, facts.root, config.num_probe_threads)
    more, repeats = find_repeats(scan, contents)
    faults = in_source_order([*faults, *more])
    good = _good_rows(scan, faults, config)
    table = _measured(scan.table, sizes, media).take(pa.array(good))
    repeats = [repeats[index] for index in good]
    if config.folds is not None:
        media_numbers = number_media(scan, contents)
        table = assign_folds(table, config.folds, [media_numbers[index] for index in good])
    manifest = Manifest(table.cast(MANIFEST_SCHEMA), _facts_with_folds(facts, table, config))
    _write(manifest, faults, config)
    return summarise_manifest(
        manifest,
        str(config.out),
        media,
        num_repeated=len(repeats) - len(set(repeats)),
        num_faults=len(faults),
        faults_out=str(config.faults_out) if faults else None,
        notes=scan.notes,
    )


def _read_corpus(config: ManifestConfig) -> tuple[Scan, ManifestFacts]:
    """The rows with their faults, and with the labels that the config wants."""
    corpus = config.corpus.build()
    scan, facts = corpus.scan(), corpus.facts()
    scan = replace(scan, faults=[*scan.faults, *check_rows(scan, facts)])
    scan, facts = change_labels(scan, facts, config.label_map, config.values_to)
    return apply_corrections(scan, facts, config.corrections)


def _find(scan: Scan, facts: ManifestFacts, faults: Sequence[Fault]) -> tuple[dict[str, int], list[Fault]]:
    """Sizes of all files; paths that a fault names are not touched, so nothing outside the root is opened."""
    refused = {(fault.row, fault.column) for fault in faults}
    rows_of: dict[str, list[tuple[int, str]]] = {}
    for name in PATH_COLUMNS:
        for index, path in enumerate(scan.table[name].to_pylist()):
            if path is not None and (scan.row_numbers[index], name) not in refused:
                rows_of.setdefault(path, []).append((index, name))
    found = find_files(rows_of, facts.root)
    if len(found) > 1 and all(isinstance(result, FileFault) and result.is_missing for result in found.values()):
        raise ManifestError(
            f"{facts.root}: none of the {len(found)} files is there, e.g. {next(iter(found))!r}; correct the paths, or mount their place; "
            "of a table, corpus.root is the folder that its paths are relative to"
        )
    more = [
        scan.fault(index, name, f"{path!r} {result.what}", result.allowed)
        for path, result in found.items()
        if isinstance(result, FileFault)
        for index, name in rows_of[path]
    ]
    return {path: size for path, size in found.items() if not isinstance(size, FileFault)}, more


def _probe(scan: Scan, facts: ManifestFacts, sizes: Mapping[str, int], config: ManifestConfig) -> tuple[dict[str, MediaFacts], list[Fault]]:
    """Headers of the media files that are there; those that are no media are faults of their rows."""
    places: dict[str, list[tuple[int, str]]] = {}
    for name in MEDIA_COLUMNS:
        for index, path in enumerate(scan.table[name].to_pylist()):
            if path in sizes:
                places.setdefault(path, []).append((index, name))

    def probe(path: str) -> MediaFacts | MediaError:
        try:
            return probe_media(resolve_path(facts.root, path), config.limits)
        except MediaError as error:
            return error

    media: dict[str, MediaFacts] = {}
    faults = []
    with track("probe", len(places), "files") as bar, ThreadPoolExecutor(config.num_probe_threads) as pool:
        for path, result in zip(places, pool.map(probe, places), strict=True):
            bar.advance()
            if isinstance(result, MediaFacts):
                media[path] = result
            else:
                faults += [scan.fault(index, name, str(result), "a media file that can be decoded") for index, name in places[path]]
    return media, faults


def _good_rows(scan: Scan, faults: Sequence[Fault], config: ManifestConfig) -> list[int]:
    where = ", ".join(config.corpus.places())
    if faults and not config.keep_going:
        raise faults_error(where, faults, "nothing was written; correct them, or leave their rows out with --keep-going (keep_going: true)")
    if any(fault.row is None for fault in faults):
        raise faults_error(where, [fault for fault in faults if fault.row is None], "of the whole corpus, so --keep-going cannot go on")
    bad = {fault.row for fault in faults}
    good = [index for index, number in enumerate(scan.row_numbers) if number not in bad]
    if not good:
        raise faults_error(where, faults, "no row is left to write")
    return good


def _measured(table: pa.Table, sizes: Mapping[str, int], media: Mapping[str, MediaFacts]) -> pa.Table:
    """Fill `duration_s` (of the segment) and `num_bytes` (of all of the clip's files)."""
    durations: list[float | None] = []
    num_bytes: list[int | None] = []
    for row in table.select([*PATH_COLUMNS, "start_s", "end_s"]).to_pylist():
        headers = [media[row[name]] for name in MEDIA_COLUMNS if row[name] in media]
        whole_s = max((header.duration_s for header in headers), default=None)
        if row["end_s"] is not None:
            durations.append(row["end_s"] - (row["start_s"] or 0.0))
        else:
            durations.append(None if whole_s is None else whole_s - (row["start_s"] or 0.0))
        files = {row[name] for name in PATH_COLUMNS if row[name] in sizes}
        num_bytes.append(sum(sizes[path] for path in files) if files else None)
    for name, values in (("duration_s", durations), ("num_bytes", num_bytes)):
        field = MANIFEST_SCHEMA.field(name)
        table = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    return table


def _facts_with_folds(facts: ManifestFacts, table: pa.Table, config: ManifestConfig) -> ManifestFacts:
    if config.folds is not None:
        return replace(facts, folds=config.folds.describe())
    return replace(facts, folds="as given by the corpus") if table["fold"].null_count < table.num_rows else facts


def _write(manifest: Manifest, faults: Sequence[Fault], config: ManifestConfig) -> None:
    config.out.parent.mkdir(parents=True, exist_ok=True)
    if faults:
        write_faults(faults, config.faults_out)
    else:
        config.faults_out.unlink(missing_ok=True)  # of an earlier try
    write_manifest(manifest, config.out)
