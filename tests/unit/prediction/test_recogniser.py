"""What `Recogniser.predict` takes; real predictions of files are in tests/integration."""

import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.prediction.recogniser import open_bundle


@pytest.mark.parametrize("without", [["video"], "audio", "video"])
def test_modalities_that_are_none_are_refused(folds_bundle, without):
    """They would leave out nothing, and nobody would know."""
    with pytest.raises(ConfigError, match="is no list of modalities; allowed: audio, vision, text"):
        open_bundle(folds_bundle, "cpu").predict([{"text": "well"}], without=without)


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.1])
def test_a_threshold_is_a_confidence(folds_bundle, threshold):
    with pytest.raises(ConfigError, match=r"abstain_below .*: a confidence from 0 to 1"):
        open_bundle(folds_bundle, "cpu").predict([{"text": "well"}], abstain_below=threshold)


def test_one_clip_needs_no_list(folds_bundle):
    with pytest.raises(ConfigError, match="its features were imported"):
        open_bundle(folds_bundle, "cpu").predict({"text": "well"})
