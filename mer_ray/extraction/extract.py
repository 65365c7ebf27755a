"""The verb `extract`: plan what is left, run it on Ray, say what became of it."""

from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from mer_ray.core.artefacts import hardware, versions, write_json
from mer_ray.core.errors import RunError
from mer_ray.core.progress import Bar, track
from mer_ray.core.ray_session import ray_session
from mer_ray.core.table import Table
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.plan import ExtractionPlan, cut_shards, plan_extraction
from mer_ray.extraction.ray_pipeline import choose_layout, run_shards
from mer_ray.extraction.shard_encoder import ShardReport
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.publishing import check_writable

MAX_SHOWN_FAILURES = 100
MAX_PRINTED_FAILURES = 10


@dataclass
class ExtractSummary:
    """Counts of clips per encoder key, and where the time went.

    `done` and `failed` are of this run, `skipped` of runs before, `standing` all failures of present inputs.
    `work_s` runs from the first shard's start to the last shard's end; the stage times are summed over all workers.
    """

    done: dict[str, int]
    failed: dict[str, int]
    skipped: dict[str, int]
    standing: dict[str, int] = field(default_factory=dict)
    num_wanted: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    num_clips: int = 0
    media_s: float = 0.0
    num_shards: int = 0
    num_actors: int = 0
    wall_s: float = 0.0
    work_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    write_s: float = 0.0

    @property
    def failure_rate(self) -> float:
        """(clip, encoder) pairs whose present input has failed, now or before, over all that the manifest wants."""
        return sum(self.standing.values()) / self.num_wanted if self.num_wanted else 0.0

    def add(self, report: ShardReport) -> None:
        """Count one shard."""
        self.num_clips += report.num_clips
        self.media_s += report.media_s
        for key in report.done:
            self.done[key] += report.done[key]
        for failure in report.failures:
            self.failed[failure[0]] += 1
        # The store has all of them; the summary shows enough to see what is wrong, and stays small for a million clips.
        self.failures = (self.failures + report.failures)[:MAX_SHOWN_FAILURES]
        self.decode_s += report.decode_s
        self.encode_s += report.encode_s
        self.write_s += report.write_s

    def to_json(self) -> dict[str, Any]:
        """All fields with versions and hardware."""
        return {**asdict(self), "failure_rate": self.failure_rate, "versions": versions(), "hardware": hardware()}

    def tables(self) -> list[Table]:
        """The summary as the command line shows it."""
        columns = ("encoder", "done", "failed", "done before", "failed in all")
        rows = tuple((key, self.done[key], self.failed[key], self.skipped[key], self.standing[key]) for key in self.done)
        if not self.num_clips:
            return [Table("Extraction", columns, rows, ("Nothing was left to do.",))]
        rates = f"{self.num_clips / self.wall_s:.1f} clips/s, {self.media_s / self.wall_s:.0f} h of media per hour"
        notes = (
            f"{self.num_clips} clips, {self.media_s / 60:.1f} min of media in {self.wall_s:.1f} s: {rates}",
            f"seconds over {self.num_actors} workers: decode {self.decode_s:.1f}, encode {self.encode_s:.1f}, write {self.write_s:.1f}",
        )
        tables = [Table("Extraction", columns, rows, notes)]
        if self.failures:
            more = sum(self.failed.values()) - min(len(self.failures), MAX_PRINTED_FAILURES)
            failure_notes = (f"and {more} more: all are in the store's failures and in the report",) if more else ()
            tables.append(Table("Failures", ("encoder", "clip", "reason"), tuple(self.failures[:MAX_PRINTED_FAILURES]), failure_notes))
        return tables


def extract(config: ExtractConfig) -> ExtractSummary:
    """Encode every clip that the store lacks; a clip that cannot be decoded or encoded is a row of the failures table.

    Raises:
        RunError: more than `max_failure_rate` of all (clip, encoder) pairs have failed; all that succeeded is in the store.

    """
    start_s = perf_counter()
    plan = plan_extraction(config)
    summary = ExtractSummary(dict.fromkeys(plan.keys, 0), dict.fromkeys(plan.keys, 0), plan.skipped)
    if plan.pending:
        check_writable(open_store(config.store))
        with ray_session():
            _run(plan, config, summary)
    reasons = _count_failures(plan, config, summary)
    summary.wall_s = perf_counter() - start_s
    if config.summary is not None:
        write_json(config.summary, summary.to_json())
    if summary.failure_rate > config.max_failure_rate:
        raise RunError(
            f"{config.store}: {sum(summary.standing.values())} of {summary.num_wanted} (clip, encoder) pairs failed, "
            f"{summary.failure_rate:.1%}, more than max_failure_rate {config.max_failure_rate:.1%} allows; the rest is stored. "
            f"First reason: {reasons[0]}. Mend the files and run again with --retry-failed, or set a higher max_failure_rate"
        )
    return summary


def _count_failures(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary) -> list[str]:
    """Fill in the standing failures; give the first reason of each encoder that has some."""
    store, reasons = open_store(config.store), []
    for key, wanted in plan.wanted.items():
        failures = read_failures(store, plan.manifest.facts.corpus, key, wanted)
        summary.standing[key] = failures.num_rows
        summary.num_wanted += wanted.num_rows
        reasons += [f"{row['clip_id']}: {row['message']}" for row in failures.slice(0, 1).to_pylist()]
    return reasons


def _run(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary) -> None:
    layout = choose_layout(config)
    shards = cut_shards(plan, config, layout.num_actors)
    summary.num_shards, summary.num_actors = len(shards), layout.num_actors
    first_at, last_at = float("inf"), 0.0
    with track("extract", len(plan.pending)) as bar:
        start_s = perf_counter()
        for report in run_shards(shards, plan, config, layout):
            summary.add(report)
            first_at, last_at = min(first_at, report.started_at), max(last_at, report.ended_at)
            _show(bar, report, summary, perf_counter() - start_s)
    summary.work_s = last_at - first_at


def _show(bar: Bar, report: ShardReport, summary: ExtractSummary, elapsed_s: float) -> None:
    failures = sum(summary.failed.values())
    bar.advance(
        report.num_clips, f"{summary.num_clips / elapsed_s:.1f} clips/s, {summary.media_s / elapsed_s:.0f} media-h/h, {failures} failed"
    )
