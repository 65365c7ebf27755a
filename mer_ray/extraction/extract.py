"""The verb `extract`: plan what is left, run it on Ray in as few passes as the memory allows, say what became of it."""

from time import perf_counter

from mer_ray.core.artefacts import write_json
from mer_ray.core.errors import RunError
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.plan import ExtractionPlan, plan_extraction
from mer_ray.extraction.summary import ExtractSummary
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
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
        # Ray Data is loaded where it is used only.
        from mer_ray.extraction.ray_passes import run_passes

        with hold_leases(store, plan.facts.corpus, list(plan.keys), part) as leases:
            run_passes(plan, config, summary, leases)
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
            f"{config.store}: the budget{_spent(summary)} is spent: {summary.num_clips} clips are stored, {summary.num_left} are left; "
            "run again to go on, with a larger budget if need be"
        )
    return summary


def _spent(summary: ExtractSummary) -> str:
    """What of it went to GPUs that were there; one in money is spent when all GPUs would have cost it, there or awaited."""
    return "" if summary.usd is None else f" ({summary.usd:.2f} USD for GPUs that were there)"


def _count_failures(plan: ExtractionPlan, config: ExtractConfig, summary: ExtractSummary) -> list[str]:
    """Fill in the standing failures; give the first reason of each encoder that has some."""
    store, reasons = open_store(config.store), []
    for key in plan.keys:
        failures = read_failures(store, plan.facts.corpus, key, plan.wanted(key))
        summary.standing[key] = failures.num_rows
        summary.num_wanted += len(plan.clips)
        reasons += [f"{row['clip_id']}: {row['message']}" for row in failures.slice(0, 1).to_pylist()]
    return reasons
