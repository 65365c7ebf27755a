"""The passes of an extraction on Ray, and what became of each shard."""

import time
from dataclasses import dataclass
from time import perf_counter

from mer_ray.core.progress import track
from mer_ray.core.ray_demand import GpuMeter, MachineRequest, metered_gpus, requested_machines
from mer_ray.core.ray_metrics import ExtractionMetrics
from mer_ray.core.ray_session import ray_session
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout, actor_bytes, choose_layout
from mer_ray.extraction.passes import choose_passes, largest_bytes
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.ray_calibration import cap_by_sample
from mer_ray.extraction.ray_pipeline import ask_machines, gpus_to_ask_for, run_shards
from mer_ray.extraction.shard_encoder import is_over
from mer_ray.extraction.shard_report import ShardReport
from mer_ray.extraction.shards import cut_shards
from mer_ray.extraction.summary import ExtractSummary
from mer_ray.store.encoder_cost import note_cost
from mer_ray.store.layout import open_store
from mer_ray.store.lease import Leases


def run_passes(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary, leases: Leases) -> None:
    """Encode all that the plan lacks, in as few passes as the memory allows; `summary` says what became of it.

    Raises:
        ClusterError: the machines do not have what the config asks for.
        StoreError: a lease is lost, or the store cannot be written.

    """
    with ray_session(), requested_machines(*gpus_to_ask_for(plan, config)) as request:
        machines = ask_machines(config)
        lacking = plan.lacking
        layout = choose_layout(config, machines, largest_bytes(lacking))
        passes = choose_passes(lacking, layout.device, actor_bytes(config, machines, layout))
        summary.passes = [list(chosen.keys) for chosen in passes]
        summary.num_gpus, summary.num_actors = layout.num_gpus, layout.num_actors
        stop_at = _stop_at(config, layout)
        with metered_gpus(layout.num_gpus) as meter:
            run = _Run(plan, config, summary, leases, request, meter, ExtractionMetrics(), perf_counter())
            for number, chosen in enumerate(passes, start=1):
                if is_over(stop_at):
                    summary.leave(plan, chosen.keys)
                    continue
                label = "extract" if len(passes) == 1 else f"extract {number}/{len(passes)}"
                _run_pass(run, label, chosen.keys, cap_by_sample(plan, chosen.keys, config, layout), stop_at)
        summary.count_money(meter.gpu_seconds, config.price_per_gpu_hour)
    leases.check()
    for key in plan.keys:
        if (cost := summary.cost_of(key, layout)) is not None:
            note_cost(open_store(config.store), plan.facts.corpus, key, cost)


@dataclass(frozen=True)
class _Run:
    """What all passes of a run share."""

    plan: ExtractionPlan
    config: ExtractConfig
    summary: ExtractSummary
    leases: Leases
    request: MachineRequest
    meter: GpuMeter
    metrics: ExtractionMetrics
    start_s: float

    def add(self, report: ShardReport, layout: Layout) -> None:
        """Count what became of a shard."""
        summary, metrics, price = self.summary, self.metrics, self.config.price_per_gpu_hour
        self.leases.check()
        clips, failures = summary.num_clips, sum(summary.failed.values())
        summary.add(report)
        summary.count_money(self.meter.gpu_seconds, price)
        for counter, more in ((metrics.clips, summary.num_clips - clips), (metrics.failures, sum(summary.failed.values()) - failures)):
            # Ray refuses to count nothing.
            if more:
                counter.inc(more)
        metrics.clips_per_s.set(self.clips_per_s)
        if summary.gpu_s:
            metrics.gpu_busy_share.set(min(1.0, summary.seconds["encode"] * layout.gpus_per_actor / summary.gpu_s))
        if summary.usd is not None:
            metrics.usd.set(summary.usd)

    @property
    def clips_per_s(self) -> float:
        """Since the run began."""
        return self.summary.num_clips / (perf_counter() - self.start_s)

    @property
    def note(self) -> str:
        """For people who wait."""
        money = "" if self.summary.usd is None else f", {self.summary.usd:.2f} USD"
        return f"{self.clips_per_s:.1f} clips/s, {sum(self.summary.failed.values())} failed{money}"


def _run_pass(run: _Run, label: str, keys: tuple[str, ...], layout: Layout, stop_at: float | None) -> None:
    summary = run.summary
    shards = cut_shards(run.plan, run.config, layout, keys)
    if not len(shards):
        return
    summary.num_shards += len(shards)
    summary.num_decode_tasks = layout.num_decode_tasks
    left_before, summary.num_left = summary.num_left, 0
    first_at, last_at = float("inf"), 0.0
    with track(label, round(shards.media_s), "s of media") as bar:
        # From now on it is actors that wait for what is lacking.
        run.request.release()
        for report in run_shards(shards, run.plan, keys, run.config, layout, stop_at):
            run.add(report, layout)
            if not report.is_left:
                first_at, last_at = min(first_at, report.started_at), max(last_at, report.ended_at)
                bar.advance(round(report.media_s), run.note)
    # A clip that several passes leave is one clip.
    summary.num_left = max(left_before, summary.num_left)
    summary.add_pass(max(last_at - first_at, 0.0), layout)


def _stop_at(config: ExtractConfig, layout: Layout) -> float | None:
    """When the budget is spent, in seconds since the epoch."""
    limits = [] if config.budget.hours is None else [config.budget.hours]
    if config.budget.usd is not None and config.price_per_gpu_hour:
        limits.append(config.budget.usd / (config.price_per_gpu_hour * layout.num_gpus))
    return time.time() + 3600 * min(limits) if limits else None
