"""Encoders of degraded media: an identity of their own beside that of the clear ones, which stays what it was."""

import pickle
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import AudioFormat, FrameFormat
from mer_ray.core.plugins import plugins_allowed
from mer_ray.encoders import AnyEncoder, EncoderConfig, encoder_identity, encoder_key, network_key
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.store.record import EncoderRecord

GOLDEN = sorted((Path(__file__).parents[2] / "golden").rglob("_encoder.json"))
PLUGIN = Path(__file__).parents[2] / "plugins" / "loudness_encoder.py"
NOISE = DegradationConfig(noise="speech_like", snr_db=(5, 10))
BLUR = DegradationConfig(blur=2)
BOTH = DegradationConfig(noise="speech_like", snr_db=(5, 10), blur=2)


def read(**data: object) -> EncoderConfig:
    with plugins_allowed():
        encoder: EncoderConfig = TypeAdapter(AnyEncoder).validate_python(data)
    return encoder


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_identities_of_before_stay(path: Path):
    record = EncoderRecord.model_validate_json(path.read_text())
    assert encoder_identity(read(**record.config)) == record.identity


def test_golden_records_are_there():
    assert len(GOLDEN) >= 2


def test_a_degraded_copy_is_an_encoder_of_its_own():
    clear, noisy = SpectralConfig(), SpectralConfig(degrade=NOISE)
    assert (clear.wanted_format, noisy.wanted_format) == (AudioFormat(16000), AudioFormat(16000, NOISE))
    assert noisy.input_format == clear.input_format
    assert encoder_key(noisy).startswith("spectral@") and encoder_key(noisy) != encoder_key(clear)
    others = [
        DegradationConfig(noise="speech_like", snr_db=snr_db, seed=seed) for snr_db, seed in (((5, 10), 1), ((5, 5), 0), ((0, 10), 0))
    ]
    assert len({encoder_key(clear), encoder_key(noisy), *(encoder_key(clear.degraded(other)) for other in others)}) == 5
    assert noisy.degraded(None) == clear and network_key(noisy) == encoder_key(clear)
    assert pickle.loads(pickle.dumps(noisy)) == noisy == read(**noisy.model_dump(mode="json"))


def test_only_what_concerns_the_modality_is_identity():
    assert encoder_identity(SpectralConfig(degrade=BOTH)) == encoder_identity(SpectralConfig(degrade=NOISE))
    assert (
        encoder_identity(GradientConfig(degrade=BOTH))
        == encoder_identity(GradientConfig(degrade=BLUR))
        != encoder_identity(GradientConfig())
    )
    frames = GradientConfig(degrade=BOTH).wanted_format
    assert isinstance(frames, FrameFormat) and frames.degrade == BLUR


@pytest.mark.parametrize(("encoder", "message"), [
    (SpectralConfig(degrade=BLUR), "encoder spectral: degrade: blur of 2 pixels does not concern audio, which it reads; leave it out"),
    (GradientConfig(degrade=NOISE), "encoder gradient: degrade: speech-like noise at 5 to 10 dB does not concern vision"),
    (HashingConfig(degrade=BOTH), "encoder hashing: degrade: .* does not concern text"),
])  # fmt: skip
def test_what_concerns_another_modality_is_refused(encoder: EncoderConfig, message: str):
    with pytest.raises(ConfigError, match=message):
        encoder.check()
    HashingConfig(degrade=DegradationConfig(without=("text",))).check()


def test_plugins_are_degraded_like_all_others():
    clear = read(name="plugin", file=str(PLUGIN), **{"class": "LoudnessConfig"})
    written = read(name="plugin", file=str(PLUGIN), degrade={"noise": "speech_like"}, **{"class": "LoudnessConfig"})
    copied = clear.degraded(NOISE)
    assert encoder_key(copied) == encoder_key(written) != encoder_key(clear)
    assert copied.wanted_format == written.wanted_format == AudioFormat(16000, NOISE)
    assert network_key(written) == network_key(copied) == encoder_key(clear)
    with plugins_allowed():
        travelled = pickle.loads(pickle.dumps(copied))
    assert encoder_key(travelled) == encoder_key(copied) and travelled.degrade == NOISE
    again = read(**copied.model_dump(mode="json"))
    assert encoder_key(again) == encoder_key(copied) and "degrade" not in again.config
    with pytest.raises(ConfigError, match="encoder loudness: degrade: blur of 2 pixels does not concern audio"):
        clear.degraded(BLUR).check()
