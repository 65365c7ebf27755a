"""The best possible scores of a synthetic corpus: Bayes' rule on the generator's latent draws.

Shapes: N draws, M modalities, K different things that can be seen, C classes.
"""

from collections.abc import Sequence

import numpy as np

from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.core.seeding import derive_seed
from mer_ray.corpora.synthetic.config import CLASSES, SynthConfig
from mer_ray.corpora.synthetic.latents import (
    BoolArray,
    IntArray,
    RealArray,
    class_shares,
    confusion_matrix,
    draw_expressions,
    draw_labels,
    draw_present,
    label_matrix,
)

NUM_DRAWS = 100_000
# In clips, of those drawn: below it lies the rounding of the sums.
MIN_GROWTH = 1e-6
FUSED = "fused"
# Where a modality is missing, in the place of the class that it shows.
MISSING = len(CLASSES)


def estimate_ceilings(config: SynthConfig, num_draws: int = NUM_DRAWS) -> dict[str, float]:
    """Weighted F1 of the best decisions, for each modality and for `fused`, on fresh draws.

    No media and no trained model: missing modalities and label noise count, legibility of the rendering does not.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "ceilings"))
    emotion = rng.choice(len(CLASSES), num_draws, p=class_shares(config.class_priors))
    label = draw_labels(emotion, config, rng)
    expression = draw_expressions(emotion, config, rng)
    present = draw_present(num_draws, config, rng)
    return score_posteriors(config, label, expression, present)


def score_posteriors(
    config: SynthConfig, label: IntArray, expression: dict[Modality, IntArray], present: dict[Modality, BoolArray]
) -> dict[str, float]:
    """Weighted F1 of Bayes' rule on given draws, for each modality and for `fused`."""
    # Slow to load, and every command loads this module.
    from sklearn.metrics import f1_score

    choices: dict[str, Sequence[Modality]] = {**{name: (name,) for name in MODALITIES}, FUSED: MODALITIES}
    scores = {}
    for name, modalities in choices.items():
        seen_MN = np.stack([np.where(present[modality], expression[modality], MISSING) for modality in modalities])
        code_N = np.ravel_multi_index(tuple(seen_MN), (MISSING + 1,) * len(modalities))
        _, first_K, which_N, num_draws_K = np.unique(code_N, return_index=True, return_inverse=True, return_counts=True)
        decisions_K = decide(label_posterior(config, modalities, seen_MN[:, first_K]), num_draws_K)
        scores[name] = float(f1_score(label, decisions_K[which_N], average="weighted", labels=range(len(CLASSES)), zero_division=0.0))
    return scores


def decide(posterior_KC: RealArray, num_draws_K: IntArray) -> IntArray:
    """The decisions of the highest expected weighted F1, one for each of the K things that can be seen: (K,).

    The most probable class is best for accuracy, not for F1: it hardly ever names the rarer of two partners. Our choice:
    decisions are changed one at a time as long as any change helps.
    """
    mass_KC = posterior_KC * num_draws_K[:, None]
    # That ends in a local optimum, so it starts from what is best for accuracy and from what is best for recall.
    starts = (mass_KC.argmax(axis=1), (mass_KC / np.maximum(mass_KC.sum(axis=0), 1e-12)).argmax(axis=1))
    return max((_climb(mass_KC, start_K) for start_K in starts), key=lambda found: found[1])[0]


def _climb(mass_KC: RealArray, start_K: IntArray) -> tuple[IntArray, float]:
    """Change one decision at a time while weighted F1 grows; the decisions and their weighted F1."""
    num_actual_C, num_seen_K = mass_KC.sum(axis=0), mass_KC.sum(axis=1)
    decisions_K = start_K.copy()
    hits_C, decided_C = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    np.add.at(hits_C, decisions_K, mass_KC[np.arange(len(mass_KC)), decisions_K])
    np.add.at(decided_C, decisions_K, num_seen_K)

    def weighted_f1(hits_C: RealArray, decided_C: RealArray) -> RealArray:
        return np.asarray(num_actual_C * 2.0 * hits_C / np.maximum(num_actual_C + decided_C, 1e-12))

    changed = True
    while changed:
        changed = False
        for seen, mass_C in enumerate(mass_KC):
            decision = decisions_K[seen]
            hits_C[decision] -= mass_C[decision]
            decided_C[decision] -= num_seen_K[seen]
            growth_C = weighted_f1(hits_C + mass_C, decided_C + num_seen_K[seen]) - weighted_f1(hits_C, decided_C)
            if growth_C.max() > growth_C[decision] + MIN_GROWTH:
                decision = int(growth_C.argmax())
                decisions_K[seen], changed = decision, True
            hits_C[decision] += mass_C[decision]
            decided_C[decision] += num_seen_K[seen]
    return decisions_K, float(weighted_f1(hits_C, decided_C).sum())


def label_posterior(config: SynthConfig, modalities: Sequence[Modality], seen_MK: IntArray) -> RealArray:
    """P(label | what the modalities show), K times: (K, C). Bayes' rule; modalities are independent given the emotion.

    `seen_MK` holds the class that each modality shows, or `MISSING`.
    """
    joint_KC = np.tile(class_shares(config.class_priors), (seen_MK.shape[1], 1))
    for modality, seen_K in zip(modalities, seen_MK, strict=True):
        # A modality is missing as often for one class as for another: that says nothing.
        likelihood_CS = np.column_stack([confusion_matrix(config, modality), np.ones(len(CLASSES))])
        joint_KC *= likelihood_CS[:, seen_K].T
    posterior_KC = joint_KC / joint_KC.sum(axis=1, keepdims=True)
    return np.asarray(posterior_KC @ label_matrix(config), dtype=np.float64)
