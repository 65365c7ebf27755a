"""One shard from sound to a part of transcripts, without Ray. Faults of a clip become failure rows."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.media_types import Audio, AudioFormat, Clip, FloatArray
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import is_remote
from mer_ray.extraction.inputs import source_path
from mer_ray.extraction.media_cache import Copies, fetched, refuse_outage
from mer_ray.extraction.shard_encoder import attempt
from mer_ray.extraction.shard_report import Fault
from mer_ray.extraction.transcription_model import SAMPLE_RATE_HZ, Transcript, WhisperConfig, WhisperTranscriber
from mer_ray.extraction.transcription_parts import TranscriptRow, write_rows

SOUND = AudioFormat(SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class TranscriptionShard:
    """Clips of similar length, each with the hash of its input."""

    clips: tuple[tuple[Clip, str], ...]


class TranscriptionWorker:
    """Holds the model of one worker and takes shards to published parts."""

    def __init__(self, config: WhisperConfig, folder: Path, limits: MediaLimits, device: str) -> None:
        self.transcriber = WhisperTranscriber(config, device)
        self.model = config.identity()
        self.folder, self.limits = folder, limits
        self.computing = threading.Lock()

    def process(self, shard: TranscriptionShard) -> list[TranscriptRow]:
        """A row per clip, written.

        Raises:
            StoreError: the folder cannot be written.

        """
        paths = [path for clip, _ in shard.clips if (path := source_path(clip, SOUND)) is not None and is_remote(path)]
        with fetched(dict.fromkeys(paths), self.limits) as copies:
            refuse_outage(copies)
            with self.computing:
                sounds = [self._decode(clip, copies) for clip, _ in shard.clips]
                heard = {number: sound.samples for number, sound in enumerate(sounds) if isinstance(sound, Audio)}
                transcripts = dict(zip(heard, self._transcribe(list(heard.values())), strict=True))
        rows = [
            self._row(clip, input_hash, transcripts.get(number, sounds[number])) for number, (clip, input_hash) in enumerate(shard.clips)
        ]
        write_rows(self.folder, rows)
        return rows

    def _decode(self, clip: Clip, copies: Copies) -> Audio | Fault | None:
        copy = copies.get(source_path(clip, SOUND) or "")
        if isinstance(copy, Fault):
            return copy
        local = {path: name for path, name in copies.items() if isinstance(name, str)}
        decoded = attempt("decode", lambda: decode_clip(clip, [SOUND], self.limits, local)[SOUND])
        assert not isinstance(decoded, str) and (decoded is None or isinstance(decoded, Audio | Fault))
        return decoded

    def _transcribe(self, sounds: list[FloatArray]) -> Sequence[Transcript | Fault]:
        """All as one batch; each alone where the batch fails."""
        if not sounds:
            return []
        outcomes = attempt("encode", lambda: self.transcriber.transcribe(sounds))
        if not isinstance(outcomes, Fault):
            return outcomes
        return [outcomes] if len(sounds) == 1 else [outcome for sound_S in sounds for outcome in self._transcribe([sound_S])]

    def _row(self, clip: Clip, input_hash: str, outcome: Transcript | Audio | Fault | None) -> TranscriptRow:
        if isinstance(outcome, Transcript):
            return TranscriptRow(clip.clip_id, input_hash, self.model, outcome.text, outcome.language, outcome.confidence)
        if isinstance(outcome, Fault):
            return TranscriptRow(
                clip.clip_id, input_hash, self.model, stage=outcome.stage, error_type=outcome.error_type, message=outcome.message
            )
        return TranscriptRow(clip.clip_id, input_hash, self.model)
