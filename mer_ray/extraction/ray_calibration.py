"""The decode stage capped by measurement: a few clips are decoded and encoded on a worker like those of the run."""

from collections.abc import Sequence

import ray

from mer_ray.core.errors import MerRayError
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.costs import choose_groups, measure_groups
from mer_ray.extraction.layout import Layout, cap_decoding
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shards import Shard


def cap_by_sample(plan: ExtractionPlan, keys: Sequence[str], config: ExtractConfig, layout: Layout) -> Layout:
    """The layout with as many decode tasks as keep the actors busy; as it is where actors decode themselves, or with little to do."""
    if not layout.num_decode_tasks:
        return layout
    groups = choose_groups(plan, keys, layout.device)
    if sum(len(group.clips) for group in groups) * 4 > plan.num_pending:
        return layout
    encoders = tuple(plan.keys[key] for key in keys)
    task = _measure.options(num_cpus=1, num_gpus=layout.gpus_per_actor)
    outcome = ray.get(task.remote(groups, encoders, config, layout.device, plan.facts.corpus))
    if isinstance(outcome, MerRayError):
        raise outcome
    decode_s, encode_s = outcome
    return cap_decoding(layout, decode_s, encode_s)


@ray.remote(max_retries=3)
def _measure(
    groups: list[Shard], encoders: tuple[EncoderConfig, ...], config: ExtractConfig, device: str, corpus: str
) -> tuple[float, float] | MerRayError:
    """Seconds of fetching and decoding, and of encoding, over the sample."""
    try:
        seen = measure_groups(groups, encoders, config, device, corpus)
    except MerRayError as error:
        return error
    decode_s = sum(item.value for item in seen if item.what in ("fetch", "decode"))
    return decode_s, sum(item.value for item in seen if item.what == "encode")
