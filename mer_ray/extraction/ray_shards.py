"""Shards through Ray Data: one row per shard from plan to outcome, workers in actors, errors as rows.

One row per shard because Ray Data cuts and mixes larger groups of rows between stages. An error of ours travels to the driver as a
row: as an exception it would arrive as text in Ray's own.
"""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.data import ActorPoolStrategy
from ray.data.context import DataContext
from ray.exceptions import RayError, RayTaskError

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.ray_machines import autoscaling_limit
from mer_ray.extraction.layout import CALLS_PER_ACTOR
from mer_ray.extraction.media_cache import drop_leftovers

COLUMN = "shard"
# As Ray Data writes them.
NEVER, DEFAULT_NO_PROGRESS_TIMEOUT_S = -1, 1800

Rows = dict[str, npt.NDArray[np.object_]]


class Worker(Protocol):
    """What an actor holds: takes a shard, in several threads at once, and gives what is to be told of it."""

    def process(self, item: Any) -> object:
        """Process a shard.

        Raises:
            MerRayError: the run must end.

        """


def read_shards(shards: Iterable[object], num_shards: int, no_progress_timeout_s: int | None) -> ray.data.Dataset:
    """A dataset with a block and a row per shard; a timeout of None waits for machines that an autoscaler may bring as long as it takes."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False
    if no_progress_timeout_s is None:
        no_progress_timeout_s = NEVER if autoscaling_limit() is not None else DEFAULT_NO_PROGRESS_TIMEOUT_S
    context.execution_no_progress_timeout_s = no_progress_timeout_s
    # A worker that runs out of memory while loading weights beside others may succeed alone.
    context.max_consecutive_actor_init_deaths = 3
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data.from_items([{COLUMN: pickle.dumps(shard)} for shard in shards], override_num_blocks=num_shards)


def process_shards(
    dataset: ray.data.Dataset, make: Callable[[], Worker], num_actors: int, num_threads: int, gpus_per_actor: float
) -> Iterator[Any]:
    """What the workers tell of each shard, as it is done. `make` builds the worker in each actor.

    Raises:
        MerRayError: the first that a worker raised.
        ClusterError: workers died again and again, or their node was lost with what Ray cannot make anew.

    """
    processed = dataset.map_batches(
        ShardActor,
        fn_constructor_kwargs={"make": make, "num_threads": num_threads},
        batch_size=1,
        batch_format="numpy",
        compute=ActorPoolStrategy(
            **_pool_size(num_actors), max_concurrent_calls_per_actor=CALLS_PER_ACTOR, enable_true_multi_threading=True
        ),
        num_cpus=num_threads,
        num_gpus=gpus_per_actor,
    )
    for outcome in _outcomes(processed):
        if isinstance(outcome, MerRayError):
            raise outcome
        yield outcome


def _outcomes(processed: ray.data.Dataset) -> Iterator[object]:
    try:
        for batch in processed.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
            yield unpack(batch)
    except RayTaskError:
        # Raised in a worker by code of ours: its traceback is what tells.
        raise
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"workers of this run died: {reason}; what is done is kept, run again to go on") from error


def _pool_size(num_actors: int) -> dict[str, int]:
    """All at once, so that an autoscaler sees them; where one is, those without shards end before the others, and free their nodes."""
    if autoscaling_limit() is None:
        return {"size": num_actors}
    return {"min_size": 1, "max_size": num_actors, "initial_size": num_actors}


class ShardActor:
    """Builds its worker once, then gives it shards; an item that is an error already is passed on."""

    def __init__(self, make: Callable[[], Worker], num_threads: int) -> None:
        self.num_threads = num_threads
        self.failure: MerRayError | None = None
        drop_leftovers()
        try:
            self.worker = make()
        except MerRayError as error:
            self.failure = error

    def __call__(self, rows: Rows) -> Rows:
        """A batch of one shard to a batch of what became of it."""
        return pack(self.failure or self._process(unpack(rows)))

    def _process(self, item: object) -> object:
        if isinstance(item, MerRayError):
            return item
        # Actors that compute on the same cores would fight each other. Each thread of calls has its own setting.
        torch.set_num_threads(self.num_threads)
        try:
            return self.worker.process(item)
        except MerRayError as error:
            return error


def pack(item: object) -> Rows:
    """A batch of one row."""
    array = np.empty(1, dtype=object)
    array[0] = pickle.dumps(item, protocol=5)
    return {COLUMN: array}


def unpack(rows: Rows) -> object:
    """What `pack` packed."""
    return pickle.loads(rows[COLUMN][0])  # noqa: S301 - written by this module a moment ago, never read from a file
