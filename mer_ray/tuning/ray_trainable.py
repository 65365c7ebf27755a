"""A trial in an actor of Ray Tune, which is used again for the next one."""

import os
import time
from collections.abc import Generator
from typing import Any

import torch
from ray import tune

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.tuning.ray_group import SharedTrials
from mer_ray.tuning.trial import TrialStep

# Keys of a result, beside the scores. The schedulers take the first two: a pruned trial's last result lacks `finished`.
STEP, OBJECTIVE, FINISHED, FAILURE, SECONDS, SCORES = "step", "objective", "finished", "failure", "seconds", "scores"
# Keys of an actor's config.
DRAWN, FIRST_OBJECTIVE = "drawn", "first_objective"


class TrialActor(tune.Trainable):
    """Runs trials one after the other; features come from the node's shared memory and are never copied whole."""

    def setup(self, config: dict[str, Any], trials: SharedTrials | None = None) -> None:
        """Begin the first trial."""
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        assert trials is not None
        self._trials = trials
        self._steps: Generator[TrialStep] | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.cleanup()
        self._objective = config[FIRST_OBJECTIVE]
        self._drawn = config[DRAWN]
        self._seconds = 0.0

    def step(self) -> dict[str, Any]:
        """The trial's next step; what fails by its own values ends the trial, and not the actor."""
        start_s = time.monotonic()
        try:
            if self._steps is None:
                self._steps = self._trials.run(self._drawn)
            step = next(self._steps)
        except ClusterError:
            # A worker died: Tune begins the trial anew.
            raise
        except MerRayError as error:
            return {FAILURE: str(error), "done": True, STEP: 0, OBJECTIVE: float("nan"), SCORES: {}, SECONDS: self._seconds}
        self._seconds += time.monotonic() - start_s
        found = {STEP: step.number, OBJECTIVE: step.scores.get(self._objective, float("nan")), SCORES: step.scores, SECONDS: self._seconds}
        return {**found, FINISHED: step.is_last, "done": step.is_last}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial whose worker dies begins anew. Schedulers want the method."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was saved."""

    def cleanup(self) -> None:
        """Let the last trial's models, and its group, go."""
        if self._steps is not None:
            self._steps.close()
        self._steps = None
