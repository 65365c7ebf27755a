"""What selftrain.json says of the labels of a round, for people: how sure, how right, how many.

Shapes: N clips, C classes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mer_ray.objectives import Outcome, score
from mer_ray.prediction.voting import Decision
from mer_ray.selftraining.committee import DEV, Committee, Labels, RealArray
from mer_ray.selftraining.pseudo_labels import PseudoLabels

NUM_BINS = 20
# Of the curves over thresholds.
GRID = (*[round(0.3 + 0.02 * step, 2) for step in range(35)], 0.99, 0.999)


def pseudo_label_facts(pseudo: PseudoLabels, dev: Labels, truth: Labels, min_agreement: int) -> dict[str, Any]:
    """Counts, thresholds, histograms of the confidence, and curves over one threshold for all classes."""
    classes = pseudo.committee.classes
    return {
        "num_unlabelled": len(pseudo.rows),
        "num_selected": int(pseudo.selected_U.sum()),
        "coverage": float(pseudo.selected_U.mean()),
        "thresholds": {name: _known(value) for name, value in zip(classes, pseudo.thresholds_C, strict=True)},
        "estimated_prior": dict(zip(classes, pseudo.prior_C.tolist(), strict=True)),
        "prior_error_on_dev": _prior_error(pseudo.committee, dev),
        "temperatures": list(pseudo.committee.temperatures),
        "truth": quality(pseudo.decision, pseudo.selected_U, truth, classes),
        "histogram": _histogram(pseudo, classes),
        "curve_dev": curve(pseudo.dev, dev, min_agreement, len(classes)),
        "curve_truth": curve(pseudo.decision, truth, min_agreement, len(classes)),
    }


def quality(decision: Decision, selected_N: npt.NDArray[np.bool_], truth: Labels, classes: tuple[str, ...]) -> dict[str, Any] | None:
    """Precision and coverage, of all and of each class, over the clips whose truth is known; None where none is.

    A class's precision is over the selected clips labelled so, its coverage the selected share of the clips that are of it.
    """
    known_N = truth.emotion_N >= 0
    if not known_N.any():
        return None
    label_N, class_N, selected_N = truth.emotion_N[known_N], decision.class_N[known_N], selected_N[known_N]
    is_right_N = label_N == class_N
    per_class = {}
    for number, name in enumerate(classes):
        is_named_N, is_truly_N = selected_N & (class_N == number), label_N == number
        per_class[name] = {
            "num_true": int(is_truly_N.sum()),
            "num_selected": int(is_named_N.sum()),
            "precision": _share(is_right_N[is_named_N]),
            "coverage": _share(selected_N[is_truly_N]),
        }
    return {
        "num_known": len(label_N),
        "precision": _share(is_right_N[selected_N]),
        "coverage": float(selected_N.mean()),
        "accuracy_of_all": float(is_right_N.mean()),
        "per_class": per_class,
    }


def curve(decision: Decision, labels: Labels, min_agreement: int, num_classes: int) -> list[dict[str, float | None]] | None:
    """At each threshold precision, coverage and weighted F1 of the labels above it; None where no label is known."""
    known_N = labels.emotion_N >= 0
    if not known_N.any():
        return None
    rows = []
    for threshold in GRID:
        taken_N = known_N & (decision.confidence_N >= threshold) & (decision.agreement_N >= min_agreement)
        label_N, class_N = torch.tensor(labels.emotion_N[taken_N]), torch.tensor(decision.class_N[taken_N])
        rows.append(
            {
                "threshold": threshold,
                "coverage": float(taken_N.sum() / known_N.sum()),
                "precision": _share((labels.emotion_N == decision.class_N)[taken_N]),
                "weighted_f1": score(Outcome(label_N, class_N, {}, {}, num_classes)).get("weighted_f1"),
            }
        )
    return rows


def _prior_error(committee: Committee, dev: Labels) -> float:
    """How far the same estimate is off on dev, where shares are known: half the sum of absolute differences, 0 to 1."""
    counts_C = np.bincount(dev.emotion_N[dev.emotion_N >= 0], minlength=len(committee.classes))
    return float(np.abs(committee.prior_of(DEV) - counts_C / counts_C.sum()).sum() / 2)


def _histogram(pseudo: PseudoLabels, classes: tuple[str, ...]) -> dict[str, Any]:
    """Counts by bin of the confidence and chosen class, of all and of the selected clips."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    counts = {}
    for number, name in enumerate(classes):
        of_class_U = pseudo.decision.class_N == number
        counts[name] = {
            "all": _counts(pseudo.decision.confidence_N[of_class_U], edges),
            "selected": _counts(pseudo.decision.confidence_N[of_class_U & pseudo.selected_U], edges),
        }
    return {"edges": edges.tolist(), "classes": counts}


def _counts(confidence_N: RealArray, edges: RealArray) -> list[int]:
    found: list[int] = np.histogram(confidence_N.clip(0, 1), edges)[0].tolist()
    return found


def _share(flags_N: npt.NDArray[np.bool_]) -> float | None:
    return float(flags_N.mean()) if len(flags_N) else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
