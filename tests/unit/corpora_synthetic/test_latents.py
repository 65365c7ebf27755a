"""The draws behind a corpus follow their knobs, and what must tell nothing of the class tells nothing."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, f_oneway

from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.config import CLASS_COUNTS, CLASSES, VALENCE_MEANS, VALENCE_STDS, ModalityConfig, SynthConfig
from mer_ray.corpora.synthetic.latents import Latents, class_shares, confusion_matrix, draw_latents

NUM_CLIPS = 20_000


def _draw(**knobs: Any) -> Latents:
    return draw_latents(SynthConfig(out="unused", **{"num_clips": NUM_CLIPS, **knobs}))


def test_small_corpora_hold_the_priors_too() -> None:
    latents = _draw(num_clips=360)
    expected = np.array(CLASS_COUNTS) / sum(CLASS_COUNTS) * 360
    assert np.abs(np.bincount(latents.emotion, minlength=6) - expected).max() < 1


def test_valence_has_each_class_mean_and_deviation() -> None:
    latents = _draw()
    for emotion, (mean, std) in enumerate(zip(VALENCE_MEANS, VALENCE_STDS, strict=True)):
        valence = latents.valence[latents.emotion == emotion]
        assert valence.mean() == pytest.approx(mean, abs=0.12)
        assert valence.std() == pytest.approx(std, rel=0.1)
    assert latents.valence.min() >= -5 and latents.valence.max() <= 5


def test_valence_can_be_made_independent_of_the_class() -> None:
    def p_value(latents: Latents) -> float:
        return float(f_oneway(*[latents.valence[latents.emotion == emotion] for emotion in range(6)]).pvalue)

    following, independent = _draw(), _draw(valence_follows_emotion=False)
    assert p_value(following) < 1e-9
    assert p_value(independent) > 0.01
    assert independent.valence.mean() == pytest.approx(following.valence.mean(), abs=0.05)
    assert independent.valence.std() == pytest.approx(following.valence.std(), abs=0.05)
    # What the media show is what the label says.
    assert np.corrcoef(independent.valence, independent.valence_offset)[0, 1] > 0.99


def test_what_the_media_show_of_valence_tells_nothing_of_the_class() -> None:
    latents = _draw()
    assert f_oneway(*[latents.valence_offset[latents.emotion == emotion] for emotion in range(6)]).pvalue > 0.01


@pytest.mark.parametrize("modality", MODALITIES)
def test_expressions_follow_the_confusion_matrix(modality: Any) -> None:
    knobs = ModalityConfig(confusion=0.4, noise=0.2)
    config = SynthConfig(out="unused", num_clips=NUM_CLIPS, **{modality: knobs})
    expected_CC = confusion_matrix(config, modality)
    assert expected_CC.sum(axis=1) == pytest.approx(np.ones(6))
    latents = draw_latents(config)
    for emotion in range(6):
        shown = latents.expression[modality][latents.emotion == emotion]
        assert np.bincount(shown, minlength=6) / len(shown) == pytest.approx(expected_CC[emotion], abs=0.06)


def test_modalities_go_missing_at_their_rates_and_never_all() -> None:
    rates = {"audio": 0.5, "vision": 0.2, "text": 0.6}
    latents = _draw(**{modality: ModalityConfig(missing=rate) for modality, rate in rates.items()})
    present = np.stack([latents.present[modality] for modality in MODALITIES])
    assert present.any(axis=0).all()
    all_missing = 0.5 * 0.2 * 0.6
    for modality, rate in rates.items():
        assert (~latents.present[modality]).mean() == pytest.approx(rate - all_missing / 3, abs=0.02)


def test_label_noise_moves_labels_and_nothing_else() -> None:
    clean, noisy = _draw(), _draw(label_noise=0.1)
    assert np.array_equal(clean.label, clean.emotion)
    assert (noisy.label != noisy.emotion).mean() == pytest.approx(0.1, abs=0.01)
    assert np.array_equal(noisy.emotion, clean.emotion)


@pytest.mark.parametrize("follows", [True, False])
def test_valence_noise_moves_labels_of_valence_and_nothing_else(follows: bool) -> None:
    clean, noisy, noisier = (_draw(valence_follows_emotion=follows, valence_noise=noise) for noise in (0.0, 0.5, 1.0))
    added = noisy.valence - clean.valence
    inside = (np.abs(clean.valence) < 2) & (np.abs(noisier.valence) < 5)
    assert added[inside].std() == pytest.approx(0.5, rel=0.03) and added[inside].mean() == pytest.approx(0, abs=0.02)
    assert abs(np.corrcoef(added[inside], clean.valence_offset[inside])[0, 1]) < 0.03
    assert np.abs(noisier.valence).max() == 5
    assert np.allclose(noisier.valence[inside] - clean.valence[inside], 2 * added[inside])
    assert clean.table().drop_columns(["valence"]) == noisy.table().drop_columns(["valence"])


def test_valence_noise_follows_from_the_seed() -> None:
    one, again, other = (_draw(num_clips=50, valence_noise=0.5, seed=seed).valence for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_unlabelled_clips_have_a_balance_of_their_own() -> None:
    priors = {**dict.fromkeys(CLASSES, 0.0), "happy": 3.0, "sad": 1.0}
    latents = _draw(num_clips=600, num_unlabelled=400, unlabelled_priors=priors)
    assert latents.labelled.sum() == 600
    assert np.bincount(latents.emotion[~latents.labelled], minlength=6).tolist() == [0, 0, 300, 100, 0, 0]
    assert class_shares(priors)[CLASSES.index("happy")] == 0.75


def test_speaker_length_and_missing_parts_tell_nothing_of_the_class() -> None:
    latents = _draw(audio=ModalityConfig(missing=0.2))
    tables = [
        np.stack([np.bincount(latents.emotion[latents.speaker == speaker], minlength=6) for speaker in range(30)]),
        np.stack([np.bincount(latents.emotion[latents.present["audio"] == present], minlength=6) for present in (False, True)]),
    ]
    assert min(chi2_contingency(table).pvalue for table in tables) > 0.01
    assert f_oneway(*[latents.duration_s[latents.emotion == emotion] for emotion in range(6)]).pvalue > 0.01
    assert latents.duration_s.min() >= 2 and latents.duration_s.max() <= 4


def test_seeds_decide_everything() -> None:
    assert _draw(num_clips=50).table().equals(_draw(num_clips=50).table())
    assert not _draw(num_clips=50).table().equals(_draw(num_clips=50, seed=1).table())
