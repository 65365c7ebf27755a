"""Which conditions a bundle is scored under, and what is refused."""

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.noise_conditions import conditions_of
from mer_ray.prediction.noise_config import NoiseConfig

BASE = {"labels": "m.parquet", "protocol": "emotion", "out": "r.json"}


def noise(**given) -> NoiseConfig:
    return NoiseConfig(bundle="bundle", **given)


def names(read: set, **given) -> list[str]:
    return [one.name for one in conditions_of(noise(**given), read)]


def test_by_default_all_that_the_bundle_reads_is_degraded():
    everything = ["clean", "noise 10 dB", "noise 5 dB", "blur 1", "blur 2", "blur 4", "without audio", "without vision", "without text"]
    assert names({"text", "vision", "audio"}) == everything
    assert names({"audio"}) == ["clean", "noise 10 dB", "noise 5 dB"]
    assert names({"vision", "text"}) == ["clean", "blur 1", "blur 2", "blur 4", "without vision", "without text"]


def test_each_condition_degrades_one_thing_and_all_ratios_get_the_same_noise():
    clean, noisy, noisier, blurred, removed = conditions_of(
        noise(snr_db=(0, -20), blur=(2,), without=("audio",), seed=3), {"audio", "vision"}
    )
    assert clean.degrade is None and clean.modality is None
    assert noisy.degrade.model_copy(update={"snr_db": noisier.degrade.snr_db}) == noisier.degrade
    assert (noisy.snr_db, noisier.snr_db, noisy.degrade.seed, noisy.degrade.blur) == (0, -20, 3, None)
    assert (blurred.modality, blurred.degrade.blur, blurred.degrade.noise) == ("vision", 2, None)
    assert removed.is_removal and not blurred.is_removal and removed.snr_db is None


@pytest.mark.parametrize(
    ("given", "read", "expected"),
    [
        ({"snr_db": (5,)}, {"vision", "text"}, "noise.snr_db: the bundle reads no audio, only vision, text; leave snr_db out"),
        ({"blur": (1,)}, {"audio"}, "noise.blur: the bundle reads no vision, only audio; leave blur out"),
        ({"without": ("text",)}, {"audio", "vision"}, "noise.without: the bundle reads no text, only audio, vision; leave it out"),
        ({"without": ("audio",)}, {"audio"}, "noise.without: the bundle reads audio alone, so that nothing would be left"),
        ({}, {"text"}, "noise: nothing is degraded: snr_db, blur and without are empty, and the bundle reads text"),
    ],
)
def test_what_concerns_nothing_is_refused(given, read, expected):
    with pytest.raises(ConfigError) as caught:
        conditions_of(noise(**given), read)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "give either predictions (files to score) or noise (a bundle, for degraded media), and not both"),
        ({"predictions": ["a.csv"], "noise": {"bundle": "b"}}, "give either predictions"),
        ({"noise": {"bundle": "b", "without": ["smell"]}}, "noise.without.0: 'smell' is not allowed. Allowed: audio, vision, text"),
        ({"noise": {"bundle": "b", "snr_db": [5, 5]}}, "noise: snr_db: names one twice"),
        ({"noise": {"bundle": "b", "snr_db": [5, 5.0000001]}}, "noise: snr_db: names one twice"),
        ({"noise": {"bundle": "b", "snr_db": [0, -0.0]}}, "noise: snr_db: names one twice"),
        ({"noise": {"bundle": "b", "snr_db": [500]}}, "noise.snr_db.0: input should be less than or equal to 100"),
        ({"noise": {"bundle": "b", "blur": [0]}}, "noise.blur.0: input should be greater than 0"),
        ({"noise": {"bundle": "b", "source": "s3://noises"}}, "a folder of this machine is needed, not the URL"),
        ({"noise": {"bundle": "b"}, "out": "r.csv"}, "out: r.csv: the scores are written as .json"),
        ({"noise": {"bundle": "b"}, "train_labels": "m.parquet"}, "train_labels: are compared with files of predictions"),
        ({"noise": {"snr_db": [5]}}, "noise.bundle: required, but missing"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(given, expected):
    with pytest.raises(ConfigError) as caught:
        parse_config(EvaluateConfig, BASE | given, "test")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
