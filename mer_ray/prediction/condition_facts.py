"""What a condition does to clips, JSON-able: how many it concerns, and the models' own numbers about them, such as a gate.

Shapes: N clips.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.media_types import BoolArray
from mer_ray.objectives.bootstrap import mean_interval
from mer_ray.objectives.pairing import FloatArray
from mer_ray.prediction.condition_table import MODEL_FACT, SNR_DB
from mer_ray.prediction.prediction_table import PRIOR


def mean_facts(table: pa.Table, clean: pa.Table, is_removal: bool) -> dict[str, dict[str, Any]]:
    """By name of a model's number its mean over the clips that have it, with the interval (None below two clips).

    `only_complete`: only clips count that have every input on clean media, because a clip that lacks one may leave the model no choice.
    `is_fixed`: what was taken away left it none in any clip. `change`: the mean distance from clean, clip by clip, with its interval;
    None for clean media.
    """
    complete_N = complete_clips(clean)
    is_part = bool(complete_N.any() and not complete_N.all())
    found = {}
    for column in (name for name in table.column_names if name.startswith(MODEL_FACT)):
        kept = complete_N if is_part else slice(None)
        value_N = _known(_numbers(table, column)[kept])
        if len(value_N):
            change_N = _known((_numbers(table, column) - _numbers(clean, column))[kept])
            found[column.removeprefix(MODEL_FACT)] = {
                **_mean(value_N),
                "num_clips": len(value_N),
                "only_complete": is_part,
                "is_fixed": bool(is_removal and np.ptp(value_N) == 0),
                "change": _mean(change_N) if table is not clean and len(change_N) else None,
            }
    return found


def num_affected(condition: dict[str, Any], table: pa.Table, clean: pa.Table, clip_ids: Sequence[str]) -> int:
    """How many of the named clips have what the condition degrades, and got noise where it adds any."""
    has_N = np.asarray([condition["modality"] in names.split("+") for names in clean["used"].to_pylist()], dtype=bool)
    if condition["snr_db"] is not None:
        has_N &= np.isfinite(_numbers(table, SNR_DB))
    return int((has_N & np.isin(clean["clip_id"].to_pylist(), clip_ids)).sum())


def complete_clips(clean: pa.Table) -> BoolArray:
    """(N,): the clip has every modality that any clip has."""
    used = [set() if names == PRIOR else set(names.split("+")) for names in clean["used"].to_pylist()]
    every = set().union(*used)
    return np.asarray([names == every for names in used], dtype=bool)


def _numbers(table: pa.Table, column: str) -> FloatArray:
    numbers: FloatArray = table[column].fill_null(np.nan).to_numpy().astype(np.float64)
    return numbers


def _known(value_N: FloatArray) -> FloatArray:
    return value_N[np.isfinite(value_N)]


def _mean(value_N: FloatArray) -> dict[str, Any]:
    return {"mean": float(value_N.mean()), "interval": list(mean_interval(value_N)) if len(value_N) > 1 else None}
