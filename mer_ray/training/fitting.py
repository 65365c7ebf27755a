"""One training, from random weights to the weights that predict: the loop that all runs share.

Every epoch seeds its own shuffle and dropout from (seed, fold, epoch, worker), so a checkpoint needs no state of random generators
and a resumed training draws what an unbroken one draws.

Shapes: N training rows, B rows of a global batch, T terms of the loss.
"""

import math
import time
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mer_ray.batching import collate
from mer_ray.core.errors import RunError
from mer_ray.core.seeding import derive_seed, seed_everything
from mer_ray.objectives import Objective, class_weights, is_better, score
from mer_ray.training.config import TrainConfig
from mer_ray.training.evaluation import Predicted, autocast, predict_rows, to_outcome
from mer_ray.training.protocol import Partition
from mer_ray.training.training_data import IntArray, TrainingData
from mer_ray.training.worker import Worker

# A batch without a known label of some kind has 0 / 0 there, which must be 0.
SMALLEST_MASS = 1e-12


class Keeper(Protocol):
    """Where the state of a training survives."""

    def load(self) -> dict[str, Any] | None:
        """The last state, None for a new training."""

    def keep(self, learner: "Learner") -> None:
        """Told after every epoch; decides whether to write."""


def fit(learner: "Learner", keeper: Keeper) -> None:
    """Train to the last epoch, or until dev has not improved for `patience` epochs, from wherever the keeper left off.

    Raises:
        RunError: the loss is no longer finite.

    """
    state = learner.communicator.agree(keeper.load() if learner.communicator.is_main else None)
    if state is not None:
        learner.load_state(state)
    while not learner.is_finished:
        row = learner.train_epoch()
        row |= learner.score_dev()
        learner.note_epoch(row)
        keeper.keep(learner)


class Learner:
    """A model in training on one partition with one seed; `history` has a row per epoch.

    `best_epoch` is that of the best dev score with early stopping, else the last one.
    """

    def __init__(self, config: TrainConfig, worker: Worker, partition: Partition, seed: int) -> None:
        self.config, self.data, self.partition, self.seed = config, worker.data, partition, seed
        self.communicator, self.dtype = worker.communicator, worker.dtype
        self.clips, self.statistics = worker.clips.normalised(partition.train)
        self.device = self.clips.emotion_N.device
        self._name = derive_seed("fit", seed, -1 if partition.fold is None else partition.fold)
        seed_everything(derive_seed(self._name, "weights"))
        self.model = config.model.build(self.data.specs, self.data.task).to(self.device)
        self._network = self.communicator.wrap(self.model)
        self._rows_N = torch.from_numpy(partition.train).to(self.device)
        num_steps = config.epochs * math.ceil(len(partition.train) / config.batch_size)
        self._optimiser = AdamW(self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self._schedule = LambdaLR(self._optimiser, CosineSchedule(num_steps, config.warm_up))
        self._parameters = list(self.model.parameters())
        self._objective = objective_of(config, self.data, partition.train, self.device)
        self._term_weights_T = torch.tensor(self._objective.weights, device=self.device)
        # Masses come from labels alone, which every worker has: those of a global batch need no message.
        self._masses_NT = self._objective.masses(collate(self.clips, self._rows_N))
        self.history: list[dict[str, Any]] = []
        self.best_epoch = -1
        self._best_score = math.nan
        self._best_weights: dict[str, Tensor] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is done, or dev has stopped improving."""
        stopping = self.config.early_stopping
        stalled = stopping is not None and len(self.history) - 1 - self.best_epoch >= stopping.patience
        return len(self.history) >= self.config.epochs or (stalled and bool(self.history))

    def train_epoch(self) -> dict[str, Any]:
        """One pass over the training rows; the row holds the loss of all clips, term by term."""
        start_s = time.perf_counter()
        epoch = len(self.history)
        seed_everything(derive_seed(self._name, epoch, self.communicator.rank))
        shuffle = torch.Generator().manual_seed(derive_seed(self._name, "shuffle", epoch))
        order_N = torch.randperm(len(self._rows_N), generator=shuffle).to(self.device)
        batches = torch.split(self._rows_N[order_N], self.config.batch_size)
        scales = [self._scale(masses_BT) for masses_BT in torch.split(self._masses_NT[order_N], self.config.batch_size)]
        self.model.train()
        steps = [self.step(rows_B, scale_T) for rows_B, scale_T in zip(batches, scales, strict=True)]
        sums_T = self.communicator.sum(torch.stack(steps).double().sum(dim=0))
        means_T = (sums_T / self._masses_NT.double().sum(dim=0).clamp_min(SMALLEST_MASS)).tolist()
        loss = sum(weight * mean for weight, mean in zip(self._objective.weights, means_T, strict=True))
        if not math.isfinite(loss):
            raise RunError(
                f"{self.partition.label}, seed {self.seed}, epoch {epoch}: the loss is {loss}; lower learning_rate "
                f"(now {self.config.learning_rate:g}){'' if self.config.gradient_clip else ', or set gradient_clip: 1.0'}"
            )
        return {
            "fold": self.partition.fold,
            "seed": self.seed,
            "epoch": epoch,
            "train_loss": loss,
            **{f"train_loss_{name}": mean for name, mean in zip(self._objective.terms, means_T, strict=True)},
            "learning_rate": self._schedule.get_last_lr()[0],
            "seconds": time.perf_counter() - start_s,
        }

    def _scale(self, masses_BT: Tensor) -> Tensor:
        """What turns a worker's loss sums into its share: DDP takes the mean over workers of (workers x own sum / global mass)."""
        return self._term_weights_T * self.communicator.num_workers / masses_BT.sum(dim=0).clamp_min(SMALLEST_MASS)

    def step(self, rows_B: Tensor, scale_T: Tensor) -> Tensor:
        """One optimiser step on a global batch; gives this worker's loss sums (T,)."""
        batch = collate(self.clips, self.communicator.part(rows_B))
        with autocast(self.device, self.dtype):
            predictions = self._network(batch)
        sums_T = self._objective.sums(predictions, batch)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.dot(sums_T, scale_T))
        if self.config.gradient_clip is not None:
            clip_grad_norm_(self._parameters, self.config.gradient_clip)
        self._optimiser.step()
        self._schedule.step()
        return sums_T.detach()

    def score_dev(self) -> dict[str, float]:
        """Metrics of the dev rows, `dev_<metric>`; empty without a dev set."""
        if self.partition.dev is None:
            return {}
        return {f"dev_{name}": value for name, value in score(to_outcome(self.predict(self.partition.dev), self.data)).items()}

    def predict(self, rows: IntArray) -> Predicted:
        """Predict rows with the model as it is."""
        return predict_rows(self.model, self.clips, rows, self.dtype, self.communicator)

    def note_epoch(self, row: dict[str, Any]) -> None:
        """Append an epoch to the history, and keep its weights where it is the best so far."""
        self.history.append(row)
        stopping = self.config.early_stopping
        if stopping is None:
            self.best_epoch = row["epoch"]
            return
        found = row.get(f"dev_{stopping.metric}", math.nan)
        if self._best_weights is None or math.isnan(self._best_score) or is_better(stopping.metric, found, self._best_score):
            self.best_epoch, self._best_score = row["epoch"], found
            self._best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def take_best_weights(self) -> dict[str, Tensor]:
        """Give the model the weights of the best epoch; gives those of the last."""
        last = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if self._best_weights is not None:
            self.model.load_state_dict(self._best_weights)
        return last

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs to go on as if it had never stopped."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": {"last_epoch": self._schedule.last_epoch},
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_score": self._best_score,
            "best_weights": self._best_weights,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            RunError: it is not one of this model.

        """
        try:
            self.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._schedule.last_epoch = state["schedule"]["last_epoch"]
            self.history = list(state["history"])
            self.best_epoch, self._best_score, self._best_weights = state["best_epoch"], state["best_score"], state["best_weights"]
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.partition.label}, seed {self.seed}: last.pt holds no state of this model; "
                "delete this fit's folder under checkpoints to train it anew"
            ) from error


class CosineSchedule:
    """The learning rate's factor at a step: up in a straight line over `warm_up` of all steps, then half a cosine down to 0."""

    def __init__(self, num_steps: int, warm_up: float) -> None:
        self.num_steps = num_steps
        self.num_warm_up = math.ceil(warm_up * num_steps)

    def __call__(self, step: int) -> float:
        """The factor at a step, from 0."""
        if step < self.num_warm_up:
            return (step + 1) / (self.num_warm_up + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - self.num_warm_up) / max(1, self.num_steps - self.num_warm_up)))


def objective_of(config: TrainConfig, data: TrainingData, train: IntArray, device: torch.device) -> Objective:
    """The objective of a config; class weights are counted on the training rows."""
    weights_C = class_weights(config.class_weights, data.class_counts(train), data.task.classes)
    return Objective(data.task.values, None if weights_C is None else weights_C.to(device), config.label_smoothing, config.value_weight)
