"""Wrong configs of a synthetic corpus end as one clear line."""

from typing import Any

import pytest

from mer_ray.core.config import identity_fields, identity_of, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.config import CLASSES, PARTNERS, SynthConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": {"confusion": 0.8, "noise": 0.4}}, "audio: confusion \\+ noise is 1.2; together they are at most 1"),
        ({"vision": {"confusion": 2}}, "vision.confusion"),
        ({"class_priors": {"happy": 1}}, "class_priors needs exactly the classes neutral, angry"),
        ({"unlabelled_priors": dict.fromkeys(CLASSES, 0)}, "unlabelled_priors: weights are at least 0 and not all 0"),
        ({"duration_s": [4, 2]}, "the shortest, then the longest"),
        ({"size": 161}, "size"),
        ({"valence_noise": -0.1}, "valence_noise"),
        ({"valence_noise": float("inf")}, "valence_noise"),
        ({"num_clip": 5}, "num_clip: unknown key; did you mean 'num_clips'"),
        ({"generator": 2}, "generator"),
        ({"features": {"peak_layers": {"audio": 9, "vision": 0, "text": 0}}}, "layers count from 0 to 7"),
        ({"features": {"peak_layers": {"audio": 1}}}, "peak_layers lacks vision, text"),
    ],
)
def test_wrong_values_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(SynthConfig, {"out": "corpus", **change}, "synth")


def test_places_and_speed_are_no_part_of_the_identity() -> None:
    one = SynthConfig(out="here", num_processes=1)
    assert identity_of(one) == identity_of(SynthConfig(out="there", num_processes=8))
    assert identity_of(one) != identity_of(SynthConfig(out="here", seed=1))


def test_valence_noise_is_part_of_the_identity_where_there_is_any() -> None:
    none, some, more = (SynthConfig(out="here", valence_noise=noise) for noise in (0.0, 0.5, 1.0))
    assert "valence_noise" not in identity_fields(none)
    assert len({identity_of(one) for one in (none, some, more)}) == 3


def test_partners_are_disjoint_perfect_matchings() -> None:
    pairs = [frozenset(pair) for modality in MODALITIES for pair in PARTNERS[modality]]
    assert len(set(pairs)) == len(pairs) == 9
    for modality in MODALITIES:
        assert sorted(name for pair in PARTNERS[modality] for name in pair) == sorted(CLASSES)
