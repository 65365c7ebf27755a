"""How media are made worse on purpose, between decoding and encoding; part of an encoder's identity and of its input format."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import Config, PlaceOrName, digest_of, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import Modality

SPEECH_LIKE = "speech_like"
# Raised when the same seed begins to give other noise.
SPEECH_LIKE_VERSION = 1
NOISE_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".oga", ".opus")
SNR_BOUNDS_DB = (-100.0, 100.0)
# MER2023's noise track.
CHALLENGE_SNR_DB = (5.0, 10.0)


class DegradationConfig(Config):
    """Noise under the sound, blur over the pictures, modalities taken away.

    `noise`: `speech_like` (babble that is computed), or a folder of sound files, taken from it and from below. `snr_db`: the signal to
    noise ratio, drawn evenly from this range for each clip; one number for all clips alike. `blur`: sigma of a Gaussian in pixels of
    the frames as the encoder gets them. Everything is drawn from `seed` and the clip's id alone, so that it does not depend on
    workers or order. MER2023 adds noise at 5 to 10 dB and blurs; the sigmas and the rest are our choice.
    """

    noise: PlaceOrName | None = where_or_how_fast(None, min_length=1)
    snr_db: tuple[float, float] = CHALLENGE_SNR_DB
    blur: float | None = Field(None, gt=0, le=100)
    without: tuple[Modality, ...] = ()
    seed: int = Field(0, ge=0)

    @field_validator("noise")
    @classmethod
    def _make_absolute(cls, noise: str | None) -> str | None:
        # Workers run in folders of their own.
        if noise is None or noise == SPEECH_LIKE:
            return noise
        if "://" in noise:
            raise ValueError(f"{SPEECH_LIKE} or a folder of this machine is needed, not the URL {noise}")
        return str(Path(noise).expanduser().absolute())

    @field_validator("snr_db", mode="before")
    @classmethod
    def _one_number_is_a_range(cls, given: Any) -> Any:
        return (given, given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given

    @field_validator("snr_db")
    @classmethod
    def _is_a_range(cls, given: tuple[float, float]) -> tuple[float, float]:
        low_db, high_db = given
        lowest_db, highest_db = SNR_BOUNDS_DB
        if not lowest_db <= low_db <= high_db <= highest_db:
            raise ValueError(f"lowest and highest ratio in dB, within {lowest_db:g} and {highest_db:g}, not [{low_db:g}, {high_db:g}]")
        return given

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.noise is None and self.blur is None and not self.without:
            raise ValueError("nothing is degraded; set noise, blur or without")
        # A dumped config names all its fields.
        if self.noise is None and self.snr_db != CHALLENGE_SNR_DB:
            raise ValueError(f"snr_db: needs noise: {SPEECH_LIKE}, or a folder of sound files")
        return self

    def more_identity(self) -> dict[str, Any]:
        """The content of the noise files, and never their folder."""
        return {"noise": self.noise_digest()}

    def noise_digest(self) -> str | None:
        """Which noise it is: the version of computed noise, or the content of the recordings; None without any.

        Raises:
            ConfigError: as `digest_noise`.

        """
        if self.noise is None:
            return None
        return f"{SPEECH_LIKE}/{SPEECH_LIKE_VERSION}" if self.noise == SPEECH_LIKE else digest_noise(Path(self.noise))

    def of(self, modality: Modality) -> "DegradationConfig | None":
        """What of it concerns one modality; None where nothing does."""
        if modality in self.without:
            return DegradationConfig(without=(modality,))
        if modality == "audio" and self.noise is not None:
            return DegradationConfig(noise=self.noise, snr_db=self.snr_db, seed=self.seed)
        if modality == "vision" and self.blur is not None:
            return DegradationConfig(blur=self.blur)
        return None

    def describe(self) -> str:
        """For people: `speech-like noise at 5 to 10 dB, blur of 2 pixels`."""
        parts = []
        if self.noise is not None:
            low_db, high_db = self.snr_db
            kind = "speech-like noise" if self.noise == SPEECH_LIKE else f"noise of {self.noise}"
            parts.append(f"{kind} at {low_db:g} dB" if low_db == high_db else f"{kind} at {low_db:g} to {high_db:g} dB")
        if self.blur is not None:
            parts.append(f"blur of {self.blur:g} pixels")
        parts += [f"without {name}" for name in self.without]
        return ", ".join(parts)


def noise_files(folder: Path) -> tuple[Path, ...]:
    """The sound files in a folder and below it, hidden ones left out, in the order of their names.

    Raises:
        ConfigError: no such folder, one that cannot be read, or one without sound files.

    """
    if not folder.is_dir():
        what = "a file, but a folder of sound files is needed" if folder.exists() else "no such folder"
        raise ConfigError(f"noise: {folder}: {what}; give one, or {SPEECH_LIKE}")
    found = sorted(path for path in _walk(folder) if path.suffix.lower() in NOISE_SUFFIXES)
    if not found:
        allowed = ", ".join(NOISE_SUFFIXES)
        raise ConfigError(f"noise: {folder}: holds no sound file; allowed: {allowed}; give another folder, or {SPEECH_LIKE}")
    return tuple(found)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ConfigError(f"noise: {error.filename}: cannot be listed: {error.strerror}; check that you may read it") from error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def digest_noise(folder: Path) -> str:
    """The sha256 (hex) of a folder's sound files by name and content.

    Raises:
        ConfigError: as `noise_files`, or a file that cannot be read.

    """
    files = noise_files(folder)
    try:
        stamps = tuple((path, (status := path.stat()).st_size, status.st_mtime_ns) for path in files)
        return _digest(folder, stamps)
    except OSError as error:
        raise ConfigError(f"noise: {error.filename}: cannot be read: {error.strerror}; remove it from the folder, or mend it") from error


@lru_cache(maxsize=16)
def _digest(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Sizes and times belong to the key of the cache, so that a changed file is read again."""
    return digest_of({path.relative_to(folder).as_posix(): digest_file(path) for path, _, _ in stamps})
