"""The finalists of a search, scored on development data with the seeds of the end, each in a task of the cluster."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import Config, identity_of
from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.progress import track
from mer_ray.core.ray_session import ray_session
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_group import SharedTrials
from mer_ray.tuning.ray_layout import choose_layout
from mer_ray.tuning.ray_leftovers import leftovers_freed
from mer_ray.tuning.trials import Trials


def score_finalists(
    config: TuneConfig, trials: Trials, finalists: Mapping[int, Config], path: Path, use_gpu: bool
) -> dict[int, dict[str, float]]:
    """Scores by trial number, none of one that cannot be trained; those that `path` holds of an interrupted search are not computed again.

    Raises:
        ClusterError: Ray cannot be reached, or workers die more than `max_failures` times.

    """
    known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    keys = {number: identity_of(one, data=trials.digest()) for number, one in finalists.items()}
    found = {number: known[key] for number, key in keys.items() if key in known}
    left = {number: one for number, one in finalists.items() if number not in found}
    if not left:
        return found
    with ray_session(), leftovers_freed(), _removed(config.scratch), track("finalists", len(finalists), "trials") as bar:
        layout = choose_layout(config, use_gpu)
        options: dict[str, Any] = {"max_retries": config.max_failures, "retry_exceptions": [ClusterError], **layout.options}
        task = ray.remote(**options)(_last_scores)
        shared, waiting, running = SharedTrials(ray.put(trials), config.scratch), list(left.items()), dict[Any, int]()
        bar.advance(len(found))
        while waiting or running:
            while waiting and len(running) < layout.num_at_once:
                number, one = waiting.pop(0)
                running[task.remote(shared, one)] = number
            (done,), _ = ray.wait(list(running))
            number = running.pop(done)
            outcome = _get(done)
            if isinstance(outcome, str):
                Console(stderr=True).print(f"trial {number} is out: {outcome}", markup=False, highlight=False, soft_wrap=True)
                found[number] = {}
            else:
                found[number] = known[keys[number]] = outcome
                write_json(path, known)
            bar.advance(1)
    return found


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _last_scores(trials: SharedTrials, drawn: Config) -> dict[str, float] | str:
    """Scores, or why there are none."""
    try:
        *_, last = trials.run(drawn)
    except ClusterError:
        raise
    except MerRayError as error:
        return str(error)
    return last.scores


def _get(done: Any) -> dict[str, float] | str:
    try:
        outcome: dict[str, float] | str = ray.get(done)
    except RayError as error:
        if isinstance(error, RayTaskError) and not isinstance(error.cause, ClusterError):
            raise
        reason = str(error.cause if isinstance(error, RayTaskError) else error).strip().splitlines()[0]
        raise ClusterError(f"a worker of the search died: {reason}; go on with --resume") from error
    return outcome
