"""The temperature of a run (temperature scaling, Guo et al., 2017), fitted on clips that its models did not train on.

Shapes: N predictions (a row per clip, fold and seed), C classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mer_ray.core.batch import TaskSpec
from mer_ray.objectives import apply_temperature, calibration_error, fit_temperature

DEV = "dev"
FROM_DEV, FROM_OTHER_FOLDS = "dev", "other folds"


def calibrate(tables: Mapping[str, pa.Table], task: TaskSpec, has_dev: bool) -> dict[str, Any] | None:
    """The key `calibration` of scores.json, from the predictions of every split.

    `temperature` is fitted on all dev predictions (`fitted_on: dev`) or, in a run with folds and without dev, on all test
    predictions (`fitted_on: other folds`); `num_clips` counts their labelled clips. With folds, a fold's own test clips are scaled
    by its temperature in `by_fold`, which is fitted without them: in other folds they are dev clips, or test clips of the pool.
    `splits` holds, by test split with labels, the expected calibration error of all its predictions, as they are and scaled.
    None: neither dev nor folds, or too few labels to fit (see `fit_temperature`).
    """
    # Without a dev set a split of that name may be one of the tests.
    tests = {split: table for split, table in tables.items() if not (has_dev and split == DEV)}
    folds = _folds(tests)
    if not has_dev and not folds:
        return None
    evidence = tables[DEV] if has_dev else pa.concat_tables(tests.values())
    temperature = _fit(evidence, task)
    by_fold = {fold: _fit(_without_tested(evidence, tests, fold), task) for fold in folds}
    known = {fold: value for fold, value in by_fold.items() if value is not None}
    if temperature is None or len(known) < len(folds):
        return None
    errors = {split: _errors(table, task, temperature, known) for split, table in tests.items()}
    return {
        "temperature": temperature,
        "fitted_on": FROM_DEV if has_dev else FROM_OTHER_FOLDS,
        "by_fold": {str(fold): value for fold, value in known.items()} or None,
        "num_clips": len(pc.unique(evidence.filter(pc.is_valid(evidence["label_emotion"]))["clip_id"])),
        "splits": {split: found for split, found in errors.items() if found is not None},
    }


def _folds(tests: Mapping[str, pa.Table]) -> list[int]:
    return sorted({fold for table in tests.values() for fold in pc.unique(table["fold"]).to_pylist()} - {None})


def _without_tested(evidence: pa.Table, tests: Mapping[str, pa.Table], fold: int) -> pa.Table:
    """The predictions of clips that the fold does not test, whichever fold's model made them."""
    tested = pa.concat_arrays([table.filter(pc.equal(table["fold"], fold))["clip_id"].combine_chunks() for table in tests.values()])
    return evidence.filter(pc.invert(pc.is_in(evidence["clip_id"], tested)))


def _fit(table: pa.Table, task: TaskSpec) -> float | None:
    return fit_temperature(*_arrays(table, task))


def _arrays(table: pa.Table, task: TaskSpec) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) and labels (N,), -1 = unknown."""
    probabilities_NC = np.stack([table[f"prob_{name}"].to_numpy() for name in task.classes], axis=1)
    label_N = pc.index_in(table["label_emotion"], pa.array(task.classes, pa.string())).fill_null(-1).to_numpy()
    return torch.tensor(probabilities_NC), torch.tensor(label_N.astype(np.int64))


def _errors(table: pa.Table, task: TaskSpec, temperature: float, by_fold: Mapping[int, float]) -> dict[str, float] | None:
    """None for a split without labels."""
    probabilities_NC, label_N = _arrays(table, task)
    scaled_NC = probabilities_NC.clone()
    folds_N = table["fold"].fill_null(-1).to_numpy()
    for fold in np.unique(folds_N).tolist():
        rows_N = torch.tensor(folds_N == fold)
        scaled_NC[rows_N] = apply_temperature(probabilities_NC[rows_N], by_fold.get(fold, temperature))
    before, after = calibration_error(probabilities_NC, label_N), calibration_error(scaled_NC, label_N)
    return None if before is None or after is None else {"ece": before, "ece_scaled": after}
