"""The best possible scores: in the range that the corpus promises, and equal to an exact computation."""

import itertools

import numpy as np
import pytest

from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.ceilings import FUSED, estimate_ceilings
from mer_ray.corpora.synthetic.config import ModalityConfig, SynthConfig
from mer_ray.corpora.synthetic.latents import class_shares, confusion_matrix

CONFIG = SynthConfig(out="unused")


def _exact_weighted_f1(config: SynthConfig, modalities: tuple[str, ...]) -> float:
    """Weighted F1 of Bayes' rule by enumeration of all that can be seen; for configs without label noise."""
    shares = class_shares(config.class_priors)
    confusion_CC = np.zeros((6, 6))
    for seen in itertools.product(range(7), repeat=len(modalities)):
        joint = shares.copy()
        for modality, shown in zip(modalities, seen, strict=True):
            missing = config.modality(modality).missing
            joint *= missing if shown == 6 else (1 - missing) * confusion_matrix(config, modality)[:, shown]
        confusion_CC[:, joint.argmax()] += joint
    hits = np.diag(confusion_CC)
    f1_C = 2 * hits / np.maximum(confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1), 1e-12)
    return float(shares @ f1_C)


def test_fusion_is_within_its_range_and_far_above_every_modality() -> None:
    ceilings = estimate_ceilings(CONFIG)
    assert set(ceilings) == {*MODALITIES, FUSED}
    assert 0.80 <= ceilings[FUSED] <= 0.95
    assert all(ceilings[FUSED] - ceilings[modality] >= 0.10 for modality in MODALITIES)


@pytest.mark.parametrize("modalities", [("audio",), ("vision",), ("text",), MODALITIES])
def test_draws_agree_with_enumeration(modalities: tuple[str, ...]) -> None:
    name = modalities[0] if len(modalities) == 1 else FUSED
    # Clips that lack all three keep one: at the default rates 3 in 100,000, which the enumeration leaves out.
    assert estimate_ceilings(CONFIG)[name] == pytest.approx(_exact_weighted_f1(CONFIG, modalities), abs=0.006)


def test_knobs_lower_what_they_should() -> None:
    base = estimate_ceilings(CONFIG)
    noisier = estimate_ceilings(CONFIG.model_copy(update={"audio": ModalityConfig(noise=0.4)}))
    assert noisier["audio"] < base["audio"] - 0.05
    assert noisier["vision"] == pytest.approx(base["vision"], abs=0.01)
    assert noisier[FUSED] < base[FUSED] - 0.01
    absent = estimate_ceilings(CONFIG.model_copy(update={"text": ModalityConfig(missing=0.5)}))
    assert absent["text"] < base["text"] - 0.05 and absent[FUSED] < base[FUSED] - 0.02
    assert estimate_ceilings(CONFIG.model_copy(update={"label_noise": 0.2}))[FUSED] == pytest.approx(base[FUSED] * 0.8, abs=0.02)


def test_a_clear_corpus_can_be_solved() -> None:
    clear = ModalityConfig(confusion=0, noise=0, missing=0)
    ceilings = estimate_ceilings(CONFIG.model_copy(update={"audio": clear, "vision": clear, "text": clear}))
    assert ceilings == dict.fromkeys((*MODALITIES, FUSED), 1.0)
