"""Predictions under one condition as rows.

Shapes: N clips.
"""

import numpy as np
import pyarrow as pa

from mer_ray.core.batch import TaskSpec
from mer_ray.prediction.bundle import BundlePredictions
from mer_ray.prediction.condition_features import ConditionFeatures
from mer_ray.prediction.noise_conditions import Condition
from mer_ray.prediction.prediction_table import make_table
from mer_ray.prediction.wanted_clips import WantedClips

CONDITION, SNR_DB, MODEL_FACT = "condition", "snr_db", "model_"


def condition_table(
    condition: Condition, wanted: WantedClips, predictions: BundlePredictions, features: ConditionFeatures, task: TaskSpec
) -> pa.Table:
    """The table of `make_table` with `condition` before it, and behind it the ratio of added noise and the model's numbers.

    `snr_db` is null where no noise was added, `model_<name>` where the model has no such number.
    """
    table = make_table(wanted, predictions, features.faults, task, 0.0)
    num_clips = len(wanted.clip_ids)
    snr_N = np.full(num_clips, np.nan, np.float32) if features.snr_db is None else features.snr_db
    table = table.add_column(0, pa.field(CONDITION, pa.string(), nullable=False), pa.array([condition.name] * num_clips))
    table = table.append_column(SNR_DB, pa.array(snr_N, pa.float32(), from_pandas=True))
    for name, value_N in predictions.facts.items():
        table = table.append_column(f"{MODEL_FACT}{name}", pa.array(value_N, pa.float32(), from_pandas=True))
    return table
