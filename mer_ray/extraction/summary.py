"""What an extraction did: counts, time by stage, and which stage limited it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mer_ray.core.artefacts import hardware, versions
from mer_ray.core.counting import say_count
from mer_ray.core.table import Table
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shard_report import STAGES, ShardReport, Stage
from mer_ray.store.encoder_cost import EncoderCost

MAX_SHOWN_FAILURES = 100
MAX_PRINTED_FAILURES = 10


@dataclass
class ExtractSummary:
    """Counts of clips per encoder key, and where the time went.

    `done` and `failed` are of this run, `lacking` those of `done` whose clip lacks the modality or any face, `silent` those that got
    no noise because they are silent, `skipped` of runs before, `standing` all failures of present inputs; `degraded` says what the
    media of a key suffered. `work_s` runs from the first shard's start to the last shard's end of each pass; `seconds` of the stages
    are summed over all workers, `capacity_s` is what they could have worked; `encode_s` are those of the stage `encode` by key.
    """

    done: dict[str, int]
    failed: dict[str, int]
    skipped: dict[str, int]
    standing: dict[str, int] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, str] = field(default_factory=dict)
    num_wanted: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    num_clips: int = 0
    num_left: int = 0
    media_s: float = 0.0
    passes: list[list[str]] = field(default_factory=list)
    num_shards: int = 0
    num_actors: int = 0
    num_decode_tasks: int = 0
    num_gpus: float = 0.0
    gpu_s: float = 0.0
    usd: float | None = None
    real_units: int = 0
    padded_units: int = 0
    wall_s: float = 0.0
    work_s: float = 0.0
    seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    encode_s: dict[str, float] = field(default_factory=dict)
    capacity_s: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @property
    def failure_rate(self) -> float:
        """(clip, encoder) pairs whose present input has failed, now or before, over all that the manifest wants."""
        return sum(self.standing.values()) / self.num_wanted if self.num_wanted else 0.0

    @property
    def busy(self) -> dict[Stage, float]:
        """The share of its workers' time that each stage was at work."""
        return {stage: self.seconds[stage] / self.capacity_s[stage] for stage in STAGES if self.capacity_s[stage] > 0}

    @property
    def limited_by(self) -> Stage | None:
        """The busiest stage: more workers for it, or a faster one, would have shortened the run."""
        return max(self.busy, key=lambda stage: self.busy[stage], default=None)

    def add(self, report: ShardReport) -> None:
        """Count one shard."""
        if report.is_left:
            self.num_left += report.num_clips
            return
        self.num_clips += report.num_clips
        self.media_s += report.media_s
        for key in report.done:
            self.done[key] += report.done[key]
            self.failed[key] += report.failed[key]
            self.lacking[key] = self.lacking.get(key, 0) + report.lacking[key]
            self.encode_s[key] = self.encode_s.get(key, 0.0) + report.encode_s[key]
        for key, num_silent in report.silent.items():
            self.silent[key] = self.silent.get(key, 0) + num_silent
        # The store has all of them; the summary shows enough to see what is wrong, and stays small for a million clips.
        self.failures = (self.failures + report.failures)[:MAX_SHOWN_FAILURES]
        self.real_units += report.real_units
        self.padded_units += report.padded_units
        for stage, seconds in report.seconds.items():
            self.seconds[stage] += seconds

    def leave(self, plan: ExtractionPlan, keys: Sequence[str]) -> None:
        """Count a pass that the budget does not reach."""
        lacking_N = np.logical_or.reduce([plan.lacks[key] for key in keys])
        self.num_left = max(self.num_left, int(lacking_N.sum()))

    def count_money(self, gpu_s: float, price_per_gpu_hour: float | None) -> None:
        """What the GPUs cost so far; `gpu_s` are the seconds that they were there, summed over GPUs."""
        self.gpu_s = gpu_s
        self.usd = None if price_per_gpu_hour is None else self.gpu_s / 3600 * price_per_gpu_hour

    def add_pass(self, work_s: float, layout: Layout) -> None:
        """Count the time of one pass."""
        self.work_s += work_s
        for stage in STAGES:
            decodes = layout.num_decode_tasks and stage in ("fetch", "decode")
            self.capacity_s[stage] += work_s * (layout.num_decode_tasks if decodes else layout.num_actors)

    def cost_of(self, key: str, layout: Layout) -> EncoderCost | None:
        """What an encoder took of the device that the layout gives to an actor; None where it computed nothing."""
        num_clips = self.done[key] - self.lacking.get(key, 0)
        if not num_clips:
            return None
        share = layout.gpus_per_actor or layout.threads_per_actor
        return EncoderCost(device=layout.device, num_clips=num_clips, device_s=self.encode_s[key] * share)

    def to_json(self) -> dict[str, Any]:
        """All fields with versions and hardware."""
        more = {"failure_rate": self.failure_rate, "busy": self.busy, "limited_by": self.limited_by}
        return {**asdict(self), **more, "versions": versions(), "hardware": hardware()}

    def tables(self) -> list[Table]:
        """The summary as the command line shows it."""
        columns = ("encoder", "done", "of these without data", "failed", "done before", "failed in all")
        rows = tuple(
            (key, self.done[key], self.lacking.get(key, 0), self.failed[key], self.skipped[key], self.standing[key]) for key in self.done
        )
        degraded = tuple(f"{key}: {what}" for key, what in self.degraded.items())
        if not self.num_clips:
            return [Table("Extraction", columns, rows, (*degraded, "Nothing was left to do."))]
        tables = [Table("Extraction", columns, rows, (*degraded, *self._notes()))]
        if self.failures:
            more = sum(self.failed.values()) - min(len(self.failures), MAX_PRINTED_FAILURES)
            failure_notes = (f"and {more} more: all are in the store's failures and in the report",) if more else ()
            tables.append(Table("Failures", ("encoder", "clip", "reason"), tuple(self.failures[:MAX_PRINTED_FAILURES]), failure_notes))
        return tables

    def _notes(self) -> tuple[str, ...]:
        rates = f"{self.num_clips / self.wall_s:.1f} clips/s, {self.media_s / self.wall_s:.0f} h of media per hour"
        notes = [f"{self.num_clips} clips, {self.media_s / 60:.1f} min of media in {self.wall_s:.1f} s: {rates}"]
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in self.busy.items() if self.seconds[stage] > 0)
        workers = f"{self.num_actors} actors" + (f", {self.num_decode_tasks} decode tasks" if self.num_decode_tasks else "")
        notes.append(f"busy shares of {workers}: {shares}; limited by {self.limited_by}")
        if self.real_units:
            notes.append(f"padding: {self.padded_units / self.real_units - 1:.1%} of what the networks saw")
        for key, num_silent in self.silent.items():
            if num_silent:
                notes.append(f"{key}: {say_count(num_silent, 'silent clip')} got no noise: there is no ratio to silence")
        if self.usd is not None:
            notes.append(f"{self.gpu_s / 3600:.2f} GPU-hours, {self.usd:.2f} USD")
        return tuple(notes)
