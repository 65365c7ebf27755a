"""Features of the same clips under several conditions: the clean ones, and degraded copies of the encoders of one modality.

Shapes: N clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mer_ray.batching import EncoderFeatures
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.media_types import FloatArray
from mer_ray.encoders import EncoderConfig, encoder_identity, encoder_key
from mer_ray.prediction.bundle import Bundle
from mer_ray.prediction.bundle_encoders import bundle_encoders, is_imported
from mer_ray.prediction.clip_features import ClipFeatures, absent_features, read_clip_features
from mer_ray.prediction.media_features import extract_lacking
from mer_ray.prediction.noise_conditions import Condition
from mer_ray.prediction.noise_config import NoiseConfig
from mer_ray.prediction.recogniser import refuse_imported
from mer_ray.prediction.wanted_clips import WantedClips
from mer_ray.store.record import EncoderRecord


@dataclass(frozen=True)
class ConditionFeatures:
    """Features by the bundle's own encoder keys, why clips failed, the copies that they are of, and the ratio of added noise (N,)."""

    by_key: dict[str, EncoderFeatures]
    faults: dict[str, list[str]]
    copies: dict[str, str]
    snr_db: FloatArray | None = None


class ConditionSource:
    """Extracts what any condition needs, all in one pass over the media, and reads one condition after the other."""

    def __init__(self, config: NoiseConfig, work: Path, bundle: Bundle, wanted: WantedClips, conditions: Sequence[Condition]) -> None:
        """Extract.

        Raises:
            ClusterError, ConfigError, ManifestError, StoreError: as `extract_lacking`; or an encoder that has no degraded copy.

        """
        self._bundle, self._wanted = bundle, wanted
        if config.store is None:
            refuse_imported(bundle, ())
        encoders = bundle_encoders(bundle, config.weights, (), config.allow_plugins)
        self._copies = {one.name: _copies(bundle, encoders, one) for one in conditions if one.degrade and not one.is_removal}
        copies = [copy for of_condition in self._copies.values() for copy in of_condition.values()]
        self._store = extract_lacking(config, work, wanted, [*encoders.values(), *copies])
        self._clean = self._read(dict(bundle.facts.encoders), {key: key for key in bundle.facts.encoders})

    def read(self, condition: Condition) -> ConditionFeatures:
        """Features under one condition.

        Raises:
            RunError: clips whose clean features are there, but whose media could not be degraded.
            StoreError: the store cannot be read.

        """
        clean = self._clean
        if condition.modality is None:
            return ConditionFeatures(clean.by_key, clean.faults, {})
        if condition.is_removal:
            affected = {key: one for key, one in self._bundle.facts.encoders.items() if one.modality == condition.modality}
            absent = {key: absent_features(one, self._bundle.wanted[key], len(self._wanted.clip_ids)) for key, one in affected.items()}
            return ConditionFeatures(clean.by_key | absent, clean.faults, {})
        keys = {key: encoder_key(copy) for key, copy in self._copies[condition.name].items()}
        records = {keys[key]: _record(self._bundle.facts.encoders[key], copy) for key, copy in self._copies[condition.name].items()}
        found = self._read(records, {copy: key for key, copy in keys.items()})
        for key, copy in keys.items():
            refuse_lost(condition, clean.by_key[key], found.by_key[copy], self._wanted.clip_ids, found.faults)
        degraded = {key: replace(found.by_key[copy], encoder=key) for key, copy in keys.items()}
        ratios = next(iter(found.snr_db.values()), None)
        return ConditionFeatures(clean.by_key | degraded, clean.faults, keys, ratios)

    def _read(self, records: dict[str, EncoderRecord], clean_key: dict[str, str]) -> ClipFeatures:
        layers = {key: self._bundle.wanted[clean_key[key]] for key in records}
        return read_clip_features(self._store, self._wanted.manifest.facts.corpus, records, layers, self._wanted.clip_ids)


def refuse_lost(
    condition: Condition, clean: EncoderFeatures, degraded: EncoderFeatures, clip_ids: Sequence[str], faults: Mapping[str, Sequence[str]]
) -> None:
    """Refuse to compare clips that lost a modality by accident.

    Raises:
        RunError: clips with clean features, but without those of their degraded media; the first reason of one.

    """
    lost = np.flatnonzero(clean.present_N & ~degraded.present_N).tolist()
    if lost:
        reason = next(iter(faults.get(clip_ids[lost[0]], ())), "its features are absent")
        raise RunError(
            f"{condition.name}: {len(lost)} of {say_count(len(clip_ids), 'clip')} have features of {clean.encoder}, but not of degraded "
            f"media, e.g. {clip_ids[lost[0]]}: {reason}; mount or mend the media, then extract them with --retry-failed"
        )


def _copies(bundle: Bundle, encoders: dict[str, EncoderConfig], condition: Condition) -> dict[str, EncoderConfig]:
    """By the key of each encoder of the condition's modality its degraded copy.

    Raises:
        ConfigError: an encoder whose features were imported, or one that read degraded media in the training.

    """
    assert condition.degrade is not None and condition.modality is not None
    found = {}
    for key, record in bundle.facts.encoders.items():
        if record.modality != condition.modality:
            continue
        which = "snr_db" if condition.modality == "audio" else "blur"
        if is_imported(record):
            raise ConfigError(
                f"noise.{which}: encoder {key}: its features were imported, so that no code here makes them from degraded media; "
                f"set noise.{which}: [], or take a bundle of encoders that run here"
            )
        if record.degrade is not None:
            raise ConfigError(
                f"noise.{which}: encoder {key}: the bundle was trained on degraded media alone; set noise.{which}: [], or take a bundle "
                "that was trained on clean ones"
            )
        found[key] = encoders[key].degraded(condition.degrade)
    return found


def _record(clean: EncoderRecord, copy: EncoderConfig) -> EncoderRecord:
    """What the store says of a degraded copy."""
    return clean.model_copy(
        update={"key": encoder_key(copy), "identity": encoder_identity(copy), "config": copy.model_dump(mode="json")},
    )
