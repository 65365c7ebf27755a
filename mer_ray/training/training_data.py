"""Everything that a run trains on, as arrays in the order of the manifest's rows.

Shapes: N clips, C classes.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from mer_ray.batching import ResidentClips, Stream, fit_normalisation, normalise_speakers
from mer_ray.batching.normalise import Normalisation, Normalise
from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.config import digest_of
from mer_ray.core.media_types import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Features, labels and who belongs where.

    `emotion_N` has -1 = unknown, `folds_N` -1 = none, `values[name]` NaN = unknown, `emotion_probs_NC` a row of zeros = unknown
    (None where the corpus has no soft labels); `num_failed[encoder]` clips could not be extracted and count as lacking the modality.
    `label_maps` and `corrections`: what the manifest's facts say of where its labels come from.
    """

    corpus: str
    task: TaskSpec
    clip_ids: list[str]
    speaker_ids: list[str | None]
    splits: list[str | None]
    folds_N: IntArray
    emotion_N: IntArray
    values: dict[str, FloatArray]
    streams: list[Stream]
    emotion_probs_NC: FloatArray | None = None
    num_failed: dict[str, int] = field(default_factory=dict)
    label_maps: dict[str, dict[str, str | None]] | None = None
    corrections: tuple[str, ...] | None = None

    @property
    def num_clips(self) -> int:
        """N."""
        return len(self.clip_ids)

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        """The streams as models are told of them."""
        return tuple(stream.spec for stream in self.streams)

    @property
    def is_labelled(self) -> BoolArray:
        """Clips with any label that this task trains on."""
        known_N = self.emotion_N >= 0
        if self.emotion_probs_NC is not None:
            known_N = known_N | (self.emotion_probs_NC.sum(axis=1) > 0)
        for value_N in self.values.values():
            known_N = known_N | ~np.isnan(value_N)
        return known_N

    def class_counts(self, rows: IntArray) -> FloatArray:
        """Labelled clips per class (C,); soft labels count by their shares."""
        if self.emotion_probs_NC is not None:
            counts_C: FloatArray = self.emotion_probs_NC[rows].sum(axis=0)
            return counts_C
        known_N = self.emotion_N[rows]
        return np.bincount(known_N[known_N >= 0], minlength=len(self.task.classes)).astype(np.float32)

    def digest(self) -> str:
        """The sha256 of ids, labels, folds, splits and features: which data a run is trained on."""
        labels = [self.folds_N.tolist(), self.emotion_N.tolist(), {name: _shown(value_N) for name, value_N in self.values.items()}]
        soft = None if self.emotion_probs_NC is None else _shown(self.emotion_probs_NC.ravel())
        streams = [[stream.spec.name, stream.encoder, *stream.layers, _content(stream)] for stream in self.streams]
        return digest_of([self.corpus, self.task.classes, self.clip_ids, self.speaker_ids, self.splits, labels, soft, streams])


def _shown(value_N: FloatArray) -> list[str]:
    return [f"{value:.6g}" for value in value_N.tolist()]


def _content(stream: Stream) -> str:
    """Features extracted anew from changed media are other data, whatever the encoder's identity."""
    return hashlib.sha256(np.ascontiguousarray(stream.x_ND).tobytes() + np.packbits(stream.present_N).tobytes()).hexdigest()


class DeviceClips:
    """The clips of a run on one device; `normalised` gives them as one partition's training rows see them."""

    def __init__(self, data: TrainingData, normalise: Normalise, device: torch.device) -> None:
        self.device = device
        self._present = {stream.spec.name: torch.tensor(stream.present_N, device=device) for stream in data.streams}
        self._streams = {stream.spec.name: torch.tensor(stream.x_ND, device=device) for stream in data.streams}
        self._of_speakers = normalise == "speaker"
        if self._of_speakers:
            self._streams = {name: normalise_speakers(x_ND, self._present[name], data.speaker_ids) for name, x_ND in self._streams.items()}
        self._emotion_N = torch.tensor(data.emotion_N, device=device)
        self._values = {name: torch.tensor(value_N, device=device) for name, value_N in data.values.items()}
        probs_NC = data.emotion_probs_NC
        self._emotion_probs_NC = None if probs_NC is None else torch.tensor(probs_NC, device=device)

    def normalised(self, train_rows: IntArray) -> tuple[ResidentClips, dict[str, Normalisation]]:
        """All clips normalised by statistics of the training rows only, and those statistics (none where speakers' own were used)."""
        if self._of_speakers:
            return self._resident(self._streams), {}
        rows = torch.from_numpy(train_rows).to(self.device)
        statistics = {name: fit_normalisation(x_ND[rows], self._present[name][rows]) for name, x_ND in self._streams.items()}
        return self._resident({name: one.apply(self._streams[name], self._present[name]) for name, one in statistics.items()}), statistics

    def _resident(self, streams: dict[str, torch.Tensor]) -> ResidentClips:
        return ResidentClips(streams, self._present, self._emotion_N, self._values, self._emotion_probs_NC)
