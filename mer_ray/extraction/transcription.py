"""The verb `transcribe`: sentences for the clips that have none, by Whisper on Ray; transcripts that a corpus ships win."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from mer_ray.core.artefacts import hardware, versions, write_json
from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import RunError
from mer_ray.core.manifest import Manifest, read_manifest, write_manifest
from mer_ray.core.media_types import Clip
from mer_ray.core.progress import track
from mer_ray.core.ray_session import ray_session
from mer_ray.core.table import Table
from mer_ray.decoders.limits import MediaLimits
from mer_ray.extraction.inputs import input_hash, source_path, stamp_files
from mer_ray.extraction.plan import UNKNOWN_DURATION_S
from mer_ray.extraction.transcription_model import WhisperConfig
from mer_ray.extraction.transcription_parts import TranscriptRow, read_rows
from mer_ray.extraction.transcription_worker import SOUND, TranscriptionShard
from mer_ray.store.layout import open_store
from mer_ray.store.publishing import check_writable, publish

# Enough shards for each actor that the slowest one finishes soon after the others.
SHARDS_PER_ACTOR = 12
MAX_SHOWN_FAILURES = 10
TRANSCRIPTS_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        ("language", pa.string()),
        ("confidence", pa.float32()),
        pa.field("source", pa.string(), nullable=False),
    ]
)


class TranscribeConfig(WhisperConfig):
    """Which manifest's clips get sentences from which Whisper.

    `out` is the new manifest (`<manifest stem>.transcribed.parquet` beside the old one by default); beside it lie
    `<out stem>.transcripts.parquet` (clip_id, text, language, confidence, source: corpus or whisper) and the folder
    `<out stem>.transcripts/` with what is done so far. Clips with a sentence are left as they are. `num_actors` None: one per GPU,
    or one per CPU core.
    """

    manifest: Path = where_or_how_fast()
    out: Path | None = where_or_how_fast(None)
    max_failure_rate: float = where_or_how_fast(0.05, ge=0.0, le=1.0)
    retry_failed: bool = where_or_how_fast(False)
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    num_actors: int | None = where_or_how_fast(None, ge=1)
    gpus_per_actor: float | None = where_or_how_fast(None, ge=0.0)
    shard_media_s: float = where_or_how_fast(600.0, gt=0.0)
    no_progress_timeout_s: int | None = where_or_how_fast(None, ge=1)
    summary: Path | None = where_or_how_fast(None)

    @model_validator(mode="after")
    def _out_is_new(self) -> Self:
        if self.new_manifest.absolute() == self.manifest.absolute():
            raise ValueError(f"out: {self.new_manifest} is the manifest that is read, which stays as it is; choose another name")
        return self

    @property
    def new_manifest(self) -> Path:
        """The manifest that is written."""
        return self.out or self.manifest.with_name(f"{self.manifest.stem}.transcribed.parquet")

    @property
    def parts_folder(self) -> Path:
        """Where finished shards lie."""
        return self.new_manifest.with_name(f"{self.new_manifest.stem}.transcripts")

    @property
    def transcripts_table(self) -> Path:
        """The table with confidences."""
        return self.new_manifest.with_name(f"{self.new_manifest.stem}.transcripts.parquet")


@dataclass(frozen=True)
class TranscriptionPlan:
    """The clips without a sentence, each with the hash of its input, what is known of them, and which of them are left to do."""

    manifest: Manifest
    model: str
    wanted: tuple[tuple[Clip, str], ...]
    known: dict[tuple[str, str], TranscriptRow]
    pending: tuple[tuple[Clip, str], ...]

    @property
    def media_s(self) -> float:
        """Seconds of media to transcribe."""
        return sum(_duration_s(clip) for clip, _ in self.pending)

    def table(self, config: TranscribeConfig) -> Table:
        """The plan as `--dry-run` shows it."""
        num_clips = self.manifest.table.num_rows
        row = (num_clips, num_clips - len(self.wanted), len(self.wanted) - len(self.pending), len(self.pending))
        note = f"{self.media_s / 3600:.2f} h of media to transcribe -> {config.new_manifest}"
        return Table("Transcription plan", ("clips", "with a transcript of the corpus", "done before", "left"), (row,), (note,))


@dataclass(frozen=True)
class TranscribeSummary:
    """Counts of clips: `num_corpus` had a transcript, `num_done` and `num_failed` are of this run, `num_before` of runs before.

    `num_standing` counts all failures of present inputs, `num_silent` the clips without sound.
    """

    out: str
    model: str
    num_clips: int
    num_corpus: int
    num_done: int
    num_failed: int
    num_before: int
    num_standing: int
    num_silent: int
    media_s: float
    wall_s: float
    mean_confidence: float | None
    failures: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """All fields with versions and hardware."""
        return {**asdict(self), "versions": versions(), "hardware": hardware()}

    def tables(self) -> list[Table]:
        """The summary as the command line shows it."""
        columns = ("clips", "of the corpus", "transcribed", "failed", "done before", "failed in all", "without sound")
        row = (self.num_clips, self.num_corpus, self.num_done, self.num_failed, self.num_before, self.num_standing, self.num_silent)
        notes = [f"{self.out} has the sentences"]
        if self.mean_confidence is not None:
            notes.append(f"mean confidence {self.mean_confidence:.2f} (probability of a token)")
        if self.num_done or self.num_failed:
            notes.append(f"{self.media_s / 60:.1f} min of media in {self.wall_s:.1f} s")
        tables = [Table("Transcription", columns, (row,), tuple(notes))]
        if self.failures:
            tables.append(Table("Failures", ("clip", "reason"), self.failures))
        return tables


def plan_transcription(config: TranscribeConfig) -> TranscriptionPlan:
    """Compare the manifest with what is done: a clip is left to do without a row of its present input by this very model.

    Raises:
        ManifestError: no manifest.
        EncoderError: no weights.

    """
    manifest = read_manifest(config.manifest)
    clips = [clip for clip in manifest.clips() if clip.text is None or not clip.text.strip()]
    stamps = stamp_files(path for clip in clips if (path := source_path(clip, SOUND)) is not None)
    wanted = tuple((clip, input_hash(clip, SOUND, stamps)) for clip in clips)
    model = config.identity()
    known = read_rows(config.parts_folder, model)
    pending = tuple(item for item in wanted if _is_left(known.get((item[0].clip_id, item[1])), config.retry_failed))
    return TranscriptionPlan(manifest, model, wanted, known, pending)


def transcribe(config: TranscribeConfig) -> TranscribeSummary:
    """Transcribe what is left, then write the manifest with all sentences.

    Raises:
        ClusterError: more actors are asked for than fit.
        RunError: more than `max_failure_rate` of the clips without a sentence have failed; what succeeded is kept, no manifest is
            written.

    """
    start_s = perf_counter()
    plan = plan_transcription(config)
    fresh: list[TranscriptRow] = []
    if plan.pending:
        check_writable(open_store(config.parts_folder))
        with ray_session():
            fresh = _run(plan, config)
    rows = read_rows(config.parts_folder, plan.model)
    standing = [row for clip, hash_ in plan.wanted if (row := rows.get((clip.clip_id, hash_))) is not None]
    summary = _summarise(plan, config, fresh, standing, perf_counter() - start_s)
    if config.summary is not None:
        write_json(config.summary, summary.to_json())
    if plan.wanted and summary.num_standing / len(plan.wanted) > config.max_failure_rate:
        rate = summary.num_standing / len(plan.wanted)
        raise RunError(
            f"{config.new_manifest}: {summary.num_standing} of {len(plan.wanted)} clips failed, {rate:.1%}, more than max_failure_rate "
            f"{config.max_failure_rate:.1%} allows; no manifest is written, transcripts are kept. First reason: "
            f"{': '.join(summary.failures[0])}. Mend the files and run again with --retry-failed, or set a higher max_failure_rate"
        )
    _write_results(plan.manifest, {row.clip_id: row for row in standing if row.text is not None}, config)
    return summary


def _run(plan: TranscriptionPlan, config: TranscribeConfig) -> list[TranscriptRow]:
    # Ray Data is loaded where it is used only.
    from mer_ray.extraction.ray_transcribe import count_actors, transcribe_shards

    num_actors, gpus_per_actor = count_actors(config.num_actors, config.gpus_per_actor)
    shards = cut_transcription_shards(plan.pending, min(config.shard_media_s, plan.media_s / (SHARDS_PER_ACTOR * num_actors)))
    whisper = WhisperConfig.model_validate({name: getattr(config, name) for name in WhisperConfig.model_fields})
    rows: list[TranscriptRow] = []
    with track("transcribe", len(plan.pending)) as bar:
        for written in transcribe_shards(
            shards, whisper, config.parts_folder, config.limits, num_actors, gpus_per_actor, config.no_progress_timeout_s
        ):
            rows += written
            bar.advance(len(written), f"{sum(row.is_failure for row in rows)} failed")
    return rows


def cut_transcription_shards(pending: Sequence[tuple[Clip, str]], budget_s: float) -> list[TranscriptionShard]:
    """Shards of at most `budget_s` seconds of media (a longer clip alone), longest clips first."""
    shards: list[list[tuple[Clip, str]]] = []
    used_s = 0.0
    for item in sorted(pending, key=lambda item: (-_duration_s(item[0]), item[0].clip_id)):
        duration_s = _duration_s(item[0])
        if not shards or used_s + duration_s > budget_s:
            shards.append([])
            used_s = 0.0
        shards[-1].append(item)
        used_s += duration_s
    return [TranscriptionShard(tuple(items)) for items in shards]


def _duration_s(clip: Clip) -> float:
    return UNKNOWN_DURATION_S if clip.duration_s is None else clip.duration_s


def _is_left(row: TranscriptRow | None, retry_failed: bool) -> bool:
    return row is None or (row.is_failure and retry_failed)


def _summarise(
    plan: TranscriptionPlan, config: TranscribeConfig, fresh: Sequence[TranscriptRow], standing: Sequence[TranscriptRow], wall_s: float
) -> TranscribeSummary:
    failures = [row for row in standing if row.is_failure]
    confidences = [row.confidence for row in standing if row.confidence is not None]
    return TranscribeSummary(
        out=str(config.new_manifest),
        model=plan.model,
        num_clips=plan.manifest.table.num_rows,
        num_corpus=plan.manifest.table.num_rows - len(plan.wanted),
        num_done=sum(row.text is not None for row in fresh),
        num_failed=sum(row.is_failure for row in fresh),
        num_before=len(plan.wanted) - len(plan.pending),
        num_standing=len(failures),
        num_silent=sum(row.text is None and not row.is_failure for row in standing),
        media_s=plan.media_s,
        wall_s=wall_s,
        mean_confidence=sum(confidences) / len(confidences) if confidences else None,
        failures=tuple((row.clip_id, row.message or "") for row in failures[:MAX_SHOWN_FAILURES]),
    )


def _write_results(manifest: Manifest, rows: dict[str, TranscriptRow], config: TranscribeConfig) -> None:
    """The table with confidences first: the manifest is what a job's next step waits for."""
    ids = manifest.table["clip_id"].to_pylist()
    texts, languages = manifest.table["text"].to_pylist(), manifest.table["language"].to_pylist()
    transcripts = []
    for number, clip_id in enumerate(ids):
        row = rows.get(clip_id)
        if row is not None:
            texts[number], languages[number] = row.text, languages[number] or row.language
            transcripts.append(
                {"clip_id": clip_id, "text": row.text, "language": row.language, "confidence": row.confidence, "source": "whisper"}
            )
        elif texts[number] is not None:
            transcripts.append({"clip_id": clip_id, "text": texts[number], "language": languages[number], "source": "corpus"})
    with publish(open_store(config.transcripts_table.parent), str(config.transcripts_table.absolute())) as temporary:
        pq.write_table(pa.Table.from_pylist(transcripts, schema=TRANSCRIPTS_SCHEMA), temporary)
    table = manifest.table
    for name, values in (("text", texts), ("language", languages)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    write_manifest(Manifest(table, manifest.facts), config.new_manifest)
