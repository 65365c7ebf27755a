"""Clips whose media could not be degraded are no clips on which a model fails."""

import numpy as np
import pytest

from mer_ray.batching import EncoderFeatures
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import RunError
from mer_ray.prediction.condition_features import refuse_lost
from mer_ray.prediction.noise_conditions import Condition

NOISY = Condition("noise 3 dB", "audio", DegradationConfig(noise="speech_like", snr_db=(3, 3)))


def features(*present: bool) -> EncoderFeatures:
    return EncoderFeatures("spectral@12345678", "audio", (), np.array(present), {})


def test_a_clip_that_was_lost_is_named_with_its_reason():
    faults = {"b": ["clips/b.mp4: no such file"]}
    with pytest.raises(RunError) as caught:
        refuse_lost(NOISY, features(True, True, True), features(True, False, False), ["a", "b", "c"], faults)
    assert str(caught.value).startswith("noise 3 dB: 2 of 3 clips have features of spectral@12345678, but not of degraded media, ")
    assert "e.g. b: clips/b.mp4: no such file; mount" in str(caught.value) and "\n" not in str(caught.value)


def test_clips_that_never_had_it_are_not_lost():
    refuse_lost(NOISY, features(True, False), features(True, False), ["a", "b"], {})
