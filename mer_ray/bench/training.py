"""What the training loop adds to the arithmetic.

Shapes: N clips, B clips of a batch, D feature dimension, S streams, H hidden.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from mer_ray.batching import Stream, StreamConfig
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.media_types import MODALITIES
from mer_ray.models import AttentionConfig
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.fitting import Learner
from mer_ray.training.protocol import partitions
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import make_worker

NUM_CLIPS, DIM, NUM_CLASSES = 3373, 1024, 6
ROUNDS = 5


def measure_training() -> list[Figure]:
    """`train.attention.steps_over_bare`: epochs of the training part of MER2023's size, three streams of 1,024, all cores.

    Bare: the attention baseline and its loop as one writes them by hand for complete clips, on the same tensors.
    """
    torch.set_num_threads(num_cores())
    learner = _make_learner()
    bare = _BareTraining(learner)
    sides: dict[str, Callable[[], object]] = {"ours": learner.train_epoch, "bare": bare.train_epoch}
    for run_epoch in sides.values():
        run_epoch()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(ROUNDS):
        for name in sorted(sides, reverse=round_ % 2 == 1):
            start_s = perf_counter()
            sides[name]()
            seconds[name].append(perf_counter() - start_s)
    ratio = statistics.median(seconds["bare"]) / statistics.median(seconds["ours"])
    num_steps = len(torch.split(torch.from_numpy(learner.partition.train), learner.config.batch_size))
    rate = num_steps / statistics.median(seconds["ours"])
    note = f"ours {rate:.0f} steps/s, median of {ROUNDS} epochs of {num_steps} steps on each side, alternating"
    return [Figure("train.attention.steps_over_bare", ratio, "x", "higher", 0.9, note)]


def _make_learner() -> Learner:
    random = np.random.default_rng(0)
    specs = [StreamSpec(modality, modality, DIM) for modality in MODALITIES]
    data = TrainingData(
        corpus="random",
        task=TaskSpec(tuple(f"class{number}" for number in range(NUM_CLASSES)), ("valence",)),
        clip_ids=[f"clip{number}" for number in range(NUM_CLIPS)],
        speaker_ids=[None] * NUM_CLIPS,
        splits=[None] * NUM_CLIPS,
        folds_N=np.arange(NUM_CLIPS) % 5,
        emotion_N=random.integers(0, NUM_CLASSES, NUM_CLIPS),
        values={"valence": random.normal(size=NUM_CLIPS).astype(np.float32)},
        streams=[
            Stream(
                spec,
                f"{spec.name}@00000000",
                ("last",),
                ("mean",),
                random.normal(size=(NUM_CLIPS, DIM)).astype(np.float32),
                np.ones(NUM_CLIPS, bool),
            )
            for spec in specs
        ],
    )
    config = TrainConfig(
        manifest=Path("none"),
        store="none",
        out=Path("none"),
        inputs=[StreamConfig(encoder=spec.name) for spec in specs],
        values=["valence"],
        class_weights="balanced",
        device="cpu",
    )
    worker = make_worker(config, data, Communicator(), torch.device("cpu"))
    return Learner(config, worker, partitions(config.protocol, data)[0], seed=0)


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
