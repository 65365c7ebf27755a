"""Everything that a run trains on, as arrays in the order of the manifest's rows.

Shapes: N clips, C classes.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mer_ray.batching import Stream
from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.config import digest_of
from mer_ray.core.media_types import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Features, labels and who belongs where.

    `emotion_N` has -1 = unknown, `folds_N` -1 = none, `values[name]` NaN = unknown, `emotion_probs_NC` a row of zeros = unknown
    (None where the corpus has no soft labels); `num_failed[encoder]` clips could not be extracted and count as lacking the modality.
    `label_maps` and `corrections`: what the manifest's facts say of where its labels come from. `weight_N`: how much each clip counts in
    the loss, None = all alike. `also_train_N`: clips outside the training split that train all the same, with the soft labels they have.
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
    weight_N: FloatArray | None = None
    also_train_N: BoolArray | None = None

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

    @property
    def class_shares(self) -> FloatArray:
        """The soft labels (N, C), or hard ones as one-hot rows; a row of zeros = unknown."""
        if self.emotion_probs_NC is not None:
            return self.emotion_probs_NC
        shares_NC: FloatArray = (self.emotion_N[:, None] == np.arange(len(self.task.classes))).astype(np.float32)
        return shares_NC

    def class_counts(self, rows: IntArray) -> FloatArray:
        """Labelled clips per class (C,); soft labels count by their shares, clips by their weights."""
        shares_NC = self.class_shares[rows]
        counts_C: FloatArray = (shares_NC if self.weight_N is None else shares_NC * self.weight_N[rows, None]).sum(axis=0)
        return counts_C

    def digest(self) -> str:
        """The sha256 of ids, labels, folds, splits and features: which data a run is trained on."""
        labels = [self.folds_N.tolist(), self.emotion_N.tolist(), {name: _shown(value_N) for name, value_N in self.values.items()}]
        soft = None if self.emotion_probs_NC is None else _shown(self.emotion_probs_NC.ravel())
        streams = [
            [stream.spec.name, one.encoder, *stream.layers, _content(one)] for stream in self.streams for one in (stream, *stream.copies)
        ]
        more = [] if self.weight_N is None else [_shown(self.weight_N)]
        more += [] if self.also_train_N is None else [self.also_train_N.tolist()]
        return digest_of([self.corpus, self.task.classes, self.clip_ids, self.speaker_ids, self.splits, labels, soft, streams, *more])


def _shown(value_N: FloatArray) -> list[str]:
    return [f"{value:.6g}" for value in value_N.tolist()]


def _content(stream: Stream) -> str:
    """Features extracted anew from changed media are other data, whatever the encoder's identity."""
    digest = hashlib.sha256(np.ascontiguousarray(stream.x_RD).data)
    digest.update(np.packbits(stream.present_N).tobytes())
    if stream.offsets_N1 is not None:
        digest.update(stream.offsets_N1.tobytes())
    return digest.hexdigest()
