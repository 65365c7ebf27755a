"""Every encoder of the package with inputs of different lengths, small enough to run anywhere."""

import shutil
from pathlib import Path

import numpy as np
from encoder_case import EncoderCase
from speech_cases import HOSTILE_SOUNDS, SOUNDS, SPEECH_CASES
from text_cases import TEXT_CASES
from vision_cases import VISION_CASES

from mer_ray.core.media_types import Frames
from mer_ray.core.plugins import plugins_allowed
from mer_ray.encoders import PluginEncoderConfig
from mer_ray.encoders.contract_inputs import make_frames
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.sound_quality import SoundQualityConfig
from mer_ray.encoders.spectral import SpectralConfig

PLUGIN = Path(__file__).parents[1] / "plugins" / "loudness_encoder.py"


def _load_plugin(folder: Path) -> PluginEncoderConfig:
    """From a copy: the path is no part of the identity."""
    copy = shutil.copy(PLUGIN, folder)
    with plugins_allowed():
        return PluginEncoderConfig.model_validate({"file": copy, "class": "LoudnessConfig"})


STILL = np.full((3, 128, 128, 3), 200, dtype=np.uint8)
ENCODER_CASES = (
    EncoderCase(
        "spectral",
        lambda folder: SpectralConfig(),
        SOUNDS,
        HOSTILE_SOUNDS,
        ({"dtype": "float32"}, {"sequences": ("mfcc",)}, {"sequences": ("mfcc",), "rate_hz": 10.0}),
    ),
    EncoderCase(
        "sound_quality", lambda folder: SoundQualityConfig(), SOUNDS, HOSTILE_SOUNDS, ({"dtype": "float16"},), measures_recording=True
    ),
    EncoderCase(
        "gradient",
        lambda folder: GradientConfig(frame_rate_hz=5.0),
        tuple(make_frames(number, number) for number in (4, 1, 9, 6)),
        (Frames(STILL, np.arange(3) * 0.2), Frames(np.zeros_like(STILL), np.arange(3) * 0.2), make_frames(1, 0), make_frames(2, 0)),
        ({"dtype": "float32"}, {"sequences": ("hog_coarse",)}, {"frame_rate_hz": 8.0}, {"crop": "whole"}),
    ),
    EncoderCase(
        "hashing",
        lambda folder: HashingConfig(),
        ("I told you so!", "", "我今天真的很高兴", "why would you do that to her, of all people?"),
        ("", "   ", "?!…", "\x00", "a" * 20_000, "🙂🙂", "é ﬁ ①"),
        ({"dtype": "float32"},),
    ),
    EncoderCase(
        "plugin",
        _load_plugin,
        SOUNDS,
        HOSTILE_SOUNDS,
        ({"dtype": "float32"}, {"sequences": ("level",)}, {"config": {"floor_db": -60.0}}),
        other_changes=({"config": {}},),
        # Its layers are those of a sample.
        has_weights=True,
    ),
    *SPEECH_CASES,
    *TEXT_CASES,
    *VISION_CASES,
)
