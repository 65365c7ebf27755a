"""Transcription on Ray: decode, transcribe and write in one actor."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_machines import largest_node_cpus, size_at_most
from mer_ray.decoders.limits import MediaLimits
from mer_ray.extraction.ray_shards import process_shards, read_shards
from mer_ray.extraction.transcription_model import WhisperConfig
from mer_ray.extraction.transcription_parts import TranscriptRow
from mer_ray.extraction.transcription_worker import TranscriptionShard, TranscriptionWorker


def count_actors(num_actors: int | None, gpus_per_actor: float | None) -> tuple[int, float]:
    """Actors, and the GPUs of each: one actor per GPU, else one per CPU core.

    Raises:
        ClusterError: more is asked for than the cluster has.

    """
    size = size_at_most()
    num_cpus, num_gpus = size.num_cpus, size.num_gpus
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
    no_progress_timeout_s: int | None,
) -> Iterator[list[TranscriptRow]]:
    """Process all shards, yielding the rows of each when they are written."""
    dataset = read_shards(shards, len(shards), no_progress_timeout_s)
    make = partial(TranscriptionWorker, config, folder.absolute(), limits, "cuda" if gpus_per_actor else "cpu")
    num_threads = 1 if gpus_per_actor else max(1, min(largest_node_cpus(), size_at_most().num_cpus // num_actors))
    rows = process_shards(dataset, make, min(num_actors, len(shards)), num_threads, gpus_per_actor)
    yield from cast(Iterator[list[TranscriptRow]], rows)
