"""`mer-ray extract --dry-run`: what is left, which encoders go together, and what it will cost, without Ray."""

import psutil
import torch

from mer_ray.core.artefacts import num_cores
from mer_ray.core.table import Table
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.costs import Costs, measure_costs
from mer_ray.extraction.estimate import Estimate, estimate_pass, estimate_table
from mer_ray.extraction.layout import GB, Layout, Machines, actor_bytes, cap_decoding, choose_layout
from mer_ray.extraction.passes import Pass, choose_passes, largest_bytes
from mer_ray.extraction.plan import ExtractionPlan, plan_extraction

# Ray gives this share of a node's memory to tasks and actors.
RAY_MEMORY_SHARE = 0.7


def plan_tables(config: ExtractConfig) -> list[Table]:
    """The plan and, where something is left, its estimate.

    Raises:
        ClusterError: an encoder does not fit into an actor.

    """
    plan = plan_extraction(config)
    machines = local_machines(config)
    lacking = plan.lacking
    if not lacking:
        return [_plan_table(plan, [])]
    layout = choose_layout(config, machines, largest_bytes(lacking))
    passes = choose_passes(lacking, layout.device, actor_bytes(config, machines, layout))
    return [_plan_table(plan, passes), _estimate(plan, passes, config, layout)]


def local_machines(config: ExtractConfig) -> Machines:
    """What this machine has; where the config names more actors than it has room for, machines that have it."""
    num_gpus = torch.cuda.device_count()
    gpu_bytes = float(torch.cuda.get_device_properties(0).total_memory) if num_gpus else None
    wanted_gpus = (config.num_actors or 1) * (config.gpus_per_actor or 0.0)
    num_cpus = max(num_cores(), (config.num_actors or 0) + 1) if config.num_actors or wanted_gpus else num_cores()
    memory_bytes = RAY_MEMORY_SHARE * psutil.virtual_memory().total * num_cpus / num_cores()
    return Machines(num_cpus, max(float(num_gpus), wanted_gpus), memory_bytes, gpu_bytes)


def estimate_run(plan: ExtractionPlan, config: ExtractConfig, layout: Layout, passes: list[Pass]) -> tuple[Estimate, list[Costs]]:
    """The sum over all passes, each from a sample of its own."""
    # The sample works here, on as many cores as the run will use of this machine.
    device = layout.device if torch.cuda.is_available() else "cpu"
    num_processes = 1 if device == "cuda" else min(layout.num_actors, num_cores())
    total, costs = Estimate.nothing(config), []
    for chosen in passes:
        measured = measure_costs(plan, chosen.keys, config, device, num_processes, layout.threads_per_actor)
        seconds = {stage: line.total(0, measured.num_clips, measured.media_s) for stage, line in measured.seconds.items()}
        capped = cap_decoding(layout, seconds["fetch"] + seconds["decode"], seconds["encode"])
        total += estimate_pass(plan, chosen.keys, config, capped, measured)
        costs.append(measured)
    return total, costs


def _estimate(plan: ExtractionPlan, passes: list[Pass], config: ExtractConfig, layout: Layout) -> Table:
    estimate, costs = estimate_run(plan, config, layout, passes)
    workers = f"{layout.num_actors} actors" + (f" with {layout.gpus_per_actor:g} GPU each" if layout.gpus_per_actor else "")
    where = f"this machine; the run is planned for {workers}"
    if layout.device == "cuda" and not torch.cuda.is_available():
        where += ". No GPU is here: time, GPU-hours and money are those of a CPU; ask again on a GPU machine"
    return estimate_table(estimate, costs, where, layout.num_gpus > 0)


def _plan_table(plan: ExtractionPlan, passes: list[Pass]) -> Table:
    number_of = {key: number for number, chosen in enumerate(passes, start=1) for key in chosen.keys}
    rows = tuple(
        (number_of.get(key, ""), key, plan.keys[key].modality, len(plan.clips), plan.skipped[key], plan.left[key]) for key in plan.keys
    )
    notes = [f"{key}: {what}" for key, what in plan.degraded.items()]
    notes += [f"{plan.num_pending} clips, {plan.media_s / 3600:.2f} h of media to decode"]
    if passes:
        together = "; then ".join(f"{', '.join(chosen.keys)} ({chosen.num_bytes / GB:.1f} GB)" for chosen in passes)
        how = "each pass decodes the clips once" if len(passes) > 1 else "each clip is decoded once"
        notes.append(f"actors hold {together}: {how}")
    return Table("Extraction plan", ("pass", "encoder", "modality", "clips", "done before", "left"), rows, tuple(notes))
