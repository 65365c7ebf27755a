"""What a search runs: trainings, or self-trainings, on data that is read once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mer_ray.core.config import Config, digest_of
from mer_ray.core.errors import RunError
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.fitted import fit_in_memory
from mer_ray.selftraining.loading import selftrain_data
from mer_ray.selftraining.rounds import Round, best_round, rounds_of
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.data_checks import check_fit
from mer_ray.training.protocol import partitions
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import Worker, choose_device, make_worker
from mer_ray.tuning.search_data import SearchData
from mer_ray.tuning.trial import TrialStep, development_partitions, num_steps, run_trial


@dataclass(frozen=True)
class Trainings:
    """Each trial trains a model; see `run_trial`."""

    data: SearchData

    def training(self, drawn: Config) -> TrainConfig:
        """What says where and how a trial computes: the draw itself."""
        return TrainConfig.model_validate(drawn)

    def run(self, drawn: Config, communicator: Communicator | None = None, device: torch.device | None = None) -> Iterator[TrialStep]:
        """As `run_trial`; by itself unless a group of workers is named."""
        config = TrainConfig.model_validate(drawn)
        return run_trial(config, self.data.of(config), communicator or Communicator(), device or choose_device(config))

    def num_steps(self, drawn: Config) -> int:
        """Folds, or reports."""
        return num_steps(TrainConfig.model_validate(drawn), self.data.clips)

    def check(self, drawn: Config) -> None:
        """Refuse a config that these data cannot train, or whose best no labelled clip could judge.

        Raises:
            ConfigError, RunError: as a training.

        """
        config = TrainConfig.model_validate(drawn)
        data = self.data.of(config)
        check_fit(config, data, development_partitions(config, data))
        for partition in partitions(config.protocol, data):
            if not any(data.is_labelled[rows].any() for rows in partition.test.values()):
                raise RunError(
                    f"protocol: no test clip of {', '.join(partition.test)} has a label, so nothing can judge the best; name others"
                )

    def digest(self) -> str:
        """The sha256 (hex) of clips, labels and features."""
        return self.data.digest()


@dataclass(frozen=True)
class Selftrainings:
    """Each trial trains teachers and students round after round; a step is a round, scored on dev by the best one so far."""

    data: SearchData

    def training(self, drawn: Config) -> TrainConfig:
        """What says where and how a trial computes: that of all teachers."""
        return SelftrainConfig.model_validate(drawn).train

    def run(self, drawn: Config, communicator: Communicator | None = None, device: torch.device | None = None) -> Iterator[TrialStep]:
        """As `rounds_of`, with nothing written; by itself unless a group of workers is named.

        Raises:
            ConfigError, RunError: as a self-training.

        """
        config = SelftrainConfig.model_validate(drawn)
        metric, total = config.train.select_metric, config.max_rounds + 1
        done: list[Round] = []

        def make(training: TrainConfig, data: TrainingData) -> Worker:
            return make_worker(training, data, communicator or Communicator(), device or choose_device(training))

        for one in rounds_of(config, self._of(config), lambda number: fit_in_memory(make)):
            if done:
                yield TrialStep(len(done), total, {metric: best_round(config, done).dev_score})
            done.append(one)
        # Rounds may end before the last one that is allowed.
        yield TrialStep(total, total, {metric: best_round(config, done).dev_score})

    def num_steps(self, drawn: Config) -> int:
        """The teachers' round, and those of the students."""
        return SelftrainConfig.model_validate(drawn).max_rounds + 1

    def check(self, drawn: Config) -> None:
        """Refuse a config that these data cannot train.

        Raises:
            ConfigError, RunError: as a self-training.

        """
        self._of(SelftrainConfig.model_validate(drawn))

    def digest(self) -> str:
        """The sha256 (hex) of clips, labels and features."""
        return digest_of(["selftrain", self.data.digest()])

    def _of(self, config: SelftrainConfig) -> dict[str, TrainingData]:
        load: Callable[[TrainConfig], TrainingData] = self.data.of
        return selftrain_data(config, load).by_teacher


# Each is a drawn config; they travel to the actors that run them.
Trials = Trainings | Selftrainings
