"""Hyper-parameters of a partition, chosen without its test rows."""

from mer_ray.core.artefacts import write_json
from mer_ray.objectives import is_better, merge, score
from mer_ray.training.config import TrainConfig
from mer_ray.training.evaluation import to_outcome
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.protocol import Partition, inner_partitions
from mer_ray.training.run_folder import NoKeeper, RunFolder
from mer_ray.training.worker import Worker


def choose_candidate(config: TrainConfig, worker: Worker, outer: Partition, folder: RunFolder) -> TrainConfig:
    """The config of the candidate with the best `select_metric` over the pooled inner test rows, trained with the run's first seed.

    The choice is written, and read back when the run is resumed. Of equals the first wins.

    Raises:
        RunError: too few folds for an inner loop.

    """
    path = folder.selection_path(outer.fold)
    is_main = worker.communicator.is_main
    known = worker.communicator.agree(folder.read_selection(outer.fold) if is_main and path.is_file() else None)
    if known is not None:
        return config.candidate(known["candidate"])
    inner = inner_partitions(config.protocol, worker.data, outer)
    scores = [_score_candidate(config.candidate(number), worker, inner) for number in range(len(config.candidates))]
    best = 0
    for number, found in enumerate(scores):
        if is_better(config.select_metric, found, scores[best]):
            best = number
    if is_main:
        choice = {"fold": outer.fold, "candidate": best, "changes": config.candidates[best], "metric": config.select_metric}
        write_json(path, {**choice, "scores": scores})
    return config.candidate(best)


def _score_candidate(config: TrainConfig, worker: Worker, inner: list[Partition]) -> float:
    outcomes = []
    for partition in inner:
        learner = Learner(config, worker, partition, config.seeds[0])
        fit(learner, NoKeeper())
        learner.take_best_weights()
        outcomes.append(to_outcome(learner.predict(partition.test["inner"]), worker.data))
    return score(merge(outcomes))[config.select_metric]
