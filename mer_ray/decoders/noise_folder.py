"""Noise from a folder of recordings: which one, from where on, at what rate.

Shapes: T samples.
"""

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from mer_ray.core.degradation import noise_files
from mer_ray.core.errors import ConfigError, MediaError
from mer_ray.core.media_types import Audio, AudioFormat, FloatArray
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.file_pass import Segment, Wanted, decode_file
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import probe_media

# Decoded recordings are kept up to this size: the clips of a shard often take the same few.
MAX_KEPT_BYTES = 64 * 2**20
# Recordings have silent parts.
MAX_DRAWS = 20


class _Recordings:
    """The recordings that were decoded last, in this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int, int], FloatArray] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, path: Path, sample_rate_hz: int, limits: MediaLimits) -> FloatArray:
        # A process outlives an extraction, and the identity of the next one is that of the files as they are then.
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns, sample_rate_hz)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        samples_T = _decode(path, sample_rate_hz, limits)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = samples_T
                self._num_bytes += samples_T.nbytes
            while self._num_bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
                self._num_bytes -= self._kept.popitem(last=False)[1].nbytes
        return samples_T


_recordings = _Recordings()


def take_noise(folder: Path, num_samples: int, sample_rate_hz: int, seed: int, limits: MediaLimits) -> FloatArray:
    """An excerpt (T,) of a recording that is drawn, from a second that is drawn; one that is shorter begins again.

    Raises:
        ConfigError: as `noise_files`.
        MediaError: a recording cannot be decoded, or all that were drawn are silent.

    """
    files = noise_files(folder)
    random = np.random.default_rng(seed)
    for _ in range(MAX_DRAWS):
        path, share = files[int(random.integers(len(files)))], random.random()
        samples_T = _recordings.get(path, sample_rate_hz, limits)
        begin = int(share * len(samples_T))
        excerpt_T: FloatArray = np.take(samples_T, np.arange(begin, begin + num_samples), mode="wrap")
        if np.ptp(excerpt_T) > 0:
            return excerpt_T
    raise MediaError(f"noise: {folder}: {MAX_DRAWS} excerpts were drawn and all are silent; remove silent recordings from it")


def _decode(path: Path, sample_rate_hz: int, limits: MediaLimits) -> FloatArray:
    wanted = AudioFormat(sample_rate_hz)
    of_file = Wanted((wanted,), (), needs_audio=True, needs_video=False)
    decoded = decode_file(str(path), str(path), of_file, Segment(0.0, np.inf), Budget(str(path), limits), limits)[wanted]
    assert isinstance(decoded, Audio)
    return decoded.samples


def check_noise_folder(folder: Path, limits: MediaLimits) -> None:
    """Read the header of every recording, so that a broken one is one error and not one failure per clip.

    Raises:
        ConfigError: as `noise_files`, or a file that is no sound, or longer than the limits allow.

    """
    for path in noise_files(folder):
        try:
            facts = probe_media(str(path), limits)
        except MediaError as error:
            # Most faults come with their own remedy.
            remedy = "or remove it" if ";" in str(error) else "replace it, or remove it"
            raise ConfigError(f"noise: {error}; {remedy} from the folder") from error
        if not facts.has_audio:
            raise ConfigError(f"noise: {path}: holds no sound; remove it from the folder")
        if facts.duration_s > limits.max_duration_s:
            raise ConfigError(
                f"noise: {path}: lasts {facts.duration_s:.0f} s, more than limits.max_duration_s={limits.max_duration_s:g}; cut it"
            )
