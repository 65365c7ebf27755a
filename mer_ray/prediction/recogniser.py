"""A bundle with its encoders: files in, predictions out, in this process."""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.decoders.limits import MediaLimits
from mer_ray.prediction.bundle import Bundle, load_bundle
from mer_ray.prediction.bundle_encoders import bundle_encoders, is_imported
from mer_ray.prediction.clip_features import ClipEncoder, ClipFeatures, absent_features
from mer_ray.prediction.prediction_table import TRAINED_ON, ClipPrediction, make_table, to_predictions
from mer_ray.prediction.wanted_clips import Source, WantedClips, clips_of_files, cut_windows
from mer_ray.training.bundle_facts import clip_digest


class Recogniser:
    """Predicts files with the bundle's own encoders, which are built once, at the first use.

    `weights` says where an encoder's weights lie on this machine, by its name.
    """

    def __init__(
        self,
        bundle: Bundle,
        weights: Mapping[str, str] | None = None,
        limits: MediaLimits | None = None,
        allow_plugins: bool = False,
    ) -> None:
        self.bundle, self._allow_plugins = bundle, allow_plugins
        self._weights, self._limits = dict(weights or {}), limits or MediaLimits()
        self._encoder_without = lru_cache(maxsize=4)(self._build_encoder)

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions, in order."""
        return self.bundle.classes

    def predict(
        self,
        clips: Source | Sequence[Source],
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        without: Collection[Modality] = (),
        abstain_below: float = 0.0,
    ) -> list[ClipPrediction]:
        """Predict media files, folders, or mappings with `path`, `audio_path`, `video_path`, `text`, `start_s`, `end_s`, `speaker_id`.

        `window_s` gives a timeline: a prediction per window, every `hop_s` (default: windows that touch). `without`: modalities to
        leave out. A clip that cannot be read is predicted from what is left of it, or by the prior, with a `note`.

        Raises:
            ConfigError: encoders' weights are missing or others; hop without window; a number or modality that is none.
            ManifestError: no such file or folder, or nothing to predict.
            RunError: the bundle needs to know who speaks.

        """
        unknown = [name for name in ([without] if isinstance(without, str) else without) if name not in MODALITIES]
        if unknown or isinstance(without, str):
            raise ConfigError(f"without: {without!r} is no list of modalities; allowed: {', '.join(MODALITIES)}")
        if not 0 <= abstain_below <= 1:
            raise ConfigError(f"abstain_below {abstain_below}: a confidence from 0 to 1")
        sources = [clips] if isinstance(clips, (str, Path, Mapping)) else clips
        wanted = with_windows(clips_of_files(sources, self._limits), window_s, hop_s)
        return to_predictions(self.predict_clips(wanted, without, abstain_below), self.bundle.facts.task)

    def predict_clips(self, wanted: WantedClips, without: Collection[Modality], abstain_below: float) -> pa.Table:
        """As `predict`, for clips of any kind, as a table."""
        check_speakers(self.bundle, wanted)
        refuse_imported(self.bundle, without)
        encoded = self._encoder_without(frozenset(without)).encode(wanted.manifest.clips(), self.bundle.wanted)
        return predict_table(self.bundle, wanted, encoded, abstain_below)

    def _build_encoder(self, without: frozenset[Modality]) -> ClipEncoder:
        records = self.bundle.facts.encoders
        configs = bundle_encoders(self.bundle, self._weights, without, self._allow_plugins)
        return ClipEncoder(configs, records, self.bundle.device.type, self._limits)


def open_bundle(
    folder: str | Path, device: str = "auto", weights: Mapping[str, str] | None = None, allow_plugins: bool = False
) -> Recogniser:
    """Load a bundle that predicts files.

    Raises:
        RunError: no bundle, or a damaged one.
        ConfigError: a plug-in that was not allowed to run.

    """
    return Recogniser(load_bundle(folder, device, allow_plugins), weights, allow_plugins=allow_plugins)


def with_windows(wanted: WantedClips, window_s: float | None, hop_s: float | None) -> WantedClips:
    """The clips, or their windows where a window is given.

    Raises:
        ConfigError: a hop without a window, or lengths that are not above 0.

    """
    if window_s is None:
        if hop_s is not None:
            raise ConfigError("hop_s: needs window_s, the length of a window in seconds")
        return wanted
    # NaN is not above 0 either.
    if not all(0 < length_s < math.inf for length_s in (window_s, window_s if hop_s is None else hop_s)):
        raise ConfigError(f"window_s {window_s}, hop_s {hop_s}: lengths in seconds, above 0 and finite")
    return cut_windows(wanted, window_s, window_s if hop_s is None else hop_s)


def predict_table(bundle: Bundle, wanted: WantedClips, encoded: ClipFeatures, abstain_below: float) -> pa.Table:
    """Features -> the table of predictions; encoders without features count as absent."""
    features = {
        key: encoded.by_key.get(key) or absent_features(record, bundle.wanted[key], len(wanted.source_ids))
        for key, record in bundle.facts.encoders.items()
    }
    predictions = bundle.predict_features(features, wanted.speaker_ids)
    notes = {clip_id: list(dict.fromkeys(faults)) for clip_id, faults in encoded.faults.items()}
    for clip_id, source_id in zip(wanted.clip_ids, wanted.source_ids, strict=True):
        if clip_digest(wanted.manifest.facts.corpus, source_id) in bundle.train_clips:
            notes.setdefault(clip_id, []).append(TRAINED_ON)
    return make_table(wanted, predictions, notes, bundle.facts.task, abstain_below)


def check_speakers(bundle: Bundle, wanted: WantedClips) -> None:
    """Refuse clips of unknown speakers where features are normalised by speaker, before anything is encoded.

    Raises:
        RunError: a clip without a speaker.

    """
    num_unknown = sum(speaker is None for speaker in wanted.speaker_ids)
    if bundle.needs_speakers and num_unknown:
        raise RunError(
            f"{bundle.folder}: normalises by speaker, and {num_unknown} of {len(wanted.speaker_ids)} clips have no speaker_id; "
            "give a manifest with speakers, or a bundle of a run with normalise: train"
        )
    if bundle.needs_speakers and len(set(wanted.speaker_ids)) == len(wanted.speaker_ids):
        raise RunError(
            f"{bundle.folder}: normalises by the statistics of each speaker's own clips, and every speaker has one clip here; "
            "give several clips of each, or a bundle of a run with normalise: train"
        )


def refuse_imported(bundle: Bundle, without: Collection[Modality]) -> None:
    """Refuse to encode files where no code makes the bundle's features.

    Raises:
        ConfigError: an encoder whose features were imported.

    """
    for key, record in bundle.facts.encoders.items():
        if record.modality not in without and is_imported(record):
            raise ConfigError(
                f"encoder {key}: its features were imported, no code here makes them from files; predict from a store that holds them "
                f"(--store), or leave it out (--without {record.modality})"
            )
