"""The other side of `tune.trials_over_optuna`: the same trials by Optuna alone, one process of several on one study.

python -m mer_ray.bench.ray_optuna_side CONFIG.json STORAGE NUM_TRIALS
"""

import sys
from pathlib import Path

import optuna
import torch

from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_study import suggest

STUDY = "optuna alone"


def main(config_path: str, storage: str, num_trials: str) -> None:
    """Optimise as Optuna's own documentation does."""
    torch.set_num_threads(1)
    config = TuneConfig.model_validate_json(Path(config_path).read_text())
    space = config.space
    trials = config.target.read(space.fill(lambda dimension: dimension.low))

    def objective(trial: optuna.Trial) -> float:
        drawn = config.target.parse(space.fill(lambda dimension: suggest(trial, dimension)))
        *_, last = trials.run(drawn)
        return last.scores[config.objectives[0]]

    sampler = optuna.samplers.RandomSampler()
    study = optuna.create_study(study_name=STUDY, storage=storage, sampler=sampler, direction="maximize", load_if_exists=True)
    study.optimize(objective, n_trials=int(num_trials))


if __name__ == "__main__":
    main(*sys.argv[1:])
