"""The trials of a search on a cluster: Ray Tune runs them in actors that are used again, Optuna chooses them."""

import contextlib
import math
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.stopper import Stopper

from mer_ray.core.config import Config
from mer_ray.core.ray_demand import metered_gpus
from mer_ray.core.ray_metrics import SearchMetrics
from mer_ray.core.ray_session import ray_session
from mer_ray.tuning.config import AshaPruner, MedianPruner, TuneConfig
from mer_ray.tuning.live import SearchView, search_view
from mer_ray.tuning.ray_group import SharedTrials
from mer_ray.tuning.ray_layout import choose_layout
from mer_ray.tuning.ray_leftovers import leftovers_freed
from mer_ray.tuning.ray_searcher import StudySearcher
from mer_ray.tuning.ray_spending import Ledger
from mer_ray.tuning.ray_study import SearchStudy
from mer_ray.tuning.ray_trainable import OBJECTIVE, STEP, TrialActor
from mer_ray.tuning.records import best_of
from mer_ray.tuning.trials import Trials

TUNE_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune's own state, which we never restore from, is saved at most so often.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # The new output prints tables whatever `verbose` says.
    "RAY_AIR_NEW_OUTPUT": "0",
}
DIED = "its worker died"


class BudgetStopper(Stopper):
    """Ends all trials when the ledger says so."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __reduce__(self) -> tuple[Any, ...]:
        """As `SearchStudy`."""
        return object, ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the search ends."""
        return self._ledger.must_stop()


class Watcher(tune.Callback):
    """Keeps the view up to date, and the reasons of trials whose worker failed."""

    def __init__(self, study: SearchStudy, searcher: StudySearcher, ledger: Ledger, view: SearchView) -> None:
        self._study, self._searcher, self._ledger, self._view = study, searcher, ledger, view
        self._metrics, self._num_before = SearchMetrics(), sum(record.is_finished for record in study.records())

    def __reduce__(self) -> tuple[Any, ...]:
        """As `SearchStudy`."""
        return object, ()

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """A worker that failed."""
        self._searcher.on_worker_error(trial.trial_id, _reason_of(trial), may_try_again=trial.should_recover())

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        """After every event of Tune's loop."""
        records, config = self._study.records(), self._study.config
        self._view.update(records, self._ledger.seconds, self._ledger.gpu_seconds)
        num_finished = sum(record.is_finished for record in records)
        self._metrics.trials.set(num_finished)
        self._metrics.trials_per_minute.set(60 * (num_finished - self._num_before) / self._ledger.seconds_here)
        if (best := best_of(records, config.objectives[0])) is not None:
            self._metrics.best.set(best.values[config.objectives[0]])
        if config.price_per_gpu_hour:
            self._metrics.usd.set(self._ledger.gpu_seconds / 3600 * config.price_per_gpu_hour)


def run_trials(study: SearchStudy, trials: Trials, num_steps: int, check: Callable[[dict[str, Any]], Config], use_gpu: bool) -> str | None:
    """Run trials until the budget is spent; gives the reason where it ended before all trials were done.

    Raises:
        ConfigError: a budget in money where no GPU is used.
        ClusterError: Ray cannot be reached, or has no CPU, or no GPU for `device: cuda`.

    """
    config = study.config
    study.close_stale()
    left = config.budget.trials - sum(record.is_finished for record in study.records())
    if left <= 0:
        return None
    os.environ.update({name: os.environ.get(name, value) for name, value in TUNE_SETTINGS.items()})
    with contextlib.ExitStack() as stack:
        stack.enter_context(ray_session())
        stack.enter_context(leftovers_freed())
        layout = choose_layout(config, use_gpu)
        meter = stack.enter_context(metered_gpus(layout.num_gpus))
        view = stack.enter_context(search_view(config))
        ledger = Ledger(study, meter)
        shared = SharedTrials(ray.put(trials), config.scratch)
        searcher = StudySearcher(study, check, ledger.must_stop)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(TrialActor, trials=shared), layout.resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=_scheduler(config, num_steps),
                # The searcher says when all are done: one that was put back is another trial for Tune.
                num_samples=-1,
                max_concurrent_trials=min(layout.num_at_once, left),
                reuse_actors=True,
                metric=None,
                mode=None,
            ),
            # Tune resumes silently when a name repeats; the study resumes, and says so.
            run_config=tune.RunConfig(
                name=uuid.uuid4().hex,
                storage_path=str(config.scratch),
                stop=BudgetStopper(ledger),
                callbacks=[Watcher(study, searcher, ledger, view)],
                failure_config=tune.FailureConfig(max_failures=config.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            ledger.note()
            study.close_stale()
            shutil.rmtree(config.scratch, ignore_errors=True)
    return ledger.reason


def _reason_of(trial: RayTrial) -> str:
    """Why a worker failed: Tune keeps that in files only, and its `get_error` looks where they are copied to later."""
    pickled, text = (None if place is None else Path(place) for place in (trial.pickled_error_file, trial.error_file))
    if pickled is not None and pickled.is_file():
        error = cloudpickle.loads(pickled.read_bytes())
        if isinstance(error, RayTaskError):
            return " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
        return _last_line(str(error))
    return _last_line(text.read_text(encoding="utf-8")) if text is not None and text.is_file() else DIED


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else DIED


def _scheduler(config: TuneConfig, num_steps: int) -> TrialScheduler:
    mode = "max" if config.directions[0] == "maximize" else "min"
    common: dict[str, Any] = {"time_attr": STEP, "metric": OBJECTIVE, "mode": mode}
    if len(config.objectives) > 1 or config.pruner is None or num_steps == 1:
        return FIFOScheduler()
    if isinstance(config.pruner, AshaPruner):
        grace = min(config.pruner.grace, num_steps)
        # Trials say themselves when they end: where epochs are searched, some have more steps than others.
        rungs: dict[str, Any] = {"max_t": num_steps, "grace_period": grace, "stop_last_trials": False}
        return AsyncHyperBandScheduler(**common, **rungs, reduction_factor=config.pruner.reduction)
    assert isinstance(config.pruner, MedianPruner)
    # It never pauses trials: one that is paused begins anew.
    common |= {"grace_period": config.pruner.grace, "min_samples_required": config.pruner.min_trials, "min_time_slice": math.inf}
    return _MedianStoppingRule(**common)


class _MedianStoppingRule(MedianStoppingRule):
    """Of scores that are undefined Ray's own takes the first for the best of a trial, and ends it."""

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Whether the trial goes on; nothing is known of it while its score is undefined."""
        if not math.isfinite(result[OBJECTIVE]):
            return TrialScheduler.CONTINUE
        decision: str = super().on_trial_result(tune_controller, trial, result)
        return decision
