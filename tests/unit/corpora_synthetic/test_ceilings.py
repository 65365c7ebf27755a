"""The best possible scores: in the range that the corpus promises, and equal to an exact computation."""

import itertools

import numpy as np
import pytest

from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.ceilings import FUSED, estimate_ceilings
from mer_ray.corpora.synthetic.config import ModalityConfig, SynthConfig
from mer_ray.corpora.synthetic.latents import class_shares, confusion_matrix

CONFIG = SynthConfig(out="unused")


def _joint(config: SynthConfig, modalities: tuple[str, ...]) -> np.ndarray:
    """P(class, what is seen) of all that can be seen, for configs without label noise: (C, 7 ** M)."""
    columns = []
    for seen in itertools.product(range(7), repeat=len(modalities)):
        joint = class_shares(config.class_priors).copy()
        for modality, shown in zip(modalities, seen, strict=True):
            missing = config.modality(modality).missing
            joint *= missing if shown == 6 else (1 - missing) * confusion_matrix(config, modality)[:, shown]
        columns.append(joint)
    return np.stack(columns, axis=1)


def _weighted_f1(joint: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Weighted F1 of each row of decisions, a class per thing seen."""
    shares, scores = joint.sum(axis=1), np.zeros(len(decisions))
    for number in range(6):
        decided = decisions == number
        scores += shares[number] * 2 * (decided @ joint[number]) / (shares[number] + decided @ joint.sum(axis=0))
    return scores


def test_fusion_is_within_its_range_and_far_above_every_modality() -> None:
    ceilings = estimate_ceilings(CONFIG)
    assert set(ceilings) == {*MODALITIES, FUSED}
    assert 0.80 <= ceilings[FUSED] <= 0.95
    assert all(ceilings[FUSED] - ceilings[modality] >= 0.10 for modality in MODALITIES)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_single_ceiling_is_the_best_of_all_decisions(modality: str) -> None:
    every_rule = np.array(list(itertools.product(range(6), repeat=7)), dtype=np.int8)
    best = _weighted_f1(_joint(CONFIG, (modality,)), every_rule).max()
    # Clips that lack all three keep one: at the default rates 3 in 100,000, which the enumeration leaves out.
    assert estimate_ceilings(CONFIG)[modality] == pytest.approx(best, abs=0.005)


def test_the_fused_ceiling_is_that_of_the_most_probable_class_or_more() -> None:
    joint = _joint(CONFIG, MODALITIES)
    most_probable = float(_weighted_f1(joint, joint.argmax(axis=0)[None])[0])
    assert most_probable - 0.003 <= estimate_ceilings(CONFIG)["fused"] <= most_probable + 0.01


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
