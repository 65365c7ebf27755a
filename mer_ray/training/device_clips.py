"""The clips of a run on one device, normalised for one partition at a time; degraded copies by the statistics of the clean features.

Shapes: N clips, R rows (clips of pooled streams, frames of others), D feature dimension, K speakers.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mer_ray.batching import (
    FrameBank,
    Normalisation,
    Normalise,
    PooledBank,
    ResidentClips,
    StoredArray,
    Stream,
    fit_groups,
    fit_normalisation,
    speaker_groups,
)
from mer_ray.core.media_types import BoolArray
from mer_ray.training.training_data import IntArray, TrainingData


class DeviceClips:
    """All clips on a device; `normalised` gives them as one partition's training rows see them."""

    def __init__(self, data: TrainingData, normalise: Normalise, device: torch.device) -> None:
        self.device = device
        self._last: tuple[tuple[bytes, ...], ResidentClips, dict[str, Normalisation]] | None = None
        self._streams = {stream.spec.name: _DeviceStream(stream, device) for stream in data.streams}
        self._emotion_N = torch.tensor(data.emotion_N, device=device)
        self._group_N = speaker_groups(data.speaker_ids).to(device) if normalise == "speaker" else None
        # Speakers' own statistics are the same for every partition that keeps all.
        self._by_speaker = self._fit_speakers({})
        self._values = {name: torch.tensor(value_N, device=device) for name, value_N in data.values.items()}
        probs_NC = data.emotion_probs_NC
        self._emotion_probs_NC = None if probs_NC is None else torch.tensor(probs_NC, device=device)
        weight_N = data.weight_N
        self._weight_N = None if weight_N is None else torch.tensor(weight_N, device=device)

    def normalised(
        self, train_rows: IntArray, kept: Mapping[str, BoolArray] | None = None
    ) -> tuple[ResidentClips, dict[str, Normalisation]]:
        """All clips normalised by statistics of the training rows only, and those statistics (none where speakers' own were used).

        Of a stream in `kept` statistics see only the clips that keep it, bool (N,) by stream; the clips have all. The last partition's are
        kept: its seeds share them.
        """
        kept = kept or {}
        key = (train_rows.tobytes(), *[kept_N.tobytes() for kept_N in kept.values()])
        if self._last is None or self._last[0] != key:
            on_device = {name: torch.from_numpy(kept_N).to(self.device) for name, kept_N in kept.items()}
            self._last = (key, *self._normalise(train_rows, on_device))
        return self._last[1], self._last[2]

    def _fit_speakers(self, kept: Mapping[str, Tensor]) -> dict[str, Normalisation]:
        if self._group_N is None:
            return {}
        everybody_N = torch.ones_like(self._emotion_N, dtype=torch.bool)
        return {name: one.fit_speakers(self._group_N, kept.get(name, everybody_N)) for name, one in self._streams.items()}

    def _normalise(self, train_rows: IntArray, kept: Mapping[str, Tensor]) -> tuple[ResidentClips, dict[str, Normalisation]]:
        rows = torch.from_numpy(train_rows).to(self.device)
        train_N = torch.zeros(len(self._emotion_N), dtype=torch.bool, device=self.device).index_fill(0, rows, True)
        by_speaker = self._fit_speakers(kept) if kept else self._by_speaker
        statistics = {} if by_speaker else {name: one.fit(train_N & kept.get(name, train_N)) for name, one in self._streams.items()}
        group_N = torch.zeros_like(self._emotion_N) if self._group_N is None else self._group_N
        streams: dict[str, Tensor] = {}
        frames: dict[str, FrameBank] = {}
        pooled: dict[str, PooledBank] = {}
        for name, one in self._streams.items():
            found = by_speaker.get(name) or Normalisation(statistics[name].mean_D[None], statistics[name].scale_D[None])
            if one.columns:
                pooled[name] = PooledBank(one.columns, one.present_N, found, group_N)
            elif one.starts_N is None:
                normalisation = Normalisation(found.mean_D[group_N], found.scale_D[group_N])
                streams[name] = torch.cat([normalisation.apply(copy.x_RD, one.present_N) for copy in (one, *one.copies)])
            else:
                frames[name] = one.bank(found, group_N)
        present = {name: one.present_N for name, one in self._streams.items()}
        of_clips = self._emotion_N, self._values, self._emotion_probs_NC, self._weight_N
        return ResidentClips(streams, present, *of_clips, frames, pooled), statistics


class _DeviceStream:
    """One stream on the device: a row per clip, or a row per frame with where each clip's frames lie."""

    def __init__(self, stream: Stream, device: torch.device) -> None:
        # An index needs something to point at, also where no clip has a frame.
        x_RD = stream.x_RD if len(stream.x_RD) else np.zeros((1, stream.spec.dim), np.float32)
        self.x_RD = _without_a_copy(x_RD, device)
        self.present_N = torch.tensor(stream.present_N, device=device)
        self.columns = tuple(_without_a_copy(column_ND, device) for column_ND in stream.columns)
        self.copies = tuple(_DeviceStream(copy, device) for copy in stream.copies)
        self.starts_N: Tensor | None = None
        if stream.offsets_N1 is not None:
            # Frames of clips that failed lie there, too, and are none of the clip's.
            self.host_lengths_N = torch.from_numpy(np.where(stream.present_N, np.diff(stream.offsets_N1), 0))
            self.starts_N = torch.tensor(stream.offsets_N1[:-1], device=device)
            self._clip_R = torch.repeat_interleave(
                torch.arange(len(stream.present_N), device=device), torch.tensor(np.diff(stream.offsets_N1), device=device)
            )
            # All partitions share the frames and those of the copies behind them: joined once, of which each has a view.
            self._bank_TD = torch.cat([one.x_RD for one in (self, *self.copies)]) if self.copies else self.x_RD
            for one, x_TD in zip((self, *self.copies), torch.split(self._bank_TD, self._num_rows()), strict=True):
                one.x_RD = x_TD

    def fit(self, clips_N: Tensor) -> Normalisation:
        """Statistics of the rows of some clips."""
        if self.columns:
            return _side_by_side([fit_normalisation(column_ND, clips_N & self.present_N) for column_ND in self.columns])
        return fit_normalisation(self.x_RD, self._rows_of(clips_N))

    def fit_speakers(self, group_N: Tensor, clips_N: Tensor) -> Normalisation:
        """Statistics of every speaker's rows of some clips, (K, D)."""
        if self.columns:
            kept_N, num_groups = clips_N & self.present_N, int(group_N.max()) + 1
            return _side_by_side([fit_groups(column_ND, kept_N, group_N, num_groups) for column_ND in self.columns])
        group_R = group_N if self.starts_N is None else self._padded(group_N[self._clip_R], -1)
        return fit_groups(self.x_RD, self._rows_of(clips_N), group_R, int(group_N.max()) + 1)

    def bank(self, normalisation: Normalisation, group_N: Tensor) -> FrameBank:
        """The frames with what normalises them, those of the copies behind them."""
        starts, lengths, num_before = [], [], np.cumsum([0, *self._num_rows()]).tolist()
        for one, num_rows in zip((self, *self.copies), num_before, strict=False):
            assert one.starts_N is not None
            starts.append(one.starts_N + num_rows)
            lengths.append(one.host_lengths_N)
        host_lengths = torch.cat(lengths)
        groups = group_N.repeat(len(lengths))
        return FrameBank(self._bank_TD, torch.cat(starts), host_lengths.to(self.x_RD.device), host_lengths, normalisation, groups)

    def _num_rows(self) -> list[int]:
        return [len(one.x_RD) for one in (self, *self.copies)]

    def _rows_of(self, clips_N: Tensor) -> Tensor:
        kept_N = clips_N & self.present_N
        return kept_N if self.starts_N is None else self._padded(kept_N[self._clip_R], False)

    def _padded(self, value_R: Tensor, fill: int | bool) -> Tensor:
        """A value per row of `x_RD`, which has one row where there is no frame at all."""
        return value_R if len(value_R) else value_R.new_full((len(self.x_RD),), fill)


def _side_by_side(parts: list[Normalisation]) -> Normalisation:
    """Statistics of the columns of a stream as those of the stream: (D,), or (K, D)."""
    return Normalisation(torch.cat([one.mean_D for one in parts], dim=-1), torch.cat([one.scale_D for one in parts], dim=-1))


def _without_a_copy(column_ND: StoredArray, device: torch.device) -> Tensor:
    """On a CPU the array itself, which may lie in memory that others read, too: nobody writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(column_ND).to(device)
