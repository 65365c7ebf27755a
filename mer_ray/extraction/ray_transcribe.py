"""Shards of clips through Ray Data: decode, transcribe and write in one actor, with one row per shard.

One row per shard because Ray Data cuts and mixes larger groups of rows between stages.
"""

import logging
import math
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.data import ActorPoolStrategy
from ray.data.context import DataContext

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.extraction.media_cache import drop_leftovers
from mer_ray.extraction.transcription_model import WhisperConfig
from mer_ray.extraction.transcription_parts import TranscriptRow
from mer_ray.extraction.transcription_worker import TranscriptionShard, TranscriptionWorker

Rows = dict[str, npt.NDArray[np.object_]]


def count_actors(num_actors: int | None, gpus_per_actor: float | None) -> tuple[int, float]:
    """Actors, and the GPUs of each: one actor per GPU, else one per CPU core.

    Raises:
        ClusterError: more is asked for than the cluster has.

    """
    resources = ray.cluster_resources()
    num_cpus, num_gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    gpus = gpus_per_actor if gpus_per_actor is not None else float(num_gpus > 0)
    if gpus > num_gpus:
        raise ClusterError(f"gpus_per_actor: {gpus:g} GPUs asked for, the cluster has {num_gpus:g}; set gpus_per_actor=0 for CPUs")
    fitting = max(1, min(num_cpus, math.floor(num_gpus / gpus)) if gpus else num_cpus)
    if num_actors is not None and num_actors > fitting:
        raise ClusterError(
            f"num_actors: {num_actors} do not fit on {num_cpus} CPUs and {num_gpus:g} GPUs; set num_actors={fitting} or less"
        )
    return num_actors or fitting, gpus


def transcribe_shards(
    shards: Sequence[TranscriptionShard],
    config: WhisperConfig,
    folder: Path,
    limits: MediaLimits,
    num_actors: int,
    gpus_per_actor: float,
    no_progress_timeout_s: int,
) -> Iterator[list[TranscriptRow]]:
    """Process all shards, yielding the rows of each when they are written."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = no_progress_timeout_s
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"shard": pickle.dumps(shard)} for shard in shards]
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _TranscriptionActor,
        fn_constructor_kwargs={
            "config": config,
            "folder": folder.absolute(),
            "limits": limits,
            "device": "cuda" if gpus_per_actor else "cpu",
        },
        batch_size=1,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=min(num_actors, len(shards))),
        num_cpus=1,
        num_gpus=gpus_per_actor,
    )
    for batch in dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        outcome = pickle.loads(batch["rows"][0])  # noqa: S301 - written by this module a moment ago, never read from a file
        if isinstance(outcome, MerRayError):
            raise outcome
        yield cast(list[TranscriptRow], outcome)


class _TranscriptionActor:
    """Loads its model once, then takes shards.

    An error of ours travels to the driver as a row: as an exception it would arrive as text in Ray's own.
    """

    def __init__(self, config: WhisperConfig, folder: Path, limits: MediaLimits, device: str) -> None:
        # The pool has one actor per core: more threads than that would fight each other.
        torch.set_num_threads(1)
        drop_leftovers()
        self.failure: MerRayError | None = None
        try:
            self.worker = TranscriptionWorker(config, folder, limits, device)
        except MerRayError as error:
            self.failure = error

    def __call__(self, rows: Rows) -> Rows:
        array = np.empty(1, dtype=object)
        array[0] = pickle.dumps(self.failure or self._process(rows))
        return {"rows": array}

    def _process(self, rows: Rows) -> list[TranscriptRow] | MerRayError:
        shard = pickle.loads(rows["shard"][0])  # noqa: S301 - written by this module a moment ago, never read from a file
        try:
            return self.worker.process(cast(TranscriptionShard, shard))
        except MerRayError as error:
            return error
