"""What is left to do: every (clip, encoder) pair whose present input has neither features nor a failure in the store.

Shapes: N clips of the manifest, in its order.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.degradation import SPEECH_LIKE, DegradationConfig
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.faces import DetectedFaces
from mer_ray.core.manifest import Manifest, ManifestFacts, read_manifest
from mer_ray.core.media_types import BoolArray, Clip, FloatArray, FrameFormat, InputFormat
from mer_ray.decoders.face_detector import load_detector
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.noise_folder import check_noise_folder
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.extraction.config import ExtractConfig, Part
from mer_ray.extraction.inputs import ABSENT, input_hash, source_path, stamp_files
from mer_ray.store.catalog import left_to_do, read_done
from mer_ray.store.layout import open_store

# A clip whose duration no header told is planned as a short utterance.
UNKNOWN_DURATION_S = 5.0


@dataclass(frozen=True)
class ExtractionPlan:
    """The clips of this run's part of the manifest, and per encoder key what is wanted and what is left.

    `hashes[key]` has the input hash of each clip, `lacks[key]` (N,) says which clips are left to do.
    """

    facts: ManifestFacts
    clips: list[Clip]
    keys: Mapping[str, EncoderConfig]
    hashes: Mapping[str, pa.Array]
    lacks: Mapping[str, BoolArray]

    @cached_property
    def durations_s(self) -> FloatArray:
        """Seconds of media of each clip, as the manifest knows them (N,)."""
        return np.array([UNKNOWN_DURATION_S if clip.duration_s is None else clip.duration_s for clip in self.clips], np.float32)

    @cached_property
    def is_pending(self) -> BoolArray:
        """(N,): the clip lacks at least one encoder."""
        pending: BoolArray = np.logical_or.reduce([np.zeros(len(self.clips), bool), *self.lacks.values()])
        return pending

    @property
    def num_pending(self) -> int:
        """Clips that lack at least one encoder."""
        return int(self.is_pending.sum())

    @property
    def media_s(self) -> float:
        """Seconds of media of these clips."""
        return float(self.durations_s[self.is_pending].sum(dtype=np.float64))

    @property
    def lacking(self) -> dict[str, EncoderConfig]:
        """The encoders that some clip lacks, by key."""
        return {key: encoder for key, encoder in self.keys.items() if self.lacks[key].any()}

    @property
    def left(self) -> dict[str, int]:
        """Clips left to do per encoder key."""
        return {key: int(lacks.sum()) for key, lacks in self.lacks.items()}

    @property
    def skipped(self) -> dict[str, int]:
        """Clips done or failed before per encoder key."""
        return {key: len(self.clips) - left for key, left in self.left.items()}

    @property
    def degraded(self) -> dict[str, str]:
        """What the media suffer, for people, of the encoder keys that read degraded ones."""
        return {key: config.degradation.describe() for key, config in self.keys.items() if config.degradation is not None}

    def wanted(self, key: str) -> pa.Table:
        """clip_id and input_hash of all clips."""
        return pa.table({"clip_id": pa.array([clip.clip_id for clip in self.clips], pa.string()), "input_hash": self.hashes[key]})


def plan_extraction(config: ExtractConfig) -> ExtractionPlan:
    """Compare manifest and store.

    Raises:
        ConfigError: an encoder asks for what it does not have, or weights are missing.
        ManifestError: no manifest, or none of its files is there.
        StoreError: the store cannot be read.

    """
    manifest = read_manifest(config.manifest)
    clips = [clip for clip in manifest.clips() if config.part is None or is_in_part(clip.clip_id, config.part)]
    check_durations(config, clips)
    keys = _by_key(config)
    check_folds(keys.values(), manifest)
    formats = dict.fromkeys(encoder.input_format for encoder in keys.values())
    stamps = stamp_files(path for wanted in formats for clip in clips if (path := source_path(clip, wanted)) is not None)
    # Encoders that read the same thing share it.
    hashes_of = {wanted: pa.array([input_hash(clip, wanted, stamps) for clip in clips], pa.string()) for wanted in formats}
    absent_of = {wanted: np.array([stamps.get(source_path(clip, wanted) or "") == ABSENT for clip in clips], bool) for wanted in formats}
    hashes = {key: hashes_of[encoder.input_format] for key, encoder in keys.items()}
    absent = {key: absent_of[encoder.input_format] for key, encoder in keys.items()}
    clip_ids = pa.array([clip.clip_id for clip in clips], pa.string())
    lacks = {key: _find_lacking(config, manifest.facts.corpus, key, clip_ids, hashes[key], absent[key]) for key in keys}
    if any((lacks[key] & absent[key]).any() for key in keys) and all(stamp == ABSENT for stamp in stamps.values()):
        _refuse_unmounted(config, manifest)
    return ExtractionPlan(manifest.facts, clips, keys, hashes, lacks)


def _by_key(config: ExtractConfig) -> dict[str, EncoderConfig]:
    """The encoders, checked as far as that goes without loading weights."""
    keys: dict[str, EncoderConfig] = {}
    for encoder in config.wanted_encoders:
        encoder.check()
        check_detector(encoder.input_format)
        check_noise(encoder.degradation, config.limits)
        if (key := encoder_key(encoder)) in keys:
            raise ConfigError(f"encoders: two of them are the same encoder {key}: they differ only in where or how fast; remove one")
        keys[key] = encoder
    return keys


def _find_lacking(config: ExtractConfig, corpus: str, key: str, clip_ids: pa.Array, hashes: pa.Array, absent_N: BoolArray) -> BoolArray:
    """(N,): the clip lacks this encoder."""
    store = open_store(config.store)
    wanted = pa.table({"clip_id": clip_ids, "input_hash": hashes, "row": np.arange(len(clip_ids))})
    lacks_N = np.zeros(len(clip_ids), bool)
    lacks_N[left_to_do(store, corpus, key, wanted, retry_failed=config.retry_failed)["row"].to_numpy()] = True
    if absent_N.any():
        # Files that were archived, or are not mounted: their features are what is known of them.
        done_N = pc.is_in(clip_ids, value_set=read_done(store, corpus, key)["clip_id"]).to_numpy(zero_copy_only=False)
        lacks_N &= ~(absent_N & done_N)
    return lacks_N


def _refuse_unmounted(config: ExtractConfig, manifest: Manifest) -> None:
    """Refuse to go through a whole corpus none of whose files is there; a part may miss its few files by chance."""
    stamps = stamp_files(path for clip in manifest.clips() for path in (clip.path, clip.audio_path, clip.video_path) if path)
    if all(stamp == ABSENT for stamp in stamps.values()):
        raise ManifestError(
            f"{config.manifest}: none of its {len(stamps)} media files is there, e.g. {next(iter(stamps))}; "
            f"mount or mend the root {manifest.facts.root}, or make the manifest again"
        )


def check_durations(config: ExtractConfig, clips: Sequence[Clip]) -> None:
    """Refuse durations that are no durations.

    Raises:
        ManifestError: a duration that is negative or not finite.

    """
    for clip in clips:
        if clip.duration_s is not None and not 0 <= clip.duration_s < math.inf:
            raise ManifestError(f"{config.manifest}: clip {clip.clip_id}: a duration of {clip.duration_s} s; make the manifest again")


def check_folds(encoders: Iterable[EncoderConfig], manifest: Manifest) -> None:
    """Refuse adapters that were fitted by other folds than the manifest has: a clip's test fold would not be the one that held it out.

    Raises:
        ManifestError: which clip, its fold then and now.

    """
    for encoder in encoders:
        held_out = encoder.held_out_folds()
        if not held_out:
            continue
        folds = zip(manifest.table["clip_id"].to_pylist(), manifest.table["fold"].to_pylist(), strict=True)
        moved = [(clip_id, fold) for clip_id, fold in folds if fold is not None and held_out.get(clip_id, fold) != fold]
        if moved:
            clip_id, fold = moved[0]
            raise ManifestError(
                f"encoder {encoder.name}: its adapters were fitted when clip {clip_id!r} was in fold {held_out[clip_id]}, now it is in "
                f"fold {fold} ({len(moved)} clips moved); fine-tune again with this manifest, or take the manifest of then"
            )


def check_detector(wanted: InputFormat) -> None:
    """Load the face detector that a format asks for, so that a bad file is one error and not one failure per clip.

    Raises:
        ConfigError: the file is missing, or no YuNet.

    """
    if isinstance(wanted, FrameFormat) and isinstance(wanted.faces, DetectedFaces):
        load_detector(wanted.faces)


def check_noise(degrade: DegradationConfig | None, limits: MediaLimits) -> None:
    """Look at the recordings that noise comes from, so that a broken one is one error and not one failure per clip.

    Raises:
        ConfigError: no such folder, an empty one, or a file that is no sound.

    """
    if degrade is not None and degrade.noise is not None and degrade.noise != SPEECH_LIKE:
        check_noise_folder(Path(degrade.noise), limits)


def is_in_part(clip_id: str, part: Part) -> bool:
    """Whether a clip belongs to part i of n: by a hash of its id, so that the parts stay what they are while the store fills."""
    return int.from_bytes(sha256(clip_id.encode()).digest()[:8], "big") % part.count == part.index - 1
