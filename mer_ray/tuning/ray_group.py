"""Trials as actors and tasks run them: by themselves, or each by a group of workers, a nested trainer of Ray Train."""

import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
import torch
from ray.exceptions import RayActorError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mer_ray.core.config import Config
from mer_ray.core.errors import ClusterError, RunError
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.ray_trainer import run_on_workers
from mer_ray.tuning.trial import TrialStep
from mer_ray.tuning.trials import Trials

GO_ON, STOP, NO_MORE = "go on", "stop", "no more"


@dataclass(frozen=True)
class SharedTrials:
    """Trials in the object store, read once per node; `scratch` is a folder that all nodes see."""

    trials: ray.ObjectRef[Trials]
    scratch: Path

    def run(self, drawn: Config) -> Generator[TrialStep]:
        """Train and score a drawn config; whoever closes it ends the trial.

        Raises:
            ConfigError, RunError: it cannot be trained; running out of memory is such a reason.
            ClusterError: a worker of its group died.

        """
        trials = ray.get(self.trials)
        training = trials.training(drawn)
        if training.worker_range[1] > 1:
            # Whoever runs trials begins one anew whose group dies; it has no checkpoint to go on from.
            yield from self._run_on_group(drawn, training.model_copy(update={"max_failures": 0}))
        else:
            with _out_of_memory_is_a_reason():
                yield from trials.run(drawn)

    def _run_on_group(self, drawn: Config, training: TrainConfig) -> Iterator[TrialStep]:
        """The main worker hands each step over, and waits until the next is asked for: a trial that is ended trains no further."""
        # With the leader, whose end is theirs: elsewhere a machine that goes would take them.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        steps, orders = (Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here}) for _ in range(2))
        work = partial(_work, self.trials, drawn, steps, orders)
        with ThreadPoolExecutor(1) as leader:
            group = leader.submit(run_on_workers, work, training, self.scratch / uuid.uuid4().hex)
            group.add_done_callback(lambda _: steps.put(NO_MORE))
            try:
                while (step := steps.get()) != NO_MORE:
                    yield step
                    orders.put(GO_ON)
            except RayActorError as error:
                raise ClusterError(f"what leads the workers of a trial died: {str(error).splitlines()[0]}") from error
            finally:
                with suppress(RayActorError):
                    orders.put(STOP)
        group.result()


def _work(
    trials: ray.ObjectRef[Trials], drawn: Config, steps: Queue, orders: Queue, communicator: Communicator, device: torch.device
) -> None:
    with _out_of_memory_is_a_reason():
        for step in ray.get(trials).run(drawn, communicator, device):
            if communicator.is_main:
                steps.put(step)
            # After the last step, too: what was ended or asked for the next takes the same way.
            if communicator.agree(orders.get() if communicator.is_main else None) == STOP:
                return


@contextmanager
def _out_of_memory_is_a_reason() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"out of memory: {str(error).splitlines()[0]}") from error
