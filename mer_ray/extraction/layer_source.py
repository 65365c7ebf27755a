"""One layer of one encoder of a store, clip after clip in the order of a manifest.

Shapes: N clips, T frames, D feature dimension.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mer_ray.core.config import nearest
from mer_ray.core.errors import ConfigError, StoreError
from mer_ray.core.manifest import Manifest
from mer_ray.core.media_types import FloatArray
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import Store
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.store.record import EncoderRecord

# One reading: vectors by the thousand, frames within memory.
POOLED_CLIPS_AT_ONCE = 4096
BYTES_AT_ONCE = 64 * 2**20


@dataclass(frozen=True)
class ClipFeatures:
    """One clip's layer in float32; `frames_TD` None where frames are not kept or not wanted."""

    clip_id: str
    num_frames: int
    mean_D: FloatArray
    std_D: FloatArray
    frames_TD: FloatArray | None


class LayerSource:
    """The features of a layer: `clip_ids` have some, `left_out` counts the others by reason; `has_frames`: frames are kept and wanted."""

    def __init__(self, store: Store, manifest: Manifest, encoder: str, layer: str | None, with_frames: bool) -> None:
        """Find out which clips have current features.

        Raises:
            ConfigError: no such layer, or several and none named.
            StoreError: no such encoder, or it has features of none of the clips.

        """
        self.store, self.manifest, self.corpus = store, manifest, manifest.facts.corpus
        self.record: EncoderRecord = resolve_encoder(store, self.corpus, encoder)
        self.layer = _choose_layer(self.record, layer)
        self.dim = self.record.layers[self.layer]
        self.has_frames = with_frames and self.layer in self.record.sequences
        wanted = manifest.table["clip_id"].to_pylist()
        pooled = read_pooled(self.store, self.corpus, self.record, [], [], wanted)
        failed = set(read_failures(self.store, self.corpus, self.record.key)["clip_id"].to_pylist())
        missing = set(pooled.missing)
        self.num_frames = dict(zip(wanted, pooled.num_frames.tolist(), strict=True))
        reasons = [_why_left_out(clip_id, count, failed, missing) for clip_id, count in self.num_frames.items()]
        self.left_out = dict(Counter(reason for reason in reasons if reason is not None))
        self.clip_ids = [clip_id for clip_id, reason in zip(wanted, reasons, strict=True) if reason is None]
        if not self.clip_ids:
            raise StoreError(
                f"{store.url}: {self.record.key} has features of none of the {len(wanted)} clips of the manifest; "
                "run `mer-ray extract` or `mer-ray import` first"
            )

    def num_bytes(self, clip_id: str) -> int:
        """How much a clip takes as float32, its frames as at the encoder's own rate."""
        return 4 * self.dim * (2 + (self.num_frames[clip_id] if self.has_frames else 0))

    def read(self, clip_ids: Sequence[str]) -> Iterator[ClipFeatures]:
        """The features of some clips, in their order."""
        for some in self._portions(clip_ids):
            pooled = read_pooled(self.store, self.corpus, self.record, [self.layer], clip_ids=some)
            mean_ND, std_ND = (pooled.columns[f"{name}_{self.layer}"].astype(np.float32) for name in ("mean", "std"))
            frames = self._read_frames(some)
            for index, clip_id in enumerate(some):
                yield ClipFeatures(clip_id, int(pooled.num_frames[index]), mean_ND[index], std_ND[index], frames[index])

    def _read_frames(self, clip_ids: Sequence[str]) -> list[FloatArray | None]:
        if not self.has_frames:
            return [None] * len(clip_ids)
        stored = read_sequences(self.store, self.corpus, self.record, [self.layer], clip_ids)
        values_TD, offsets = stored.values[self.layer], stored.offsets[self.layer]
        return [values_TD[start:end].astype(np.float32) for start, end in pairwise(offsets)]

    def _portions(self, clip_ids: Sequence[str]) -> Iterator[list[str]]:
        portion: list[str] = []
        size = 0
        for clip_id in clip_ids:
            portion.append(clip_id)
            size += self.num_bytes(clip_id)
            if size >= BYTES_AT_ONCE or len(portion) == POOLED_CLIPS_AT_ONCE:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion


def _choose_layer(record: EncoderRecord, layer: str | None) -> str:
    if layer is None and len(record.layers) == 1:
        return next(iter(record.layers))
    if layer is None:
        raise ConfigError(f"layer: {record.key} has {len(record.layers)}; write one of {', '.join(record.layers)}")
    if layer not in record.layers:
        raise ConfigError(f"layer: {record.key} has no layer {layer!r}{nearest(layer, list(record.layers))}")
    return layer


def _why_left_out(clip_id: str, num_frames: int, failed: set[str], missing: set[str]) -> str | None:
    if clip_id in failed:
        return "failed"
    if clip_id in missing:
        return "never extracted"
    return None if num_frames else "lacks the modality"
