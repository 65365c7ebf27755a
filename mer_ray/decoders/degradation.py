"""Decoded media made worse as a format asks: noise under the sound, blur over the pictures.

Shapes: T samples, N images.
"""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mer_ray.core.degradation import SPEECH_LIKE, DegradationConfig
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, FloatArray, FrameFormat, Frames, TextFormat
from mer_ray.core.seeding import derive_seed
from mer_ray.decoders.babble import make_babble
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.noise_folder import take_noise

AnyFormat = TypeVar("AnyFormat", AudioFormat, FrameFormat, TextFormat, AudioFormat | FrameFormat | TextFormat)


def clear(wanted: AnyFormat) -> AnyFormat:
    """The format as it is without a degradation: what is decoded."""
    return wanted if wanted.degrade is None else replace(wanted, degrade=None)


def is_removed(wanted: AudioFormat | FrameFormat | TextFormat) -> bool:
    """Whether the format says that the clip shall lack it."""
    return wanted.degrade is not None and wanted.modality in wanted.degrade.without


def degrade(
    decoded: EncoderInput | None, config: DegradationConfig | None, clip_id: str, budget: Budget, limits: MediaLimits
) -> EncoderInput | None:
    """What an encoder gets instead of `decoded`, which stays as it is; `config` is what concerns its modality.

    The noise's power is that of the clip's own sound, all of it, over the ratio, each about its mean; a sound that is silent stays as
    it is, and its `snr_db` is None. Samples are not clipped: that would change the ratio. A window or segment is a clip of its own.
    Pictures are blurred one by one as the encoder gets them: sigma is in pixels of these, so that 4 blurs a frame of 64 pixels more
    than one of 224. All of it is our choice.

    Raises:
        MediaError: beyond the budget, or noise that cannot be decoded.

    """
    if decoded is None or config is None:
        return decoded
    if isinstance(decoded, Audio) and config.noise is not None:
        return _add_noise(decoded, config, clip_id, budget, limits)
    if isinstance(decoded, Frames) and config.blur is not None:
        budget.take(decoded.images.nbytes)
        return replace(decoded, images=blur(decoded.images, config.blur))
    return decoded


def snr_of(config: DegradationConfig, clip_id: str) -> float:
    """The signal to noise ratio of a clip in dB, drawn evenly from the range."""
    low_db, high_db = config.snr_db
    return float(np.random.default_rng(derive_seed("degrade", config.seed, clip_id, "snr")).uniform(low_db, high_db))


def _add_noise(audio: Audio, config: DegradationConfig, clip_id: str, budget: Budget, limits: MediaLimits) -> Audio:
    if np.ptp(audio.samples) == 0:
        return audio
    budget.take(audio.samples.nbytes)
    # The same noise at every ratio.
    seed = derive_seed("degrade", config.seed, clip_id, "noise")
    num_samples, rate_hz = len(audio.samples), audio.sample_rate_hz
    if config.noise == SPEECH_LIKE:
        noise_T = make_babble(num_samples, rate_hz, seed)
    else:
        assert config.noise is not None
        noise_T = take_noise(Path(config.noise), num_samples, rate_hz, seed, limits).astype(np.float64)
    snr_db = snr_of(config, clip_id)
    return replace(audio, samples=mix(audio.samples, noise_T, snr_db), snr_db=snr_db)


def mix(samples_T: FloatArray, noise_T: npt.NDArray[np.float64], snr_db: float) -> FloatArray:
    """Sound with noise under it, at a ratio of their variances in dB; neither is constant."""
    gain = samples_T.std(dtype=np.float64) / noise_T.std() * 10 ** (-snr_db / 20)
    mixed_T: FloatArray = (samples_T + gain * (noise_T - noise_T.mean())).astype(np.float32)
    return mixed_T


def blur(images_N: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.uint8]:
    """Each picture (H, W, 3) through OpenCV's Gaussian of this sigma in pixels."""
    # As many processes as cores blur at once.
    cv2.setNumThreads(1)
    blurred_N = np.empty_like(images_N)
    for image, blurred in zip(images_N, blurred_N, strict=True):
        cv2.GaussianBlur(image, (0, 0), sigma, dst=blurred)
    return blurred_N
