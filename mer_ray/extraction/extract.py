"""The verb `extract`: plan what is left, run it on Ray in as few passes as the memory allows, say what became of it."""

import time
from time import perf_counter

from mer_ray.core.artefacts import write_json
from mer_ray.core.errors import RunError
from mer_ray.core.progress import track
from mer_ray.core.ray_session import ray_session
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout, actor_bytes, choose_layout
from mer_ray.extraction.passes import choose_passes, largest_bytes
from mer_ray.extraction.plan import ExtractionPlan, plan_extraction
from mer_ray.extraction.ray_calibration import cap_by_sample
from mer_ray.extraction.ray_pipeline import ask_machines, run_shards
from mer_ray.extraction.shard_encoder import is_over
from mer_ray.extraction.shards import cut_shards
from mer_ray.extraction.summary import ExtractSummary
from mer_ray.store.encoder_cost import note_cost
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.lease import Leases, hold_leases
from mer_ray.store.publishing import check_writable


def extract(config: ExtractConfig) -> ExtractSummary:
    """Encode every clip that the store lacks; a clip that cannot be decoded or encoded is a row of the failures table.

    Raises:
        ClusterError: the machines do not have what the config asks for.
        RunError: more than `max_failure_rate` of all (clip, encoder) pairs have failed, or the budget is spent; all that
            succeeded is in the store.
        StoreError: another extraction of the same encoders and clips is at work, or the store cannot be written.

    """
    start_s = perf_counter()
    plan = plan_extraction(config)
    summary = ExtractSummary(dict.fromkeys(plan.keys, 0), dict.fromkeys(plan.keys, 0), plan.skipped, degraded=plan.degraded)
    if plan.num_pending:
        store = open_store(config.store)
        check_writable(store)
        part = (config.part.index, config.part.count) if config.part else (1, 1)
        with hold_leases(store, plan.facts.corpus, list(plan.keys), part) as leases, ray_session():
            _run(plan, config, summary, leases)
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
    if summary.num_left:
        raise RunError(
            f"{config.store}: the budget is spent: {summary.num_clips} clips are stored, {summary.num_left} are left; "
            "run again to go on, with a larger budget if need be"
        )
    return summary


def _run(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary, leases: Leases) -> None:
    machines = ask_machines(config)
    lacking = plan.lacking
    layout = choose_layout(config, machines, largest_bytes(lacking))
    passes = choose_passes(lacking, layout.device, actor_bytes(config, machines, layout))
    summary.passes = [list(chosen.keys) for chosen in passes]
    summary.num_gpus, summary.num_actors = layout.num_gpus, layout.num_actors
    stop_at = _stop_at(config, layout)
    start_s = perf_counter()
    for number, chosen in enumerate(passes, start=1):
        if is_over(stop_at):
            summary.leave(plan, chosen.keys)
            continue
        label = "extract" if len(passes) == 1 else f"extract {number}/{len(passes)}"
        _run_pass(label, plan, chosen.keys, config, cap_by_sample(plan, chosen.keys, config, layout), summary, leases, stop_at)
        summary.count_money(perf_counter() - start_s, config.price_per_gpu_hour)
    leases.check()
    for key in plan.keys:
        if (cost := summary.cost_of(key, layout)) is not None:
            note_cost(open_store(config.store), plan.facts.corpus, key, cost)


def _run_pass(
    label: str,
    plan: ExtractionPlan,
    keys: tuple[str, ...],
    config: ExtractConfig,
    layout: Layout,
    summary: ExtractSummary,
    leases: Leases,
    stop_at: float | None,
) -> None:
    shards = cut_shards(plan, config, layout, keys)
    if not len(shards):
        return
    summary.num_shards += len(shards)
    summary.num_decode_tasks = layout.num_decode_tasks
    left_before, summary.num_left = summary.num_left, 0
    first_at, last_at = float("inf"), 0.0
    with track(label, round(shards.media_s), "s of media") as bar:
        start_s = perf_counter()
        for report in run_shards(shards, plan, keys, config, layout, stop_at):
            leases.check()
            summary.add(report)
            if not report.is_left:
                first_at, last_at = min(first_at, report.started_at), max(last_at, report.ended_at)
                bar.advance(round(report.media_s), _note(summary, config, perf_counter() - start_s))
    # A clip that several passes leave is one clip.
    summary.num_left = max(left_before, summary.num_left)
    summary.add_pass(max(last_at - first_at, 0.0), layout)


def _note(summary: ExtractSummary, config: ExtractConfig, elapsed_s: float) -> str:
    money = ""
    if config.price_per_gpu_hour is not None:
        money = f", {elapsed_s / 3600 * summary.num_gpus * config.price_per_gpu_hour:.2f} USD"
    return f"{summary.num_clips / elapsed_s:.1f} clips/s, {sum(summary.failed.values())} failed{money}"


def _stop_at(config: ExtractConfig, layout: Layout) -> float | None:
    """When the budget is spent, in seconds since the epoch."""
    limits = [] if config.budget.hours is None else [config.budget.hours]
    if config.budget.usd is not None and config.price_per_gpu_hour:
        limits.append(config.budget.usd / (config.price_per_gpu_hour * layout.num_gpus))
    return time.time() + 3600 * min(limits) if limits else None


def _count_failures(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary) -> list[str]:
    """Fill in the standing failures; give the first reason of each encoder that has some."""
    store, reasons = open_store(config.store), []
    for key in plan.keys:
        failures = read_failures(store, plan.facts.corpus, key, plan.wanted(key))
        summary.standing[key] = failures.num_rows
        summary.num_wanted += len(plan.clips)
        reasons += [f"{row['clip_id']}: {row['message']}" for row in failures.slice(0, 1).to_pylist()]
    return reasons
