"""Degraded copies of a run's inputs, which training clips have in place of the clean features now and then.

Shapes: N clips, R rows (clips of pooled streams, frames of others).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from mer_ray.batching import StoredArray, Stream, StreamConfig
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.media_types import Modality
from mer_ray.store.degraded_copies import find_copy
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.encoder_features import read_encoder_features, wanted_layers


def read_copies(store: Store, corpus: str, config: StreamConfig, clean: EncoderRecord, clip_ids: Sequence[str]) -> list[list[Stream]]:
    """Per degradation of `augment` the streams of this input, in the order of `StreamConfig.build`.

    Raises:
        ConfigError: a degradation that does not concern what the encoder reads.
        RunError: clips whose degraded media were never extracted.
        StoreError: the store has no such copy; the message names the extraction that makes it.

    """
    found = []
    for degrade in config.augment:
        record = find_copy(store, corpus, clean, _concerning(degrade, config, clean.modality))
        read = read_encoder_features(store, corpus, record, wanted_layers(config, record), clip_ids)
        if read.missing:
            raise RunError(
                f"{store.url}: {record.key} ({degrade.describe()}) lacks features of {len(read.missing)} of {len(clip_ids)} clips (one is "
                f"{read.missing[0]!r}); run `mer-ray extract` with this manifest, store, encoder and degrade"
            )
        found.append(config.build(read.features))
    return found


def _concerning(degrade: DegradationConfig, config: StreamConfig, modality: Modality) -> DegradationConfig:
    concerns = degrade.of(modality)
    if concerns is None:
        raise ConfigError(
            f"inputs, {config.encoder}: augment: {degrade.describe()} does not concern {modality}, which it reads; leave it out"
        )
    return concerns


def attach(clean: Stream, copies: Sequence[Stream]) -> Stream:
    """The stream with its copies, which have the clips that it has: a clip that a copy lacks keeps its clean features there."""
    return replace(clean, copies=tuple(_filled_up(copy, clean) for copy in copies))


def _filled_up(copy: Stream, clean: Stream) -> Stream:
    lacks_N = clean.present_N & ~copy.present_N
    if not lacks_N.any():
        return replace(copy, present_N=clean.present_N)
    if clean.offsets_N1 is None or copy.offsets_N1 is None:
        x_ND = cast(StoredArray, np.where(lacks_N[:, None], clean.x_RD, copy.x_RD))
        return replace(copy, x_RD=x_ND, present_N=clean.present_N)
    parts: list[StoredArray] = []
    for row, lacks in enumerate(lacks_N.tolist()):
        source, offsets_N1 = (clean.x_RD, clean.offsets_N1) if lacks else (copy.x_RD, copy.offsets_N1)
        parts.append(source[offsets_N1[row] : offsets_N1[row + 1]])
    x_TD = cast(StoredArray, np.concatenate(parts))
    return replace(copy, x_RD=x_TD, offsets_N1=np.cumsum([0, *map(len, parts)], dtype=np.int64), present_N=clean.present_N)


def refuse_unlike(inputs: Sequence[tuple[StreamConfig, Modality]]) -> None:
    """Refuse inputs of one modality of which some are degraded and others not: one clip has one sound.

    Raises:
        ConfigError: names two of them.

    """
    first: dict[Modality, StreamConfig] = {}
    for config, modality in inputs:
        other = first.setdefault(modality, config)
        if other.augment != config.augment:
            raise ConfigError(
                f"inputs: {other.encoder} and {config.encoder} read the same {modality}, but their augment differs; give both the same"
            )
