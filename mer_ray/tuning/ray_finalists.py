"""The finalists of a search, scored on development data with the seeds of the end, each in a task of the cluster."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import Config, identity_of
from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.progress import track
from mer_ray.core.ray_session import ray_session
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_layout import choose_layout
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
    with ray_session(), track("finalists", len(finalists), "trials") as bar:
        layout = choose_layout(config, use_gpu)
        task = ray.remote(num_cpus=layout.cpus, num_gpus=layout.gpus, max_retries=config.max_failures)(_last_scores)
        shared = ray.put(trials)
        running = {task.remote(shared, one): number for number, one in left.items()}
        bar.advance(len(found))
        while running:
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


def _last_scores(trials: Trials, drawn: Config) -> dict[str, float] | str:
    """Scores, or why there are none."""
    try:
        *_, last = trials.run(drawn)
    except MerRayError as error:
        return str(error)
    except torch.OutOfMemoryError as error:
        return f"out of memory: {str(error).splitlines()[0]}"
    return last.scores


def _get(done: Any) -> dict[str, float] | str:
    try:
        outcome: dict[str, float] | str = ray.get(done)
    except RayTaskError:
        raise
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"a worker of the search died: {reason}; go on with --resume") from error
    return outcome
