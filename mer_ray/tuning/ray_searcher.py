"""Ray Tune's side of a study: suggests what Optuna draws, and tells it how each trial ended.

Ray's own OptunaSearch tells trials that a scheduler ended as complete with their early score, never reports the score that decided, and
only warns where telling fails.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from optuna.trial import Trial
from ray.tune.search import Searcher

from mer_ray.core.config import Config
from mer_ray.core.errors import ConfigError
from mer_ray.tuning.ray_study import SearchStudy, first_number
from mer_ray.tuning.ray_trainable import DRAWN, FAILURE, FINISHED, FIRST_OBJECTIVE, OBJECTIVE, SCORES, SECONDS, STEP


class StudySearcher(Searcher):
    """`check` refuses a drawn config that cannot be trained; such trials fail at once, with the reason."""

    def __init__(self, study: SearchStudy, check: Callable[[dict[str, Any]], Config], must_stop: Callable[[], bool]) -> None:
        super().__init__(metric=OBJECTIVE, mode="max" if study.config.directions[0] == "maximize" else "min")
        self._study, self._check, self._must_stop = study, check, must_stop
        self._trials: dict[str, Trial] = {}
        self._reported: dict[str, int] = {}
        self._num_put_back: Counter[int] = Counter()

    def suggest(self, trial_id: str) -> Any:
        """The config of a new trial."""
        # Trials that fail at once count for the budget, too.
        while not self._must_stop():
            if len(self._study.records()) >= self._study.config.budget.trials:
                # Of those that run one may be lost and put back: whoever hears that all is finished never asks again.
                return None if self._trials else Searcher.FINISHED
            trial, drawn = self._study.ask()
            try:
                checked = self._check(drawn)
            except ConfigError as error:
                self._study.fail(trial, str(error), 0.0)
                continue
            self._trials[trial_id] = trial
            return {DRAWN: checked, FIRST_OBJECTIVE: self._study.config.objectives[0]}
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A point of the curve."""
        self._report(trial_id, result)

    def _report(self, trial_id: str, result: dict[str, Any]) -> None:
        if len(self._study.config.objectives) > 1 or FAILURE in result or not math.isfinite(result[OBJECTIVE]):
            return
        # A trial whose worker died begins anew, and the result that ends a trial may come twice.
        step = int(result[STEP])
        if step > self._reported.get(trial_id, 0):
            self._reported[trial_id] = step
            self._study.report(self._trials[trial_id], step, float(result[OBJECTIVE]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """How the trial ended; `result` is its last."""
        trial = self._trials.get(trial_id)
        if trial is None:
            return
        # Why a worker failed Tune tells its callbacks only, afterwards.
        if error or not result:
            return
        seconds = float(result[SECONDS])
        if FAILURE in result:
            self._study.fail(trial, result[FAILURE], seconds)
        else:
            self._report(trial_id, result)
            self._end(trial, result, seconds)
        del self._trials[trial_id]

    def on_worker_error(self, trial_id: str, reason: str, may_try_again: bool) -> None:
        """A trial whose worker failed, by a fault of the program or by dying too often; or which Tune gave up too early.

        Tune takes the death of a worker between two trials for two failures of the second one, and does not begin that anew.
        """
        trial = self._trials.pop(trial_id, None)
        if trial is None:
            return
        first = first_number(trial)
        if may_try_again and self._num_put_back[first] < self._study.config.max_failures:
            self._num_put_back[first] += 1
            self._study.put_back(trial)
        else:
            self._study.fail(trial, reason, 0.0)

    def _end(self, trial: Trial, result: dict[str, Any], seconds: float) -> None:
        scores = {name: float(value) for name, value in _scores(result).items()}
        lacking = [name for name in self._study.config.objectives if name not in scores]
        if not result.get(FINISHED):
            self._study.prune(trial, scores, seconds)
        elif lacking:
            self._study.fail(trial, f"{lacking[0]} is undefined for what this trial predicts", seconds)
        else:
            self._study.complete(trial, scores, seconds)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is what a search resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


def _scores(result: dict[str, Any]) -> dict[str, float]:
    """Tune hands nested results on as flat ones in some places."""
    if SCORES in result:
        found: dict[str, float] = result[SCORES]
        return found
    prefix = f"{SCORES}/"
    return {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}
