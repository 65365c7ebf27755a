"""What the training loop adds to the arithmetic.

Shapes: N clips, T frames, B clips of a batch, D feature dimension, S streams, H hidden.
"""

import copy
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from mer_ray.batching import Stream, StreamConfig, collate
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.models import (
    AttentionConfig,
    AudioGuidedConfig,
    EarlyFusionConfig,
    FusionModelConfig,
    HierarchicalConfig,
    LateFusionConfig,
    LowRankFusionConfig,
    MultConfig,
    TensorFusionConfig,
    VavlConfig,
)
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.fitting import Learner
from mer_ray.training.protocol import partitions
from mer_ray.training.together import Stack
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import make_worker

NUM_CLIPS, DIM, NUM_CLASSES = 3373, 1024, 6
ROUNDS, NUM_TOGETHER = 5, 10
NUM_CLIPS_OF_FRAMES, NUM_FRAMES = 400, 20
BOTH: tuple[Modality, ...] = ("audio", "vision")
# By name the model, what it reads, and how many frames of it (None: pooled).
OTHER_MODELS: dict[str, tuple[FusionModelConfig, tuple[Modality, ...], int | None]] = {
    "hierarchical": (HierarchicalConfig(), BOTH, None),
    "audio_guided": (AudioGuidedConfig(), MODALITIES, NUM_FRAMES),
    "vavl": (VavlConfig(width=64, num_heads=4, num_encoder_blocks=1), BOTH, NUM_FRAMES),
    "early_fusion": (EarlyFusionConfig(), MODALITIES, None),
    "late_fusion": (LateFusionConfig(), MODALITIES, None),
    "tfn": (TensorFusionConfig(embedding=16), MODALITIES, None),
    "lmf": (LowRankFusionConfig(), MODALITIES, None),
    "mult": (MultConfig(), MODALITIES, NUM_FRAMES),
}


def measure_training() -> list[Figure]:
    """`train.<model>.steps_over_bare`, on all cores: epochs of the loop against the same steps as one writes them by hand.

    Attention: the training part of MER2023's size, three streams of 1,024, against the model and loop written out for complete clips. The
    other models: a hand-written loop around the very same network; those of frames on fewer clips.
    """
    torch.set_num_threads(num_cores())
    attention = _make_learner(AttentionConfig(), NUM_CLIPS, MODALITIES)
    figures = [_compare("attention", attention, _BareTraining(attention))]
    for name, (model, modalities, num_frames) in OTHER_MODELS.items():
        learner = _make_learner(model, NUM_CLIPS if num_frames is None else NUM_CLIPS_OF_FRAMES, modalities, num_frames)
        figures.append(_compare(name, learner, _BareLoop(learner)))
    return figures + measure_vectorised(torch.device("cuda")) if torch.cuda.is_available() else figures


def measure_vectorised(device: torch.device, num_clips: int = NUM_CLIPS) -> list[Figure]:
    """`train.vectorised10_over_one`: an epoch of ten seeds of attention as one computation over an epoch of one seed alone."""
    learners = _make_learners(AttentionConfig(), num_clips, MODALITIES, None, device, seeds=range(NUM_TOGETHER + 1))
    alone, stack = learners[0], Stack(learners[1:])
    seconds = _alternate({"ten": stack.train_epoch, "one": alone.train_epoch})
    ratio = statistics.median(seconds["ten"]) / statistics.median(seconds["one"])
    note = f"attention, {device.type}, median of {ROUNDS} epochs of {alone.plan.num_batches} batches on each side, alternating"
    return [Figure(f"train.vectorised{NUM_TOGETHER}_over_one", ratio, "x", "lower", 1.5, note)]


class _Bare(Protocol):
    def train_epoch(self) -> float:
        """One pass over the training rows; gives the summed loss."""


def _compare(name: str, learner: Learner, bare: _Bare) -> Figure:
    seconds = _alternate({"ours": learner.train_epoch, "bare": bare.train_epoch})
    ratio = statistics.median(seconds["bare"]) / statistics.median(seconds["ours"])
    num_batches = learner.plan.num_batches
    rate = num_batches / statistics.median(seconds["ours"])
    note = f"ours {rate:.0f} batches/s, median of {ROUNDS} epochs of {num_batches} batches on each side, alternating"
    return Figure(f"train.{name}.steps_over_bare", ratio, "x", "higher", 0.9, note)


def _alternate(sides: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each side's epochs, in turns, after one of each to warm up."""
    for run_epoch in sides.values():
        run_epoch()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for round_ in range(ROUNDS):
        for side in sorted(sides, reverse=round_ % 2 == 1):
            start_s = perf_counter()
            sides[side]()
            seconds[side].append(perf_counter() - start_s)
    return seconds


def _make_learner(model: FusionModelConfig, num_clips: int, modalities: Sequence[Modality], num_frames: int | None = None) -> Learner:
    return _make_learners(model, num_clips, modalities, num_frames, torch.device("cpu"), range(1))[0]


def _make_learners(
    model: FusionModelConfig,
    num_clips: int,
    modalities: Sequence[Modality],
    num_frames: int | None,
    device: torch.device,
    seeds: Sequence[int],
) -> list[Learner]:
    """Random features of a corpus of six classes with valence; with `num_frames` every clip has so many frames."""
    random = np.random.default_rng(0)
    num_rows = num_clips * (num_frames or 1)
    offsets_N1 = None if num_frames is None else np.arange(num_clips + 1) * num_frames
    specs = [StreamSpec(modality, modality, DIM, num_frames is not None) for modality in modalities]
    data = TrainingData(
        corpus="random",
        task=TaskSpec(tuple(f"class{number}" for number in range(NUM_CLASSES)), ("valence",)),
        clip_ids=[f"clip{number}" for number in range(num_clips)],
        speaker_ids=[None] * num_clips,
        splits=[None] * num_clips,
        folds_N=np.arange(num_clips) % 5,
        emotion_N=random.integers(0, NUM_CLASSES, num_clips),
        values={"valence": random.normal(size=num_clips).astype(np.float32)},
        streams=[
            Stream(
                spec,
                f"{spec.name}@00000000",
                ("last",),
                () if num_frames else ("mean",),
                random.normal(size=(num_rows, DIM)).astype(np.float32),
                np.ones(num_clips, bool),
                offsets_N1,
            )
            for spec in specs
        ],
    )
    config = TrainConfig(
        manifest=Path("none"),
        store="none",
        out=Path("none"),
        inputs=[StreamConfig(encoder=spec.name) for spec in specs],
        model=model,
        values=["valence"],
        class_weights="balanced",
    )
    worker = make_worker(config, data, Communicator(), device)
    partition = partitions(config.protocol, data)[0]
    return [Learner(config, worker, partition, seed) for seed in seeds]


class _BareModel(nn.Module):
    """The attention baseline without masks, names or configs."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(DIM, hidden) for _ in MODALITIES)
        self.attention = nn.Linear(hidden * len(MODALITIES), len(MODALITIES))
        self.emotion_head = nn.Linear(hidden, NUM_CLASSES)
        self.valence_head = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: list[Tensor]) -> tuple[Tensor, Tensor]:
        hidden = [torch.relu(projection(x_BD)) for projection, x_BD in zip(self.projections, streams, strict=True)]
        hidden_BSH = self.dropout(torch.stack(hidden, dim=1))
        attention_BS = torch.softmax(self.attention(hidden_BSH.flatten(1)), dim=1)
        z_BH = (attention_BS[:, :, None] * hidden_BSH).sum(dim=1)
        return self.emotion_head(z_BH), self.valence_head(z_BH).squeeze(1)


class _BareTraining:
    """A loop with nothing but the arithmetic: shuffle, index, forward, loss, backward, clip, step, schedule."""

    def __init__(self, learner: Learner) -> None:
        config, clips = learner.config, learner.clips
        assert isinstance(config.model, AttentionConfig)
        self.streams = list(clips.streams.values())
        self.emotion_N, self.valence_N = clips.emotion_N, clips.values["valence"]
        self.rows_N = torch.from_numpy(learner.partition.train)
        self.class_weights_C = torch.ones(NUM_CLASSES)
        self.batch_size, self.clip = config.batch_size, config.gradient_clip or 1.0
        self.model = _BareModel(config.model.hidden, config.model.dropout)
        self.parameters = list(self.model.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=config.learning_rate, fused=True)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, 10_000)

    def train_epoch(self) -> float:
        self.model.train()
        total = 0.0
        for rows_B in torch.split(self.rows_N[torch.randperm(len(self.rows_N))], self.batch_size):
            logits_BC, valence_B = self.model([x_ND[rows_B] for x_ND in self.streams])
            loss = functional.cross_entropy(logits_BC, self.emotion_N[rows_B], weight=self.class_weights_C)
            loss = loss + functional.mse_loss(valence_B, self.valence_N[rows_B])
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            clip_grad_norm_(self.parameters, self.clip)
            self.optimiser.step()
            self.schedule.step()
            total += loss.item()
        return total


class _BareLoop:
    """A loop around a model's own steps with nothing but the arithmetic: shuffle, index, forward, loss, backward, clip, step, schedule."""

    def __init__(self, learner: Learner) -> None:
        config, clips = learner.config, learner.clips
        self.model = copy.deepcopy(learner.model)
        self.rows_N, self.clips = torch.from_numpy(learner.partition.train), clips
        self.class_weights_C = torch.ones(NUM_CLASSES)
        self.batch_size, self.clip = config.batch_size, config.gradient_clip or 1.0
        self.parameters = {part: list(weights) for part, weights in self.model.parts().items()}
        self.optimisers = {
            part: torch.optim.AdamW(weights, lr=config.learning_rate, fused=True) for part, weights in self.parameters.items()
        }
        self.schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, 10_000) for one in self.optimisers.values()]

    def train_epoch(self) -> float:
        self.model.train()
        total = 0.0
        for rows_B in torch.split(self.rows_N[torch.randperm(len(self.rows_N))], self.batch_size):
            batch = collate(self.clips, rows_B, self.clips.longest(rows_B))
            for step in self.model.steps:
                predictions = self.model.forward_step(batch, step.name)
                loss = functional.cross_entropy(predictions.logits, batch.emotion, weight=self.class_weights_C)
                loss = loss + functional.mse_loss(predictions.values["valence"], batch.values["valence"])
                for name in step.reconstructs:
                    rebuilt = predictions.reconstructions[name]
                    loss = loss + self.model.reconstruction_weight * functional.mse_loss(rebuilt.predicted, rebuilt.target)
                self.model.zero_grad()
                torch.autograd.backward(loss)
                clip_grad_norm_([weight for part in step.parts for weight in self.parameters[part]], self.clip)
                for part in step.parts:
                    self.optimisers[part].step()
                total += loss.item()
            for schedule in self.schedules:
                schedule.step()
        return total
