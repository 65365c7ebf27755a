"""One fit: epochs over the training clips, the dev score, the best weights; the same on one worker and on several.

The loss is a sum over the global batch divided by its mass, and each draw of frames and sounds comes from (seed, fit, epoch, clip).

Shapes: N rows, B rows of a global batch, L terms of the loss, C classes.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mer_ray.core.batch import Batch
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.media_types import EncoderInput, FloatArray, Frames
from mer_ray.core.seeding import derive_seed, seed_everything
from mer_ray.encoders._pretrained import NetworkEncoder, PretrainedEncoderConfig
from mer_ray.finetuning.augmentation import augment_frames, draw_frames, share_of_start
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.fits import Fit
from mer_ray.finetuning.inputs import ClipInputs
from mer_ray.finetuning.methods import LoraConfig
from mer_ray.finetuning.network import FinetunedNetwork
from mer_ray.objectives import LossSettings, class_weights, is_better, score
from mer_ray.objectives.losses import UNKNOWN
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import LOSS
from mer_ray.training.epoch_plan import SMALLEST_MASS
from mer_ray.training.evaluation import Predicted, autocast, prediction_loss, to_outcome
from mer_ray.training.optimisation import Part
from mer_ray.training.training_data import IntArray, TrainingData
from mer_ray.training.worker import compute_type


@dataclass(frozen=True)
class FinetuneWorker:
    """What one worker has: labels, inputs, its link to the others and its device."""

    data: TrainingData
    inputs: ClipInputs
    communicator: Communicator
    device: torch.device


class FinetuneLearner:
    """An encoder in training on one fit; `history` has a row per epoch, `num_batches` are those of an epoch."""

    def __init__(self, config: FinetuneConfig, worker: FinetuneWorker, fit: Fit, epochs: int, advance: Callable[[int, str], None]) -> None:
        self.config, self.worker, self.fit, self.epochs = config, worker, fit, epochs
        self.data, self.communicator = worker.data, worker.communicator
        self._advance = advance
        self.seed = derive_seed("finetune", config.seed, fit.name)
        self.dtype = compute_type(config, worker.device)
        seed_everything(derive_seed(self.seed, "weights"))
        self.encoder = build_network(config, str(worker.device))
        counts_C = self.data.class_counts(fit.partition.train)
        weights_C = class_weights(config.class_weights, counts_C, self.data.task.classes)
        settings = LossSettings(weights_C, config.label_smoothing, value_weight=config.value_weight)
        dim = next(iter(self.encoder.layers.values()))
        self.network = FinetunedNetwork(self.encoder, config, self.data.task, settings, dim).to(worker.device)
        # Parts of a network that no feature depends on have no gradient.
        self._wrapped = self.communicator.wrap(self.network, has_steps=not isinstance(config.method, LoraConfig))
        self.num_batches = -(-len(fit.partition.train) // config.batch_size)
        total = epochs * self.num_batches
        self.parts = {
            "network": Part(self.network.trained.values(), config, total, config.weight_decay),
            "head": Part(self.network.head.parameters(), config.with_head_rate, total, config.weight_decay),
        }
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self._best_score = -1, math.nan
        self._best_state: dict[str, dict[str, Tensor]] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is done, or dev has stopped improving."""
        stopping = self.config.early_stopping
        stalled = stopping is not None and self._stops and len(self.history) - 1 - self.best_epoch >= stopping.patience
        return len(self.history) >= self.epochs or (stalled and bool(self.history))

    @property
    def _stops(self) -> bool:
        return self.config.early_stopping is not None and self.fit.partition.dev is not None

    def train_epoch(self) -> None:
        """One pass over the training clips, and the dev score.

        Raises:
            RunError: the loss is not finite.

        """
        start_s = time.perf_counter()
        epoch = len(self.history)
        seed_everything(derive_seed(self.seed, epoch, self.communicator.rank))
        self.network.train()
        order = torch.randperm(
            len(self.fit.partition.train), generator=torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        )
        batches = torch.split(torch.from_numpy(self.fit.partition.train)[order], self.config.batch_size)
        sums, masses = [], []
        for number, (rows_B, inputs) in enumerate(self._read_ahead(batches), start=epoch * self.num_batches):
            mass_L = self.network.objective.masses(self._labels(rows_B.numpy())).sum(dim=0)
            sums.append(self._step(rows_B, inputs, mass_L, epoch))
            masses.append(mass_L)
            for part in self.parts.values():
                part.go_to(number + 1)
            self._advance(1, f"{self.fit.name}, epoch {epoch + 1}/{self.epochs}")
        total_L = self.communicator.sum(torch.stack(sums).double().sum(dim=0))
        mass_L = torch.stack(masses).double().sum(dim=0).clamp_min(SMALLEST_MASS)
        self._finish_epoch((total_L / mass_L).tolist(), time.perf_counter() - start_s)

    def _read_ahead(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[EncoderInput]]]:
        """The global batches with this worker's inputs, the next of which is read while one is computed."""
        with ThreadPoolExecutor(1) as pool:
            reading = [pool.submit(self.worker.inputs.load_some, self._own_rows(batches[0]))]
            for number, rows_B in enumerate(batches):
                if number + 1 < len(batches):
                    reading.append(pool.submit(self.worker.inputs.load_some, self._own_rows(batches[number + 1])))
                yield rows_B, reading.pop(0).result()

    def _own_rows(self, rows_B: Tensor) -> list[int]:
        """A worker without a clip takes the batch's first, whose labels it does not see: every worker takes every step."""
        own_B = self.communicator.part(rows_B)
        return [int(row) for row in (own_B if len(own_B) else rows_B[:1])]

    def _step(self, rows_B: Tensor, loaded: list[EncoderInput], mass_L: Tensor, epoch: int) -> Tensor:
        """One step of the optimisers on a global batch; gives this worker's loss sums (L,)."""
        scale_L = torch.where(mass_L > SMALLEST_MASS, self.communicator.num_workers / mass_L.clamp_min(SMALLEST_MASS), 0.0)
        own = self._own_rows(rows_B)
        inputs = [self.prepare(row, one, epoch) for row, one in zip(own, loaded, strict=True)]
        has_own = len(self.communicator.part(rows_B)) > 0
        size = -(-len(own) // self.config.accumulate)
        # As many parts on every worker: the last one's backward joins the gradients.
        starts = list(range(0, len(own), size))
        self.network.zero_grad(set_to_none=True)
        sums = torch.zeros_like(mass_L)
        for start in starts:
            part = slice(start, start + size)
            labels = self._labels(np.array(own[part]), is_known=has_own)
            with nullcontext() if start == starts[-1] else self.communicator.no_sync(self._wrapped):
                with autocast(self.worker.device, self.dtype):
                    loss, sums_L = self._wrapped(inputs[part], labels, scale_L)
                torch.autograd.backward(loss)
            sums += sums_L
        self._refuse_idle()
        if self.config.gradient_clip is not None:
            clip_grad_norm_([weight for part in self.parts.values() for weight in part.parameters], self.config.gradient_clip)
        for optimised in self.parts.values():
            optimised.optimiser.step()
        return sums

    def _refuse_idle(self) -> None:
        """Refuse layers of LoRA that the network's output does not depend on: they would be trained to nothing."""
        if not isinstance(self.config.method, LoraConfig) or self.history:
            return
        idle = [name for name, weight in self.network.trained.items() if weight.grad is None]
        if idle:
            raise ConfigError(
                f"method.targets: the last hidden state does not depend on {idle[0]} ({len(idle)} such); choose other targets"
            )

    def prepare(self, row: int, clip_input: EncoderInput, epoch: int | None) -> EncoderInput:
        """What of an input goes through the network: drawn for an epoch, the same each time without one."""
        seed = None if epoch is None else derive_seed(self.seed, "draw", epoch, row)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        if isinstance(clip_input, Frames):
            clip_input = draw_frames(clip_input, self.config.frames_per_clip, generator)
            if seed is not None and self.config.augment is not None:
                clip_input = augment_frames(clip_input, self.config.augment, seed)
        return self.encoder.trim(clip_input, share_of_start(generator), self.config.max_audio_s)

    def _labels(self, rows: IntArray, is_known: bool = True) -> Batch:
        """Labels of rows on the device; unknown ones where the rows only stand in for none."""
        data, device = self.data, self.worker.device
        batch = Batch({}, {}, torch.from_numpy(data.emotion_N[rows]), {name: torch.tensor(one[rows]) for name, one in data.values.items()})
        if data.emotion_probs_NC is not None:
            batch = replace(batch, emotion_probs=torch.from_numpy(data.emotion_probs_NC[rows]).to(device))
        known_B = torch.full((len(rows),), is_known)
        return replace(
            batch,
            emotion=torch.where(known_B, batch.emotion, UNKNOWN).to(device),
            values={name: torch.where(known_B, one, torch.nan).to(device) for name, one in batch.values.items()},
            emotion_probs=None if batch.emotion_probs is None else batch.emotion_probs * is_known,
        )

    def _finish_epoch(self, means: list[float], seconds: float) -> None:
        epoch, objective = len(self.history), self.network.objective
        loss = sum(weight * mean for weight, mean in zip(objective.fixed_weights, means, strict=True))
        if not math.isfinite(loss):
            raise RunError(f"{self.fit.label}, epoch {epoch}: the loss is {loss}; lower learning_rate (now {self.config.learning_rate:g})")
        row: dict[str, Any] = {"fit": self.fit.name, "fold": self.fit.partition.fold, "seed": self.config.seed, "epoch": epoch}
        row |= {"train_loss": loss, **{f"train_loss_{term}": mean for term, mean in zip(objective.terms, means, strict=True)}}
        row |= {"learning_rate": self.parts["network"].learning_rate, "seconds": seconds, **self._score_dev()}
        self.history.append(row)
        stopping = self.config.early_stopping
        if stopping is None or not self._stops:
            self.best_epoch = epoch
            return
        found = row.get(f"dev_{stopping.metric}", math.nan)
        if self._best_state is None or (
            not math.isnan(found) and (math.isnan(self._best_score) or is_better(stopping.metric, found, self._best_score))
        ):
            self.best_epoch, self._best_score, self._best_state = epoch, found, self.network.learnt_state()

    def _score_dev(self) -> dict[str, float]:
        dev = self.fit.partition.dev
        if dev is None or not len(dev):
            return {}
        predicted = self.predict(dev)
        loss = prediction_loss(predicted, self.data, self.config.value_weight)
        return {f"dev_{name}": value for name, value in {**score(to_outcome(predicted, self.data)), LOSS: loss}.items()}

    def take_best_weights(self) -> None:
        """Give the network the weights of the best epoch."""
        if self._best_state is not None:
            self.network.load_learnt_state(self._best_state)

    def predict(self, rows: IntArray) -> Predicted:
        """Predict rows, shared over the workers and gathered on all of them in their order.

        Raises:
            RunError: predictions are not finite.

        """
        start_s = time.perf_counter()
        self.network.eval()
        mine = self.communicator.rows(rows)
        num_classes, values = len(self.data.task.classes), self.data.task.values
        parts: list[FloatArray] = [np.zeros((0, num_classes + len(values)), np.float32)]
        with torch.inference_mode(), autocast(self.worker.device, self.dtype):
            for some in np.split(mine, range(self.config.batch_size, len(mine), self.config.batch_size)) if len(mine) else ():
                loaded = self.worker.inputs.load_some(some.tolist())
                found = self.network.predict([self.prepare(row, one, None) for row, one in zip(some.tolist(), loaded, strict=True)])
                columns = [found.logits.float().softmax(dim=1), *[found.values[name][:, None].float() for name in values]]
                parts.append(torch.cat(columns, dim=1).cpu().numpy())
        table = np.concatenate(self.communicator.gather(np.concatenate(parts)))
        if not np.isfinite(table).all():
            raise RunError(f"{self.fit.label}: predictions are not finite; lower learning_rate (now {self.config.learning_rate:g})")
        by_value = {name: table[:, num_classes + number] for number, name in enumerate(values)}
        seconds = time.perf_counter() - start_s
        return Predicted(rows, table[:, :num_classes], by_value, np.zeros((len(rows), 0), np.float32), (), {}, seconds)

    def state(self) -> dict[str, Any]:
        """All that a resumed fit needs to go on as if it had never stopped."""
        return {
            "learnt": self.network.learnt_state(),
            "optimisers": {name: part.optimiser.state_dict() for name, part in self.parts.items()},
            "history": self.history,
            "best": [self.best_epoch, self._best_score, self._best_state],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            RunError: it is none of this fit.

        """
        try:
            self.network.load_learnt_state(state["learnt"])
            for name, part in self.parts.items():
                part.optimiser.load_state_dict(state["optimisers"][name])
                part.go_to(len(state["history"]) * self.num_batches)
            self.history = list(state["history"])
            self.best_epoch, self._best_score, self._best_state = state["best"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.fit.label}: last.pt holds no state of it; delete its folder under checkpoints to train it anew"
            ) from error


def build_network(config: FinetuneConfig, device: str) -> NetworkEncoder:
    """The encoder on a device, its weights in the type in which they are trained."""
    encoder = config.encoder
    assert isinstance(encoder, PretrainedEncoderConfig)
    changes: dict[str, Any] = {"compile": False}
    if not isinstance(config.method, LoraConfig):
        changes["compute"] = "float32"
    return encoder.model_copy(update=changes).build(device)
