"""Metrics, errors and correlations by torchmetrics; a metric without a labelled clip is absent.

torchmetrics is loaded where it is used: it takes seconds (it loads torchvision), which whoever mistyped a path would wait for, too.

Shapes: N clips, n of them labelled, C classes, R resamples of the clips (1 = the clips as they are).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LOWER_IS_BETTER = ("_mse", "loss")
EMOTION_METRICS = ("weighted_f1", "macro_f1", "uar", "accuracy")


@dataclass(frozen=True)
class Outcome:
    """Labels beside predictions: `label_N` (-1 = unknown) and `predicted_N` int64; values float32 (N,), NaN = unknown label."""

    label_N: Tensor
    predicted_N: Tensor
    value_labels: dict[str, Tensor]
    values: dict[str, Tensor]
    num_classes: int


def merge(parts: Sequence[Outcome]) -> Outcome:
    """Several parts (folds, ranks) as one: metrics over all clips are not means of metrics over parts."""
    first = parts[0]
    return Outcome(
        torch.cat([part.label_N for part in parts]),
        torch.cat([part.predicted_N for part in parts]),
        {name: torch.cat([part.value_labels[name] for part in parts]) for name in first.value_labels},
        {name: torch.cat([part.values[name] for part in parts]) for name in first.values},
        first.num_classes,
    )


def take(outcome: Outcome, rows: Tensor) -> Outcome:
    """The outcome of the clips that an index or a mask names, in its order."""
    return Outcome(
        outcome.label_N[rows],
        outcome.predicted_N[rows],
        {name: label_N[rows] for name, label_N in outcome.value_labels.items()},
        {name: value_N[rows] for name, value_N in outcome.values.items()},
        outcome.num_classes,
    )


def metric_names(values: Sequence[str]) -> tuple[str, ...]:
    """The metrics of a task that predicts emotion and these values."""
    of_values = [f"{name}_{kind}" for name in values for kind in ("ccc", "mse")]
    return (*EMOTION_METRICS, *of_values, *(["mer2023"] if "valence" in values else []))


def is_better(metric: str, score: float, than: float) -> bool:
    """Whether a score beats another: errors are better low, all other metrics high."""
    return score < than if metric.endswith(LOWER_IS_BETTER) else score > than


def score(outcome: Outcome) -> dict[str, float]:
    """All metrics that are defined for these clips.

    `weighted_f1` and `macro_f1` as scikit-learn's (a class neither labelled nor predicted takes no part), `uar` = mean recall over
    labelled classes, `<value>_ccc` after Lin (1989) with unbiased variances, `mer2023` = weighted_f1 - 0.25 * valence_mse.
    """
    scores = {name: float(values_R[0]) for name, values_R in resampled_scores(outcome, None).items()}
    return {name: value for name, value in scores.items() if value == value}


def resampled_scores(outcome: Outcome, uniform_RN: Tensor | None) -> dict[str, Tensor]:
    """Metrics (R,) over resamples of the clips; NaN where a resample leaves one undefined.

    `uniform_RN` in [0, 1) picks n of a metric's n labelled clips with replacement, alike for metrics over the same clips.
    None: each clip once.
    """
    picked = _Picked(outcome.num_classes)
    known_N = outcome.label_N >= 0
    if known_N.any():
        rows_RN = _pick(int(known_N.sum()), uniform_RN)
        picked.emotion = outcome.predicted_N[known_N][rows_RN], outcome.label_N[known_N][rows_RN]
    for name, value_N in outcome.values.items():
        known_N = ~torch.isnan(outcome.value_labels[name])
        if known_N.any():
            rows_RN = _pick(int(known_N.sum()), uniform_RN)
            picked.values[name] = value_N[known_N].double()[rows_RN], outcome.value_labels[name][known_N].double()[rows_RN]
    return picked.scores()


def swapped_scores(outcome: Outcome, other: Outcome, from_other_RN: Tensor) -> dict[str, Tensor]:
    """Metrics (R,) of `outcome` where the clips that `from_other_RN` (bool) marks take the predictions of `other`.

    Both are over the same clips with the same labels; only values that both predict are scored.
    """
    picked = _Picked(outcome.num_classes)
    known_N = outcome.label_N >= 0
    if known_N.any():
        swapped_RN = from_other_RN[:, known_N]
        predicted_RN = torch.where(swapped_RN, other.predicted_N[known_N], outcome.predicted_N[known_N])
        picked.emotion = predicted_RN, outcome.label_N[known_N].expand_as(predicted_RN)
    for name in [name for name in outcome.values if name in other.values]:
        known_N = ~torch.isnan(outcome.value_labels[name])
        if known_N.any():
            value_RN = torch.where(from_other_RN[:, known_N], other.values[name][known_N], outcome.values[name][known_N]).double()
            picked.values[name] = value_RN, outcome.value_labels[name][known_N].double().expand_as(value_RN)
    return picked.scores()


@dataclass
class _Picked:
    """Predictions and labels (R, n) of the clips that each metric is over."""

    num_classes: int
    emotion: tuple[Tensor, Tensor] | None = None
    values: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def scores(self) -> dict[str, Tensor]:
        """All metrics (R,), NaN where undefined."""
        scores: dict[str, Tensor] = {}
        if self.emotion is not None:
            scores |= _emotion_scores(*self.emotion, self.num_classes)
        if self.values:
            from torchmetrics.functional import regression

        for name, (predicted_RN, label_RN) in self.values.items():
            scores[f"{name}_ccc"] = _concordance(predicted_RN, label_RN)
            scores[f"{name}_mse"] = regression.mean_squared_error(predicted_RN.T, label_RN.T, num_outputs=len(predicted_RN)).reshape(-1)
        if "weighted_f1" in scores and "valence_mse" in scores:
            scores["mer2023"] = scores["weighted_f1"] - 0.25 * scores["valence_mse"]
        return scores


def _pick(num_known: int, uniform_RN: Tensor | None) -> Tensor:
    if uniform_RN is None:
        return torch.arange(num_known)[None]
    return (uniform_RN[:, :num_known] * num_known).long()


def emotion_counts(outcome: Outcome, group_N: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per group and class (G, C), over labelled clips: right predictions, labels, predictions. Counts of several groups add up."""
    known_N = outcome.label_N >= 0
    group_n, label_n, predicted_n = group_N[known_N], outcome.label_N[known_N], outcome.predicted_N[known_N]

    def count(class_n: Tensor, kept_n: Tensor) -> Tensor:
        numbered_n = (class_n + outcome.num_classes * group_n)[kept_n]
        return torch.bincount(numbered_n, minlength=num_groups * outcome.num_classes).reshape(num_groups, -1).double()

    every_n = torch.ones_like(label_n, dtype=torch.bool)
    return count(label_n, predicted_n == label_n), count(label_n, every_n), count(predicted_n, every_n)


def _emotion_scores(predicted_RN: Tensor, label_RN: Tensor, num_classes: int) -> dict[str, Tensor]:
    hit_RC = _count(label_RN, num_classes, predicted_RN == label_RN)
    return scores_of_counts(hit_RC, _count(label_RN, num_classes), _count(predicted_RN, num_classes))


def scores_of_counts(hit_RC: Tensor, support_RC: Tensor, predicted_RC: Tensor) -> dict[str, Tensor]:
    """The emotion metrics (R,) of right predictions, labels and predictions per class; NaN without a label."""
    false_RC, missed_RC = predicted_RC - hit_RC, support_RC - hit_RC
    f1_RC = 2 * hit_RC / (2 * hit_RC + false_RC + missed_RC).clamp_min(1)
    used_RC = hit_RC + false_RC + missed_RC > 0
    recall_RC = hit_RC / support_RC.clamp_min(1)
    return {
        "weighted_f1": (f1_RC * support_RC).sum(1) / support_RC.sum(1),
        "macro_f1": f1_RC.sum(1) / used_RC.sum(1),
        "uar": recall_RC.sum(1) / (support_RC > 0).sum(1),
        "accuracy": hit_RC.sum(1) / support_RC.sum(1),
    }


def _count(class_RN: Tensor, num_classes: int, kept_RN: Tensor | None = None) -> Tensor:
    """How often each class occurs (R, C), float64. One count over all resamples: torchmetrics' samplewise one takes 30 times as long."""
    numbered_RN = class_RN + num_classes * torch.arange(len(class_RN))[:, None]
    listed = numbered_RN.flatten() if kept_RN is None else numbered_RN[kept_RN]
    return torch.bincount(listed, minlength=len(class_RN) * num_classes).reshape(-1, num_classes).double()


def _concordance(predicted_RN: Tensor, label_RN: Tensor) -> Tensor:
    """CCC (R,): 0 where one side is constant, as the formula gives; NaN where both are, or for a single clip."""
    constant_R = (predicted_RN == predicted_RN[:, :1]).all(1)
    constant_label_R = (label_RN == label_RN[:, :1]).all(1)
    ccc_R = torch.where(constant_R & constant_label_R, torch.nan, 0.0).double()
    varied_R = ~(constant_R | constant_label_R)
    if varied_R.any():
        from torchmetrics.functional import regression

        # torchmetrics warns and gives NaN for constants, so it sees the others only.
        ccc_R[varied_R] = regression.concordance_corrcoef(predicted_RN[varied_R].T.squeeze(1), label_RN[varied_R].T.squeeze(1)).reshape(-1)
    return ccc_R


def confusion(outcome: Outcome) -> list[list[int]]:
    """Counts (C, C) of labelled clips; rows are labels."""
    from torchmetrics.functional import classification

    known_N = outcome.label_N >= 0
    counts_CC = classification.multiclass_confusion_matrix(outcome.predicted_N[known_N], outcome.label_N[known_N], outcome.num_classes)
    return [[int(count) for count in row] for row in counts_CC]


def per_class(outcome: Outcome) -> list[dict[str, float]]:
    """Precision, recall, F1 (0 where undefined, as scikit-learn's) and support of every class, in order."""
    from torchmetrics.functional import classification

    known_N = outcome.label_N >= 0
    if not known_N.any():
        return [{"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0.0} for _ in range(outcome.num_classes)]
    counts_C5 = classification.multiclass_stat_scores(
        outcome.predicted_N[known_N], outcome.label_N[known_N], outcome.num_classes, average="none"
    )
    rows = []
    for hit, false, _, missed, support in counts_C5.reshape(outcome.num_classes, 5).tolist():
        precision, recall = hit / max(hit + false, 1), hit / max(support, 1)
        rows.append({"precision": precision, "recall": recall, "f1": 2 * hit / max(2 * hit + false + missed, 1), "support": support})
    return rows
