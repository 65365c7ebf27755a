"""Shards through Ray Data: decode, encode and write on all workers, with one row per shard from plan to report.

One row per shard because Ray Data cuts and mixes larger groups of rows between stages.
"""

import logging
import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.data import ActorPoolStrategy, TaskPoolStrategy
from ray.data.context import DataContext

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.plan import ExtractionPlan, Shard
from mer_ray.extraction.shard_encoder import DecodedShard, ShardEncoder, ShardReport, decode_shard
from mer_ray.store.layout import open_store

Rows = dict[str, npt.NDArray[np.object_]]


@dataclass(frozen=True)
class Layout:
    """How a cluster's resources are used: encoder actors, their share of a GPU, and decode tasks of a stage of their own (0: none)."""

    num_actors: int
    gpus_per_actor: float
    num_decode_tasks: int


def choose_layout(config: ExtractConfig) -> Layout:
    """One actor per GPU, else one per CPU core; a decode stage on the spare cores of GPU machines.

    Raises:
        ClusterError: the config asks for more GPUs or CPUs than the cluster has.

    """
    resources = ray.cluster_resources()
    num_cpus, num_gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    gpus_per_actor = config.gpus_per_actor if config.gpus_per_actor is not None else float(num_gpus > 0)
    if gpus_per_actor > num_gpus:
        raise ClusterError(
            f"gpus_per_actor: {gpus_per_actor:g} GPUs asked for, the cluster has {num_gpus:g}; set gpus_per_actor=0 for CPUs"
        )
    ahead = config.decode == "ahead" or (config.decode == "auto" and gpus_per_actor > 0)
    fitting = math.floor(num_gpus / gpus_per_actor) if gpus_per_actor > 0 else num_cpus - int(ahead)
    num_actors = config.num_actors or max(1, min(fitting, num_cpus - int(ahead)))
    num_decode_tasks = max(1, num_cpus - num_actors) if ahead else 0
    if num_actors + int(ahead) > num_cpus or num_actors > max(fitting, 1):
        raise ClusterError(
            f"num_actors: {num_actors} do not fit on {num_cpus} CPUs and {num_gpus:g} GPUs; set num_actors={max(1, fitting)} or less"
        )
    return Layout(num_actors, gpus_per_actor, num_decode_tasks)


def run_shards(shards: Sequence[Shard], plan: ExtractionPlan, config: ExtractConfig, layout: Layout) -> Iterator[ShardReport]:
    """Process all shards, yielding a report as each is written."""
    _configure_ray_data(config)
    rows = [{"shard": pickle.dumps(shard)} for shard in shards]
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    if layout.num_decode_tasks:
        decode = partial(_decode_rows, encoders=plan.keys, limits=config.limits)
        dataset = dataset.map_batches(
            decode, batch_size=1, batch_format="numpy", compute=TaskPoolStrategy(layout.num_decode_tasks), num_cpus=1
        )
    dataset = dataset.map_batches(
        _ShardActor,
        fn_constructor_kwargs={
            "encoders": tuple(plan.keys.values()),
            # Workers run in folders of their own: the store's URL is absolute.
            "store_url": open_store(config.store).url,
            "corpus": plan.manifest.facts.corpus,
            "limits": config.limits,
            "device": "cuda" if layout.gpus_per_actor else "cpu",
        },
        batch_size=1,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=min(layout.num_actors, len(shards))),
        num_cpus=1,
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


def _decode_rows(rows: Rows, encoders: Mapping[str, EncoderConfig], limits: MediaLimits) -> Rows:
    shard = cast(Shard, _load(rows["shard"][0]))
    return {"shard": _objects(pickle.dumps(decode_shard(shard, encoders, limits), protocol=5))}


class _ShardActor:
    """The encoder actor: builds its encoders once, then takes shards, decoded or not.

    An error of ours travels to the driver as a row: as an exception it would arrive as text in Ray's own.
    """

    def __init__(self, encoders: tuple[EncoderConfig, ...], store_url: str, corpus: str, limits: MediaLimits, device: str) -> None:
        # The pool has one actor per core: more threads than that would fight each other.
        torch.set_num_threads(1)
        self.limits = limits
        self.failure: MerRayError | None = None
        try:
            self.shard_encoder = ShardEncoder(encoders, store_url, corpus, device)
        except MerRayError as error:
            self.failure = error

    def __call__(self, rows: Rows) -> Rows:
        return {"report": _objects(pickle.dumps(self.failure or self._process(rows)))}

    def _process(self, rows: Rows) -> ShardReport | MerRayError:
        item = _load(rows["shard"][0])
        decoded = item if isinstance(item, DecodedShard) else decode_shard(cast(Shard, item), self.shard_encoder.configs, self.limits)
        try:
            return self.shard_encoder.process(decoded)
        except MerRayError as error:
            return error


def _objects(item: bytes) -> npt.NDArray[np.object_]:
    array = np.empty(1, dtype=object)
    array[0] = item
    return array


def _load(item: bytes) -> object:
    return pickle.loads(item)  # noqa: S301 - written by this module a moment ago, never read from a file
