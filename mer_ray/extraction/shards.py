"""The work cut into shards: clips that travel, are decoded, encoded and written together.

Shapes: N clips of the plan, K encoder keys of the pass.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import AudioFormat, Clip, FloatArray, FrameFormat, InputFormat
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.plan import UNKNOWN_DURATION_S, ExtractionPlan

# Enough shards for each actor that the slowest one finishes soon after the others.
SHARDS_PER_ACTOR = 12
# A file whose size no listing told is planned as a long clip.
UNKNOWN_FILE_BYTES = 50 * 2**20


@dataclass(frozen=True)
class ShardClip:
    """A clip and, for each encoder key that it lacks, the hash of the input it is encoded from."""

    clip: Clip
    input_hashes: dict[str, str]


@dataclass(frozen=True)
class Shard:
    """Clips of similar length, and the seconds of media in them."""

    number: int
    clips: tuple[ShardClip, ...]

    @property
    def media_s(self) -> float:
        """Seconds of media, as the manifest knows them."""
        return sum(UNKNOWN_DURATION_S if item.clip.duration_s is None else item.clip.duration_s for item in self.clips)


class ShardList:
    """The shards of one pass, longest clips first; each is made when it is asked for, because a million clips are many objects."""

    def __init__(self, plan: ExtractionPlan, keys: Sequence[str], rows: Sequence[npt.NDArray[np.int64]]) -> None:
        self._plan, self._keys, self._rows = plan, keys, rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_clips(self) -> int:
        """Clips of all shards."""
        return sum(map(len, self._rows))

    @property
    def media_s(self) -> float:
        """Seconds of media of all shards."""
        return float(sum(self._plan.durations_s[rows].sum(dtype=np.float64) for rows in self._rows))

    def __iter__(self) -> Iterator[Shard]:
        return map(self._make, range(len(self)))

    def _make(self, number: int) -> Shard:
        plan = self._plan
        return Shard(
            number,
            tuple(
                ShardClip(plan.clips[row], {key: plan.hashes[key][row].as_py() for key in self._keys if plan.lacks[key][row]})
                for row in self._rows[number].tolist()
            ),
        )


def cut_shards(plan: ExtractionPlan, config: ExtractConfig, layout: Layout, keys: Collection[str] | None = None) -> ShardList:
    """Shards of the clips that lack some of `keys` (None: any), within the budgets of decoded bytes, media time and fetched bytes.

    The clips of a shard lack the same encoders and are of similar length.
    """
    chosen = [key for key in plan.keys if keys is None or key in keys]
    lacks_NK = np.stack([plan.lacks[key] for key in chosen], axis=1)
    pending_N = np.flatnonzero(lacks_NK.any(axis=1))
    if not len(pending_N):
        return ShardList(plan, chosen, [])
    durations_N = plan.durations_s[pending_N]
    sets_SK, set_N = np.unique(lacks_NK[pending_N], axis=0, return_inverse=True)
    bytes_N = np.zeros(len(pending_N), np.float64)
    for number, lacks_K in enumerate(sets_SK):
        formats = {plan.keys[key].wanted_format for key, is_lacking in zip(chosen, lacks_K, strict=True) if is_lacking}
        bytes_N[set_N == number] = decoded_bytes(durations_N[set_N == number], formats)
    fetched_N = np.array([_fetched_bytes(plan.clips[row]) for row in pending_N.tolist()], np.float64)
    share = 1 / (SHARDS_PER_ACTOR * layout.num_actors)
    costs_BN = np.stack(
        [
            bytes_N / min(config.shard_mb * 2**20, max(bytes_N.sum() * share, 1.0)),
            durations_N / min(config.shard_media_s, max(float(durations_N.sum(dtype=np.float64)) * share, 1e-3)),
            # All shards that are fetched at once share the cache, even if all of them come to one node.
            fetched_N / (config.media_cache_mb * 2**20 / layout.num_fetchers),
        ]
    )
    # Longest first: what is started last ends soon.
    order_N = np.lexsort((np.arange(len(pending_N)), -durations_N, set_N))
    shards = [pending_N[positions] for positions in _fill(order_N, set_N, costs_BN)]
    return ShardList(plan, chosen, sorted(shards, key=lambda rows: -float(plan.durations_s[rows[0]])))


def _fill(order_N: npt.NDArray[np.int64], set_N: npt.NDArray[np.int64], costs_BN: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    """Runs of clips of one set whose costs, as shares of each budget, do not exceed 1."""
    starts: list[int] = []
    used = np.zeros(len(costs_BN))
    last_set = -1
    for place, (number, costs) in enumerate(zip(set_N[order_N].tolist(), costs_BN[:, order_N].T, strict=True)):
        used += costs
        if number != last_set or (used > 1 + 1e-9).any():
            starts.append(place)
            used = costs.copy()
            last_set = number
    return np.split(order_N, starts[1:])


def decoded_bytes(durations_N: FloatArray, formats: Collection[InputFormat]) -> npt.NDArray[np.float64]:
    """The size of the decoded arrays of clips in all wanted formats (N,)."""
    total_N = np.zeros(len(durations_N), np.float64)
    for wanted in formats:
        if isinstance(wanted, AudioFormat):
            total_N += 4.0 * wanted.sample_rate_hz * durations_N
        elif isinstance(wanted, FrameFormat):
            total_N += 3.0 * wanted.size**2 * (wanted.num_frames or (wanted.rate_hz or 0.0) * durations_N)
        else:
            total_N += 100.0
    return total_N


def _fetched_bytes(clip: Clip) -> int:
    """Bytes that must be copied to the node before the clip is decoded: those on S3, of which the manifest knows the sum."""
    paths = (clip.path, clip.audio_path, clip.video_path, clip.faces_path)
    return (clip.num_bytes or UNKNOWN_FILE_BYTES) if any(path is not None and path.startswith("s3://") for path in paths) else 0
