"""How alike files of predictions are, and how their classes are spread.

Shapes: F files, N names.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mer_ray.prediction.clip_table import ClipTable


def agreement(tables: Sequence[ClipTable]) -> dict[str, Any]:
    """Share of equal emotions and Cohen's kappa of each pair (F, F), over the names that all files predict.

    Kappa (Cohen, 1960) is None where chance alone would make the two agree everywhere: both say one class only.
    """
    emotions_of = [dict(zip(table.clip_ids, table.emotions or [], strict=True)) for table in tables]
    names = [name for name in emotions_of[0] if all(name in emotions for emotions in emotions_of)]
    columns = [[emotions[name] for name in names] for emotions in emotions_of]
    return {
        "num_names": len(names),
        "equal": [[sum(a == b for a, b in zip(one, two, strict=True)) / len(names) for two in columns] for one in columns],
        "kappa": [[_kappa(one, two) for two in columns] for one in columns],
    }


def _kappa(one: list[str | None], two: list[str | None]) -> float | None:
    # Slow to load, and every command loads this module.
    from sklearn.metrics import cohen_kappa_score

    return None if len({*one, *two}) == 1 else float(cohen_kappa_score(one, two))


def class_shares(table: ClipTable, classes: Sequence[str]) -> dict[str, float]:
    """The share of each class among the rows that have an emotion."""
    counts = Counter(emotion for emotion in table.emotions or [] if emotion is not None)
    return {name: counts[name] / max(counts.total(), 1) for name in classes}
