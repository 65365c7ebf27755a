"""Hours, bytes, GPU-hours and money of a plan, from the measured costs of a sample."""

from collections.abc import Sequence
from dataclasses import dataclass

from mer_ray.core.table import Table
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.costs import Costs
from mer_ray.extraction.layout import CALLS_PER_ACTOR, Layout
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shards import cut_shards

# From the command to the first worker's birth and from the last part to the prompt, with a Ray of one's own (seen on 2 cores).
RAY_START_S = 8.0


@dataclass(frozen=True)
class Estimate:
    """What a pass or a whole run will take: seconds of the wall, bytes in the store, GPU-hours, USD (None without a price)."""

    num_shards: int
    wall_s: float
    stored_bytes: float
    gpu_hours: float
    usd: float | None

    @classmethod
    def nothing(cls, config: ExtractConfig) -> "Estimate":
        """What a run without passes takes: Ray's start and end."""
        return cls(0, RAY_START_S, 0.0, 0.0, None if config.price_per_gpu_hour is None else 0.0)

    def __add__(self, other: "Estimate") -> "Estimate":
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Estimate(
            self.num_shards + other.num_shards,
            self.wall_s + other.wall_s,
            self.stored_bytes + other.stored_bytes,
            self.gpu_hours + other.gpu_hours,
            usd,
        )


def estimate_pass(plan: ExtractionPlan, keys: Sequence[str], config: ExtractConfig, layout: Layout, costs: Costs) -> Estimate:
    """What one pass over the clips that lack some of `keys` will take."""
    shards = cut_shards(plan, config, layout, keys)
    seconds = {stage: line.total(0, shards.num_clips, shards.media_s) for stage, line in costs.seconds.items()}
    if layout.num_decode_tasks:
        # A stage of its own works beside the encoders.
        decoding_s, computing_s = (seconds["fetch"] + seconds["decode"]) / layout.num_decode_tasks, seconds["encode"] / layout.num_actors
    else:
        # In the actor the two take turns, while other calls fetch and write.
        decoding_s, computing_s = 0.0, (seconds["decode"] + seconds["encode"]) / layout.num_actors
    calls_s = sum(seconds[stage] for stage in ("encode", "write")) if layout.num_decode_tasks else sum(seconds.values())
    wall_s = costs.start_s + max(computing_s, decoding_s, calls_s / (CALLS_PER_ACTOR * layout.num_actors))
    stored = 0.0
    for key in keys:
        num_parts = sum(any(key in item.input_hashes for item in shard.clips) for shard in shards)
        clip_s = float(plan.durations_s[plan.lacks[key]].sum())
        stored += costs.stored_bytes[key].total(num_parts, plan.left[key], clip_s) * costs.done_share[key]
    gpu_hours = wall_s / 3600 * layout.num_gpus
    usd = None if config.price_per_gpu_hour is None else gpu_hours * config.price_per_gpu_hour
    return Estimate(len(shards), wall_s, stored, gpu_hours, usd)


def estimate_table(estimate: Estimate, costs: Sequence[Costs], where: str, uses_gpus: bool) -> Table:
    """The estimate as `--dry-run` shows it."""
    num_clips, media_s = sum(cost.num_clips for cost in costs), sum(cost.media_s for cost in costs)
    rows: list[tuple[str, str]] = [
        ("shards", f"{estimate.num_shards}"),
        ("time", f"{estimate.wall_s / 3600:.2f} h" if estimate.wall_s >= 3600 else f"{estimate.wall_s:.0f} s"),
        (
            "bytes in the store",
            f"{estimate.stored_bytes / 1e9:.3f} GB" if estimate.stored_bytes >= 1e8 else f"{estimate.stored_bytes / 1e6:.2f} MB",
        ),
        ("GPU-hours", f"{estimate.gpu_hours:.2f}" if uses_gpus else "none: no GPU takes part"),
    ]
    if estimate.usd is not None and uses_gpus:
        rows.append(("money", f"{estimate.usd:.2f} USD"))
    note = (
        f"from a sample of {num_clips} clips, {media_s:.0f} s of media, measured in {sum(cost.sample_s for cost in costs):.0f} s on {where}"
    )
    return Table("Estimate", ("what", "value"), tuple(rows), (note,))
