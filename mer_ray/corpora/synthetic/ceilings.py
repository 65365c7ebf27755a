"""The best possible scores of a synthetic corpus: Bayes' rule on the generator's latent draws.

Shapes: N draws, C classes.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import f1_score

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
FUSED = "fused"


def estimate_ceilings(config: SynthConfig, num_draws: int = NUM_DRAWS) -> dict[str, float]:
    """Weighted F1 of the most probable label, for each modality and for `fused`, on fresh draws.

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
    choices: dict[str, Sequence[Modality]] = {**{name: (name,) for name in MODALITIES}, FUSED: MODALITIES}
    scores = {}
    for name, modalities in choices.items():
        predicted = label_posterior(config, modalities, expression, present).argmax(axis=1)
        scores[name] = float(f1_score(label, predicted, average="weighted", labels=range(len(CLASSES)), zero_division=0.0))
    return scores


def label_posterior(
    config: SynthConfig, modalities: Sequence[Modality], expression: dict[Modality, IntArray], present: dict[Modality, BoolArray]
) -> RealArray:
    """P(label | what the modalities show): (N, C). Bayes' rule; modalities are independent given the emotion."""
    num_draws = len(expression[modalities[0]])
    joint_NC = np.tile(class_shares(config.class_priors), (num_draws, 1))
    for modality in modalities:
        likelihood_NC = confusion_matrix(config, modality)[:, expression[modality]].T
        joint_NC *= np.where(present[modality][:, None], likelihood_NC, 1.0)
    posterior_NC = joint_NC / joint_NC.sum(axis=1, keepdims=True)
    return np.asarray(posterior_NC @ label_matrix(config), dtype=np.float64)
