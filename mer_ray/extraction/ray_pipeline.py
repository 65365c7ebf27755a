"""Shards through Ray Data: fetch, decode, encode and write on all workers, with one row per shard from plan to report.

One row per shard because Ray Data cuts and mixes larger groups of rows between stages.
"""

import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.data import ActorPoolStrategy, TaskPoolStrategy
from ray.data.context import DataContext

from mer_ray.core.errors import MerRayError
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import CALLS_PER_ACTOR, Layout, Machines
from mer_ray.extraction.media_cache import drop_leftovers
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shard_encoder import DecodedShard, ShardDecoder, ShardWorker, begin_report, is_over
from mer_ray.extraction.shard_report import ShardReport
from mer_ray.extraction.shards import Shard, ShardList
from mer_ray.store.layout import open_store

Rows = dict[str, npt.NDArray[np.object_]]


def ask_machines(config: ExtractConfig) -> Machines:
    """What the cluster has; the memory of a GPU is asked where encoders will share one."""
    resources = ray.cluster_resources()
    num_cpus, num_gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    gpu_bytes = None
    if num_gpus and config.gpus_per_actor != 0 and config.device != "cpu" and config.actor_memory_gb is None:
        gpu_bytes = ray.get(_gpu_bytes.options(num_gpus=min(1.0, num_gpus)).remote())
    return Machines(num_cpus, num_gpus, resources.get("memory", 0.0), gpu_bytes)


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
    _configure_ray_data(config)
    encoders = {key: plan.keys[key] for key in keys}
    dataset: ray.data.Dataset = ray.data.from_items([{"shard": pickle.dumps(shard)} for shard in shards], override_num_blocks=len(shards))
    if layout.num_decode_tasks:
        dataset = dataset.map_batches(
            partial(_decode_rows, encoders=encoders, config=config, stop_at=stop_at),
            batch_size=1,
            batch_format="numpy",
            compute=TaskPoolStrategy(layout.num_decode_tasks),
            num_cpus=1,
        )
    dataset = dataset.map_batches(
        _ShardActor,
        fn_constructor_kwargs={
            "encoders": tuple(encoders.values()),
            # Workers run in folders of their own: the store's URL is absolute.
            "store_url": open_store(config.store).url,
            "corpus": plan.facts.corpus,
            "config": config,
            "layout": layout,
            "stop_at": stop_at,
        },
        batch_size=1,
        batch_format="numpy",
        compute=ActorPoolStrategy(
            size=min(layout.num_actors, len(shards)), max_concurrent_calls_per_actor=CALLS_PER_ACTOR, enable_true_multi_threading=True
        ),
        num_cpus=layout.threads_per_actor,
        num_gpus=layout.gpus_per_actor,
    )
    for batch in dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        outcome = _load(batch["report"][0])
        if isinstance(outcome, MerRayError):
            raise outcome
        yield cast(ShardReport, outcome)


def _configure_ray_data(config: ExtractConfig) -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = config.no_progress_timeout_s
    # A worker that runs out of memory while loading weights beside others may succeed alone.
    context.max_consecutive_actor_init_deaths = 3
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _decode_rows(rows: Rows, encoders: Mapping[str, EncoderConfig], config: ExtractConfig, stop_at: float | None) -> Rows:
    shard = cast(Shard, _load(rows["shard"][0]))
    report = begin_report(shard)
    if is_over(stop_at):
        return {"shard": _objects(pickle.dumps(DecodedShard(shard, [], report)))}
    decoder = ShardDecoder(encoders, config.limits, config.shard_mb)
    try:
        with decoder.fetched(shard, report) as copies:
            decoded: DecodedShard | MerRayError = decoder.decode(shard, copies, report)
    except MerRayError as error:
        decoded = error
    return {"shard": _objects(pickle.dumps(decoded, protocol=5))}


class _ShardActor:
    """The encoder actor: builds its encoders once, then takes shards, decoded or not.

    An error of ours travels to the driver as a row: as an exception it would arrive as text in Ray's own.
    """

    def __init__(
        self, encoders: tuple[EncoderConfig, ...], store_url: str, corpus: str, config: ExtractConfig, layout: Layout, stop_at: float | None
    ) -> None:
        self.num_threads = layout.threads_per_actor
        drop_leftovers()
        self.failure: MerRayError | None = None
        try:
            self.worker = ShardWorker(encoders, store_url, corpus, config.limits, config.shard_mb, layout.device, stop_at)
        except MerRayError as error:
            self.failure = error

    def __call__(self, rows: Rows) -> Rows:
        return {"report": _objects(pickle.dumps(self.failure or self._process(rows)))}

    def _process(self, rows: Rows) -> ShardReport | MerRayError:
        # Actors that compute on the same cores would fight each other. Each thread of calls has its own setting.
        torch.set_num_threads(self.num_threads)
        item = _load(rows["shard"][0])
        if isinstance(item, MerRayError):
            return item
        try:
            return self.worker.process(cast(Shard | DecodedShard, item))
        except MerRayError as error:
            return error


def _objects(item: bytes) -> npt.NDArray[np.object_]:
    array = np.empty(1, dtype=object)
    array[0] = item
    return array


def _load(item: bytes) -> object:
    return pickle.loads(item)  # noqa: S301 - written by this module a moment ago, never read from a file
