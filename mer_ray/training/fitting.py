"""One training, from random weights to the weights that predict: the loop that all runs share.

Every epoch seeds its own shuffle and dropout from (seed, fold, epoch, worker), so a checkpoint needs no state of random generators
and a resumed training draws what an unbroken one draws.

Shapes: N training rows, B rows of a global batch, T terms of a step's loss.
"""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mer_ray.batching import collate
from mer_ray.core.batch import Batch
from mer_ray.core.errors import RunError
from mer_ray.core.seeding import derive_seed, seed_everything
from mer_ray.models import TrainStep
from mer_ray.objectives import LossSettings, class_weights, score
from mer_ray.training.best_epochs import BestEpochs, Weights, copy_weights
from mer_ray.training.class_means import class_means
from mer_ray.training.config import LOSS, TrainConfig
from mer_ray.training.copy_choice import CopyChoice
from mer_ray.training.epoch_plan import SMALLEST_MASS, EpochPlan
from mer_ray.training.evaluation import Predicted, autocast, predict_rows, prediction_loss, to_outcome
from mer_ray.training.modality_dropout import hide_modalities
from mer_ray.training.optimisation import Part
from mer_ray.training.pairing import keep_only, kept_streams
from mer_ray.training.protocol import Partition, fit_seed
from mer_ray.training.step_network import StepNetwork, term_name
from mer_ray.training.training_data import IntArray, TrainingData
from mer_ray.training.worker import Worker


class Keeper(Protocol):
    """Where the state of a training survives."""

    def load(self) -> dict[str, Any] | None:
        """The last state, None for a new training."""

    def keep(self, learner: "Learner") -> None:
        """Told after every epoch; decides whether to write."""


def fit(learner: "Learner", keeper: Keeper) -> None:
    """Train to the last epoch, or until dev has not improved for `patience` epochs, from wherever the keeper left off.

    Raises:
        RunError: the loss or the predictions are no longer finite.

    """
    learner.resume(keeper)
    while not learner.is_finished:
        learner.finish_epoch(learner.train_epoch(), keeper)


class Learner:
    """A model in training on one partition with one seed; `history` has a row per epoch.

    `best_epoch` is that of the best dev score with early stopping, else the last one. It learns from `train_clips`, which lack what
    `paired_share` takes away, and predicts `clips`. `all_parts` are the model's parts, and the learnt weights of the losses.
    """

    def __init__(self, config: TrainConfig, worker: Worker, partition: Partition, seed: int) -> None:
        self.config, self.data, self.partition, self.seed = config, worker.data, partition, seed
        self.communicator, self.dtype = worker.communicator, worker.dtype
        self.name = fit_seed(partition, seed)
        kept = kept_streams(config, self.data, partition, seed)
        self.clips, self.statistics = worker.clips.normalised(partition.train, kept)
        self.train_clips = self.clips if kept is None else keep_only(self.clips, kept)
        self.device = self.clips.emotion_N.device
        seed_everything(derive_seed(self.name, "weights"))
        self.model = config.model.build(self.data.specs, self.data.task)
        self.model.start_from(class_means(self.data, partition.train))
        settings = loss_settings(config, self.data, partition.train)
        gather_rows, num_workers = self.communicator.gather_rows, self.communicator.num_workers
        self.network = StepNetwork(self.model, settings, gather_rows, num_workers, config.accumulate).to(self.device)
        if config.compile:
            self.network.compile()
        self._wrapped = self.communicator.wrap(self.network, has_steps=len(self.model.steps) > 1)
        self.copies = CopyChoice(self.data.streams, self.name, self.device)
        self.plan = EpochPlan(self.network, self.train_clips, partition.train, config.batch_size, num_workers)
        self.num_batches = config.epochs * self.plan.num_batches
        decay = config.weight_decay
        self.parts = {name: Part(owned, config, self.num_batches, decay) for name, owned in self.model.parts().items()}
        # The weights of losses decay to nothing meaningful.
        self._weighting = {
            self.weighting_name(step): Part(weights, config, self.num_batches, 0.0)
            for step in self.model.steps
            if (weights := list(self.network.objective(step).parameters()))
        }
        # Collected once: a step that looks for them in all modules spends more on it than on a small layer.
        self.all_parts = {**self.parts, **self._weighting}
        self._weights = list(self.network.parameters())
        self.history: list[dict[str, Any]] = []
        stopping = config.early_stopping
        self.best = BestEpochs(stopping.metric, config.keep_best) if stopping else None

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights predict."""
        return len(self.history) - 1 if self.best is None else self.best.epoch

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
        seed_everything(derive_seed(self.name, epoch, self.communicator.rank))
        self.model.train()
        self.copies.draw(epoch)
        sums: dict[str, list[Tensor]] = {step.name: [] for step in self.model.steps}
        for number, batch in enumerate(self.plan.batches(self.shuffle(epoch)), start=epoch * self.plan.num_batches):
            own = zip(self._own_parts(batch.rows_B), self._own_parts(batch.host_rows_B), strict=True)
            parts = [self._collate(rows_B, host_rows_B) for rows_B, host_rows_B in own]
            for step in self.model.steps:
                if batch.is_known[step.name]:
                    sums[step.name].append(self._step(step, parts, batch.scales[step.name], len(batch.rows_B)))
            for part in self.all_parts.values():
                part.go_to(number + 1)
        totals = {name: self.communicator.sum(torch.stack(found).double().sum(dim=0)) for name, found in sums.items() if found}
        return self.epoch_row(totals, time.perf_counter() - start_s)

    def shuffle(self, epoch: int) -> torch.Generator:
        """What puts an epoch's rows in order."""
        return torch.Generator().manual_seed(derive_seed(self.name, "shuffle", epoch))

    def epoch_row(self, sums: Mapping[str, Tensor], seconds: float) -> dict[str, Any]:
        """The history's row of the epoch after the last, from the loss sums (T,) of its steps.

        Raises:
            RunError: the loss is not finite.

        """
        epoch, loss = len(self.history), 0.0
        terms: dict[str, float] = {}
        for step in self.model.steps:
            if step.name not in sums:
                continue
            objective = self.network.objective(step)
            means_T = (sums[step.name] / self.plan.masses[step.name].double().sum(dim=0).clamp_min(SMALLEST_MASS)).tolist()
            terms |= {f"train_loss_{term_name(self.model, step, term)}": mean for term, mean in zip(objective.terms, means_T, strict=True)}
            # With learnt weights, too, so that curves of runs can be compared.
            loss += sum(weight * mean for weight, mean in zip(objective.fixed_weights, means_T, strict=True))
            names = [f"log_variance_{term_name(self.model, step, term)}" for term in objective.terms]
            terms |= dict(zip(names, objective.label_log_variances(), strict=False))
        if not math.isfinite(loss) or not all(map(math.isfinite, terms.values())):
            raise self._diverged(epoch, f"the loss is {loss}")
        start = {"fold": self.partition.fold, "seed": self.seed, "epoch": epoch, "train_loss": loss}
        return {**start, **terms, "learning_rate": next(iter(self.parts.values())).learning_rate, "seconds": seconds}

    def _diverged(self, epoch: int, what: str) -> RunError:
        return RunError(
            f"{self.partition.label}, seed {self.seed}, epoch {epoch}: {what}; lower learning_rate "
            f"(now {self.config.learning_rate:g}){'' if self.config.gradient_clip else ', or set gradient_clip: 1.0'}"
        )

    def _own_parts(self, rows_B: Tensor) -> list[Tensor]:
        """The worker's rows of a global batch, in the parts that are computed one after the other; some may be empty."""
        own_B = self.communicator.part(rows_B)
        return [own_B] if self.config.accumulate == 1 else list(torch.tensor_split(own_B, self.config.accumulate))

    def _collate(self, rows_B: Tensor, host_rows_B: Tensor) -> Batch:
        longest = self.train_clips.longest(host_rows_B, self.copies.bank_rows(host_rows_B))
        batch = collate(self.train_clips, rows_B, longest, self.copies.bank_rows(rows_B))
        return hide_modalities(batch, self.data.specs, self.config.modality_dropout) if self.config.modality_dropout else batch

    def _step(self, step: TrainStep, parts: list[Batch], scale_T: Tensor, num_global_clips: int) -> Tensor:
        """One step of a step's optimisers on a global batch; gives this worker's loss sums (T,)."""
        for weight in self._weights:
            weight.grad = None
        sums = []
        for number, batch in enumerate(parts):
            is_last = number == len(parts) - 1
            with nullcontext() if is_last else self.communicator.no_sync(self._wrapped):
                with autocast(self.device, self.dtype):
                    total, sums_T = self._wrapped(batch, step.name, scale_T, num_global_clips)
                torch.autograd.backward(total)
            sums.append(sums_T)
        moved = [self.parts[name] for name in step.parts]
        if self.config.gradient_clip is not None:
            clip_grad_norm_([weight for part in moved for weight in part.parameters], self.config.gradient_clip)
        weighting = self._weighting.get(self.weighting_name(step))
        for part in (*moved, *([weighting] if weighting else [])):
            part.optimiser.step()
        return sums[0] if len(sums) == 1 else torch.stack(sums).sum(dim=0)

    def score_dev(self) -> dict[str, float]:
        """Metrics of the dev rows, `dev_<metric>`, and their loss; empty without a dev set."""
        if self.partition.dev is None:
            return {}
        predicted = self.predict(self.partition.dev)
        loss = prediction_loss(predicted, self.data, self.config.value_weight)
        return {f"dev_{name}": value for name, value in {**score(to_outcome(predicted, self.data)), LOSS: loss}.items()}

    def losses(self, dev: Predicted) -> dict[str, float]:
        """The loss of predictions of all training clips and of dev clips: what they differ by was learnt by heart."""
        train = self.predict(self.partition.train)
        weight = self.config.value_weight
        return {name: prediction_loss(one, self.data, weight) for name, one in {"train_loss": train, "dev_loss": dev}.items()}

    def predict(self, rows: IntArray) -> Predicted:
        """Predict rows with the model as it is.

        Raises:
            RunError: it predicts nothing finite, which the loss of the last epoch does not show: its last step came after it.

        """
        predicted = predict_rows(self.model, self.clips, rows, self.dtype, self.communicator)
        if not all(np.isfinite(one).all() for one in (predicted.probs_NC, *predicted.values.values())):
            raise self._diverged(min(len(self.history), self.config.epochs - 1), "predictions are not finite")
        return predicted

    def finish_epoch(self, row: dict[str, Any], keeper: Keeper) -> None:
        """Score dev, append the epoch to the history, keep its weights where it is among the best, and its state where it is time to."""
        row |= self.score_dev()
        self.history.append(row)
        if self.best is not None:
            self.best.note(row["epoch"], row.get(f"dev_{self.best.metric}", math.nan), self.model)
        keeper.keep(self)

    def take_best_weights(self) -> Weights:
        """Give the model the weights of the best epoch; gives those of the last."""
        last = copy_weights(self.model)
        if self.best is not None:
            self.model.load_state_dict(self.best.kept[0][2])
        return last

    def weighting_name(self, step: TrainStep) -> str:
        """The part of a step's learnt weights."""
        return f"weighting of {step.name}"

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs to go on as if it had never stopped."""
        return {
            "network": self.network.state_dict(),
            "optimisers": {name: part.optimiser.state_dict() for name, part in self.all_parts.items()},
            "history": self.history,
            "best": None if self.best is None else self.best.state(),
        }

    def resume(self, keeper: Keeper) -> None:
        """Go on from the keeper's state, where it has one.

        Raises:
            RunError: it is not one of this model.

        """
        state = self.communicator.agree(keeper.load() if self.communicator.is_main else None)
        if state is not None:
            self._load_state(state)

    def _load_state(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["network"])
            self.history = list(state["history"])
            for name, part in self.all_parts.items():
                part.optimiser.load_state_dict(state["optimisers"][name])
                part.go_to(len(self.history) * self.plan.num_batches)
            if self.best is not None:
                self.best.load_state(state["best"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.partition.label}, seed {self.seed}: last.pt holds no state of this model; "
                "delete this fit's folder under checkpoints to train it anew"
            ) from error


def loss_settings(config: TrainConfig, data: TrainingData, train: IntArray) -> LossSettings:
    """The loss of a config; class weights are counted on the training rows."""
    weights_C = class_weights(config.class_weights, data.class_counts(train), data.task.classes)
    return LossSettings(weights_C, config.label_smoothing, config.focal_gamma, config.value_loss, config.value_weight, config.weighting)
