"""The extraction on Ray: fetch, decode, encode and write on all workers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import ray
import torch
from ray.data import TaskPoolStrategy

from mer_ray.core.errors import MerRayError
from mer_ray.core.ray_machines import largest_node_cpus, size_at_most
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout, Machines
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.ray_shards import Rows, pack, process_shards, read_shards, unpack
from mer_ray.extraction.shard_encoder import DecodedShard, ShardDecoder, ShardWorker, begin_report, is_over
from mer_ray.extraction.shard_report import ShardReport
from mer_ray.extraction.shards import Shard, ShardList
from mer_ray.store.layout import open_store


def ask_machines(config: ExtractConfig) -> Machines:
    """What the cluster has, or may have; the memory of a GPU is asked where encoders will share one."""
    size = size_at_most()
    gpu_bytes = None
    if size.num_gpus and config.gpus_per_actor != 0 and config.device != "cpu" and config.actor_memory_gb is None:
        gpu_bytes = ray.get(_gpu_bytes.options(num_gpus=min(1.0, size.num_gpus)).remote())
    return Machines(size.num_cpus, size.num_gpus, size.memory_bytes, gpu_bytes, largest_node_cpus())


def gpus_to_ask_for(plan: ExtractionPlan, config: ExtractConfig) -> tuple[float, int]:
    """GPUs of a bundle on one machine, and how many such bundles a run can use, known before anything is known of the machines."""
    each = max(1.0, config.gpus_per_actor or 1.0)
    if config.gpus_per_actor == 0 or (config.gpus_per_actor is None and config.device == "cpu"):
        return each, 0
    most = min(int(size_at_most().num_gpus / each), plan.num_pending)
    if config.num_actors is not None:
        most = min(most, math.ceil(config.num_actors * (config.gpus_per_actor or 1.0) / each))
    return each, most


@ray.remote(num_cpus=0)
def _gpu_bytes() -> float | None:
    return float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def run_shards(
    shards: ShardList,
    plan: ExtractionPlan,
    keys: Sequence[str],
    config: ExtractConfig,
    layout: Layout,
    stop_at: float | None,
) -> Iterator[ShardReport]:
    """Process all shards with the encoders of one pass, yielding a report as each is written."""
    encoders = {key: plan.keys[key] for key in keys}
    dataset = read_shards(shards, len(shards), config.no_progress_timeout_s)
    if layout.num_decode_tasks:
        dataset = dataset.map_batches(
            partial(_decode_rows, encoders=encoders, config=config, stop_at=stop_at),
            batch_size=1,
            batch_format="numpy",
            compute=TaskPoolStrategy(layout.num_decode_tasks),
            num_cpus=1,
        )
    # Workers run in folders of their own: the store's URL is absolute.
    store_url = open_store(config.store).url
    make = partial(
        ShardWorker, tuple(encoders.values()), store_url, plan.facts.corpus, config.limits, config.shard_mb, layout.device, stop_at
    )
    reports = process_shards(dataset, make, min(layout.num_actors, len(shards)), layout.threads_per_actor, layout.gpus_per_actor)
    yield from cast(Iterator[ShardReport], reports)


def _decode_rows(rows: Rows, encoders: Mapping[str, EncoderConfig], config: ExtractConfig, stop_at: float | None) -> Rows:
    shard = cast(Shard, unpack(rows))
    report = begin_report(shard)
    if is_over(stop_at):
        return pack(DecodedShard(shard, [], report))
    try:
        decoder = ShardDecoder(encoders, config.limits, config.shard_mb)
        with decoder.fetched(shard, report) as copies:
            return pack(decoder.decode(shard, copies, report))
    except MerRayError as error:
        return pack(error)
