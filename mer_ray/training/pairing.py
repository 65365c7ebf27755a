"""Training clips that keep one of their modalities, so that a training sees a share of paired clips only (our choice).

Shapes: N clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mer_ray.batching import FrameBank, ResidentClips, Stream
from mer_ray.core.media_types import BoolArray
from mer_ray.core.seeding import derive_seed
from mer_ray.training.config import TrainConfig
from mer_ray.training.protocol import Partition, fit_seed
from mer_ray.training.training_data import IntArray, TrainingData


def kept_streams(config: TrainConfig, data: TrainingData, partition: Partition, seed: int) -> dict[str, BoolArray] | None:
    """What `draw_kept` draws for one fit, the same on each of its workers; None where all is kept."""
    if config.paired_share == 1:
        return None
    return draw_kept(data.streams, partition.train, config.paired_share, derive_seed(fit_seed(partition, seed), "pairs"))


def draw_kept(streams: Sequence[Stream], train: IntArray, paired_share: float, seed: int) -> dict[str, BoolArray]:
    """Which clips keep each stream, bool (N,) by its name; other clips than the `train` rows keep all, and so do those of one modality.

    Of the training clips with several modalities round((1 - share) * their number) keep one: that of theirs which the fewest have kept so
    far. With the same seed a smaller share takes modalities from more clips, and from the others the same.
    """
    random = np.random.default_rng(seed)
    modalities = list(dict.fromkeys(stream.spec.modality for stream in streams))
    kept = {stream.spec.name: np.ones(len(stream.present_N), bool) for stream in streams}
    having = {one: np.any([stream.present_N for stream in streams if stream.spec.modality == one], axis=0) for one in modalities}
    several = train[np.sum([having_N[train] for having_N in having.values()], axis=0) > 1]
    order = random.permutation(several)[: round((1 - paired_share) * len(several))]
    counts = dict.fromkeys(modalities, 0)
    for row in order.tolist():
        fewest = min(counts[one] for one in modalities if having[one][row])
        least_kept = [one for one in modalities if having[one][row] and counts[one] == fewest]
        chosen = least_kept[int(random.integers(len(least_kept)))]
        counts[chosen] += 1
        for stream in streams:
            kept[stream.spec.name][row] = stream.spec.modality == chosen
    return kept


def keep_only(clips: ResidentClips, kept: Mapping[str, BoolArray]) -> ResidentClips:
    """The clips without what is not kept: absent, pooled rows zero, no frames."""
    host = {name: torch.from_numpy(kept_N) for name, kept_N in kept.items()}
    on_device = {name: kept_N.to(clips.emotion_N.device) for name, kept_N in host.items()}
    return replace(
        clips,
        streams={name: torch.where(_for_copies(on_device[name], x_RD)[:, None], x_RD, 0.0) for name, x_RD in clips.streams.items()},
        present={name: present_N & on_device[name] for name, present_N in clips.present.items()},
        pooled={name: replace(bank, present_N=bank.present_N & on_device[name]) for name, bank in clips.pooled.items()},
        frames={name: _without(bank, host[name], on_device[name]) for name, bank in clips.frames.items()},
    )


def _without(bank: FrameBank, host_kept_N: Tensor, kept_N: Tensor) -> FrameBank:
    return replace(
        bank,
        lengths_N=bank.lengths_N * _for_copies(kept_N, bank.lengths_N),
        host_lengths_N=bank.host_lengths_N * _for_copies(host_kept_N, bank.lengths_N),
    )


def _for_copies(kept_N: Tensor, rows: Tensor) -> Tensor:
    """The same for the degraded copies, whose rows lie behind those of the clean clips."""
    return kept_N.repeat(len(rows) // len(kept_N)) if len(kept_N) else kept_N
