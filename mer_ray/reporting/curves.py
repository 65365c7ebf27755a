"""Training curves: one line per fold and seed, and their mean; of models that train in several steps per batch, step by step.

Shapes: E epochs, K members (a fold and a seed).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

EMOTION = "emotion"


def curve(history: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """One quantity over epochs: the members' lines, and mean and deviation while at least half of them still train.

    None where no row has it.
    """
    members: dict[tuple[int | None, int], dict[int, float]] = {}
    for row in history:
        if row.get(name) is not None:
            members.setdefault((row.get("fold"), row["seed"]), {})[row["epoch"]] = row[name]
    if not members:
        return None
    epochs = sorted({epoch for line in members.values() for epoch in line})
    lines_KE = np.asarray([[line.get(epoch, np.nan) for epoch in epochs] for line in members.values()])
    running_E = np.isfinite(lines_KE).sum(axis=0)
    shown = int(np.flatnonzero(2 * running_E >= len(members)).max()) + 1 if len(members) > 1 else len(epochs)
    return {
        "name": name,
        "epochs": epochs[:shown],
        "mean": np.nanmean(lines_KE[:, :shown], axis=0).tolist(),
        "std": np.nanstd(lines_KE[:, :shown], axis=0).tolist(),
        "members": [
            {"fold": fold, "seed": seed, "epochs": list(line), "values": list(line.values())} for (fold, seed), line in members.items()
        ],
    }


def curves_by_step(history: list[dict[str, Any]], prefix: str, values: Sequence[str]) -> list[dict[str, Any]]:
    """The quantities `<prefix><term>`, or `<prefix><step>_<term>`, as `curve` has them.

    A row per step holds `step` (None where the model takes one step per batch) and its `terms`, each a curve with the key `term`.
    """
    names = dict.fromkeys(name.removeprefix(prefix) for row in history for name in row if name.startswith(prefix))
    found: dict[str | None, list[dict[str, Any]]] = {}
    for name, (step, term) in _split_names(names, (EMOTION, *values)).items():
        line = curve(history, f"{prefix}{name}")
        if line is not None:
            found.setdefault(step, []).append({"term": term, **line})
    return [{"step": step, "terms": terms} for step, terms in found.items()]


def _split_names(names: Iterable[str], terms: Sequence[str]) -> dict[str, tuple[str | None, str]]:
    """Step and term of each name: terms that every run has tell the steps, and these what else belongs to a step."""
    steps = {name.removesuffix(f"_{term}") for name in names for term in terms if name.endswith(f"_{term}")}
    found: dict[str, tuple[str | None, str]] = {}
    for name in names:
        # Of "audio" and "audio_visual" the longer one.
        step = max((step for step in steps if name.startswith(f"{step}_")), key=len, default=None)
        found[name] = (step, name if step is None else name.removeprefix(f"{step}_"))
    return found
