"""The clips' decoded inputs: each decoded once, and kept on disk as far as the cache holds them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mer_ray.core.artefacts import num_cores, write_json
from mer_ray.core.errors import EncoderError, MediaError, MerRayError, RunError
from mer_ray.core.media_types import Audio, Clip, EncoderInput, Frames, InputFormat
from mer_ray.core.progress import track
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders._pretrained import NetworkEncoder
from mer_ray.finetuning.config import FinetuneConfig

GB = 2**30


@dataclass(frozen=True)
class ClipInputs:
    """What the encoder reads of each clip; `names[row]` is the file in the cache."""

    clips: Sequence[Clip]
    names: Sequence[str]
    wanted: InputFormat
    limits: MediaLimits
    folder: Path

    def load(self, row: int) -> EncoderInput | None:
        """The decoded input, from the cache where it is there; None where the clip lacks the modality.

        Raises:
            MediaError: it cannot be decoded.

        """
        path = self.path(row)
        if path.is_file():
            return _read(path)
        return decode_clip(self.clips[row], [self.wanted], self.limits)[self.wanted]

    def load_some(self, rows: Sequence[int]) -> list[EncoderInput]:
        """Inputs of clips that are known to have them, decoded at once where several are not in the cache."""
        if all(self.path(row).is_file() for row in rows):
            found = [self.load(row) for row in rows]
        else:
            with ThreadPoolExecutor(num_cores()) as pool:
                found = list(pool.map(self.load, rows))
        return [clip_input for clip_input in found if clip_input is not None]

    def path(self, row: int) -> Path:
        """The file in the cache."""
        return self.folder / f"{self.names[row]}.npz"


@dataclass
class Found:
    """Which clips can be trained on and predicted, by row; why not: `failed` by clip_id, `lacking` clips have no such modality."""

    usable: list[bool]
    failed: dict[str, str] = field(default_factory=dict)
    lacking: int = 0
    num_cached: int = 0


def decode_all(inputs: ClipInputs, encoder: NetworkEncoder, config: FinetuneConfig) -> Found:
    """Decode every clip once, keep what the cache holds, and find those that the encoder cannot read.

    Raises:
        RunError: more than `max_failure_rate` of the clips fail, or none is left.

    """
    found = Found([False] * len(inputs.clips))
    left_bytes = config.cache_gb * GB
    inputs.folder.mkdir(parents=True, exist_ok=True)
    with track("decode", len(inputs.clips)) as bar:
        for row, outcome in enumerate(_outcomes(inputs, encoder, config.max_audio_s)):
            if isinstance(outcome, MerRayError):
                found.failed[inputs.clips[row].clip_id] = str(outcome)
            elif outcome is None:
                found.lacking += 1
            else:
                found.usable[row] = True
                left_bytes -= _num_bytes(outcome)
                if left_bytes >= 0:
                    found.num_cached += 1
                    if not inputs.path(row).is_file():
                        _write(inputs.path(row), outcome)
            bar.advance(1, f"{len(found.failed)} failed")
    _refuse_failures(found, len(inputs.clips), config.max_failure_rate)
    return found


def write_failures(path: Path, found: Found) -> None:
    """Which clips could not be read, and why."""
    write_json(path, found.failed)


def _outcomes(inputs: ClipInputs, encoder: NetworkEncoder, max_audio_s: float) -> Iterator[EncoderInput | MerRayError | None]:
    """In order; no more are held at once than threads decode."""

    def decode(row: int) -> EncoderInput | MerRayError | None:
        try:
            clip_input = inputs.load(row)
            if clip_input is None or (isinstance(clip_input, Frames) and not len(clip_input.images)):
                return None
            encoder.check(clip_input)
            encoder.trim(clip_input, 0.0, max_audio_s)
        except (MediaError, EncoderError) as error:
            return error
        return clip_input

    num_threads = num_cores()
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(inputs.clips), num_threads):
            yield from pool.map(decode, range(start, min(start + num_threads, len(inputs.clips))))


def _refuse_failures(found: Found, num_clips: int, max_failure_rate: float) -> None:
    if len(found.failed) > max_failure_rate * num_clips:
        clip_id, reason = next(iter(found.failed.items()))
        raise RunError(
            f"{len(found.failed)} of {num_clips} clips cannot be read, more than max_failure_rate {max_failure_rate:.1%} allows; "
            f"the first is {clip_id}: {reason}. Mend the files, or set a higher max_failure_rate"
        )
    if not any(found.usable):
        raise RunError(f"none of the {num_clips} clips has what the encoder reads; take an encoder of another modality")


def _num_bytes(clip_input: EncoderInput) -> int:
    if isinstance(clip_input, Audio):
        return clip_input.samples.nbytes
    return clip_input.images.nbytes if isinstance(clip_input, Frames) else len(clip_input.encode())


def _write(path: Path, clip_input: EncoderInput) -> None:
    arrays: dict[str, Any] = {"text": np.array(clip_input)} if isinstance(clip_input, str) else {}
    if isinstance(clip_input, Audio):
        arrays = {"samples": clip_input.samples, "sample_rate_hz": np.array(clip_input.sample_rate_hz)}
    elif isinstance(clip_input, Frames):
        arrays = {"images": clip_input.images, "times_s": clip_input.times_s}
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.npz")
    np.savez(temporary, **arrays)
    os.replace(temporary, path)


def _read(path: Path) -> EncoderInput:
    with np.load(path) as arrays:
        if "samples" in arrays:
            return Audio(arrays["samples"], int(arrays["sample_rate_hz"]))
        if "images" in arrays:
            return Frames(arrays["images"], arrays["times_s"])
        return str(arrays["text"])
