"""Training curves: one line per fold and seed, and their mean.

Shapes: E epochs, K members (a fold and a seed).
"""

from typing import Any

import numpy as np


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
