"""The committee's predictions of unlabelled clips -> the labels that students learn from.

Shapes: U unlabelled clips, V voters, N dev clips, C classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mer_ray.prediction.voting import Decision
from mer_ray.selftraining.committee import DEV, Committee, Labels, RealArray
from mer_ray.selftraining.config import SelftrainConfig, StudentConfig
from mer_ray.selftraining.thresholds import fixed_thresholds, thresholds_from_dev
from mer_ray.training.training_data import TrainingData

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PseudoLabels:
    """The labels that a committee gives to the rows (U,) of the unlabelled part, and which of them are selected.

    `thresholds_C` NaN: no threshold of the class reached the precision on dev, so none of it is selected. `prior_C` is the estimated
    share of each class; `dev` the same decision on dev.
    """

    rows: IntArray
    decision: Decision
    selected_U: npt.NDArray[np.bool_]
    thresholds_C: RealArray
    prior_C: RealArray
    probs_VUC: RealArray
    committee: Committee
    dev: Decision


def make_pseudo_labels(config: SelftrainConfig, committee: Committee, dev: Labels, rows: dict[str, IntArray]) -> PseudoLabels:
    """Decide and select; of labels it sees only those of dev. `rows` are those of each unlabelled split."""
    selection = config.selection
    whole = _joined(committee, tuple(rows))
    prior_C = whole.prior_of(UNLABELLED)
    corrected_C = prior_C if selection.prior == "em" else None
    decision = whole.decide(config.vote, UNLABELLED, corrected_C)
    on_dev = committee.decide(config.vote, DEV, corrected_C)
    if selection.from_dev is None:
        thresholds_C = fixed_thresholds(selection, committee.classes)
    else:
        weight_N = np.ones(len(dev.emotion_N)) if corrected_C is None else _weights_of(dev.emotion_N, corrected_C)
        thresholds_C = thresholds_from_dev(
            selection.from_dev, on_dev.class_N, on_dev.confidence_N, dev.emotion_N, weight_N, len(committee.classes)
        )
    # A comparison with NaN is false.
    selected_U = (decision.confidence_N >= thresholds_C[decision.class_N]) & (decision.agreement_N >= selection.min_agreement)
    return PseudoLabels(
        np.concatenate(list(rows.values())), decision, selected_U, thresholds_C, prior_C, whole.probs[UNLABELLED], committee, on_dev
    )


UNLABELLED = "unlabelled part"


def _joined(committee: Committee, splits: tuple[str, ...]) -> Committee:
    """The unlabelled splits as one."""
    return replace(committee, probs={UNLABELLED: np.concatenate([committee.probs[split] for split in splits], axis=1)})


def _weights_of(label_N: IntArray, prior_C: RealArray) -> RealArray:
    """How much each dev clip stands for where classes have the shares `prior_C`: target share over share on dev."""
    counts_C = np.bincount(label_N[label_N >= 0], minlength=len(prior_C))
    ratio_C = np.divide(prior_C, counts_C / counts_C.sum(), out=np.zeros_like(prior_C), where=counts_C > 0)
    return np.where(label_N >= 0, ratio_C[label_N], 0.0)


def with_pseudo_labels(data: TrainingData, pseudo: PseudoLabels, student: StudentConfig) -> TrainingData:
    """The data with the selected clips among those that train.

    They have no values: what a teacher predicts of valence is no label (our choice). Gold labels stay as they are, as soft ones.
    """
    rows = pseudo.rows[pseudo.selected_U]
    num_classes = len(data.task.classes)
    probs_NC = data.class_shares.astype(np.float32).copy()
    if student.labels == "soft":
        probs_NC[rows] = pseudo.decision.probs_NC[pseudo.selected_U]
    else:
        probs_NC[rows] = np.eye(num_classes, dtype=np.float32)[pseudo.decision.class_N[pseudo.selected_U]]
    joins_N = np.zeros(data.num_clips, dtype=bool)
    joins_N[rows] = True
    weight_N = None if student.pseudo_weight == 1 else np.where(joins_N, student.pseudo_weight, 1.0).astype(np.float32)
    return replace(data, emotion_probs_NC=probs_NC, also_train_N=joins_N, weight_N=weight_N)
