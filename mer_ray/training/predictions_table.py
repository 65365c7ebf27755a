"""Predictions of a fit -> rows of the predictions table, and back to outcomes.

Shapes: N predicted clips, C classes.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from mer_ray.core.batch import TaskSpec
from mer_ray.core.predictions import predictions_schema
from mer_ray.objectives import Outcome
from mer_ray.training.evaluation import Predicted
from mer_ray.training.training_data import TrainingData


def to_table(predicted: Predicted, data: TrainingData, split: str, fold: int | None, seed: int) -> pa.Table:
    """The rows of one split, fold and seed."""
    rows = predicted.rows
    classes = data.task.classes
    count = len(rows)
    label_names = [classes[number] if number >= 0 else None for number in data.emotion_N[rows].tolist()]
    columns = {
        "clip_id": [data.clip_ids[row] for row in rows],
        "split": [split] * count,
        "fold": pa.array([fold] * count, pa.int32()),
        "seed": pa.array([seed] * count, pa.int32()),
        "speaker_id": [data.speaker_ids[row] for row in rows],
        **{f"prob_{name}": predicted.probs_NC[:, number] for number, name in enumerate(classes)},
        "emotion": [classes[number] for number in predicted.probs_NC.argmax(axis=1).tolist()],
        **predicted.values,
        "label_emotion": label_names,
        **{f"label_{name}": pa.array(data.values[name][rows], from_pandas=True) for name in data.task.values},
        # Null where the stream was absent.
        **{
            f"attention_{name}": pa.array(predicted.attention_NS[:, number], from_pandas=True)
            for number, name in enumerate(predicted.attention_names)
        },
        **{f"model_{name}": pa.array(value_N, from_pandas=True) for name, value_N in predicted.facts.items()},
    }
    return pa.table(columns, schema=predictions_schema(data.task, predicted.attention_names, tuple(predicted.facts)))


def write_table(path: Path, table: pa.Table) -> None:
    """Write atomically: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, temporary)
    os.replace(temporary, path)


def outcomes_by_seed(table: pa.Table, task: TaskSpec) -> dict[int, Outcome]:
    """Labels and predictions of one split per seed, over the same clips in the same order (by clip_id)."""
    seeds = sorted(pc.unique(table["seed"]).to_pylist())
    return {seed: _outcome(table.filter(pc.equal(table["seed"], seed)).sort_by("clip_id"), task) for seed in seeds}


def ensemble_outcome(table: pa.Table, task: TaskSpec) -> Outcome:
    """Labels and the mean over seeds of probabilities and values, over the same clips as `outcomes_by_seed`."""
    by_seed = [table.filter(pc.equal(table["seed"], seed)).sort_by("clip_id") for seed in pc.unique(table["seed"]).to_pylist()]
    labels = _outcome(by_seed[0], task)
    probs_NC = np.mean([np.stack([one[f"prob_{name}"].to_numpy() for name in task.classes], axis=1) for one in by_seed], axis=0)
    values = {name: torch.tensor(np.mean([one[name].to_numpy() for one in by_seed], axis=0)) for name in task.values}
    return Outcome(labels.label_N, torch.tensor(probs_NC.argmax(axis=1)), labels.value_labels, values, labels.num_classes)


def _outcome(table: pa.Table, task: TaskSpec) -> Outcome:
    classes = pa.array(task.classes, pa.string())
    return Outcome(
        torch.tensor(pc.index_in(table["label_emotion"], classes).fill_null(-1).to_numpy().astype(np.int64)),
        torch.tensor(pc.index_in(table["emotion"], classes).to_numpy().astype(np.int64)),
        {name: torch.tensor(table[f"label_{name}"].fill_null(float("nan")).to_numpy()) for name in task.values},
        {name: torch.tensor(table[name].to_numpy()) for name in task.values},
        len(task.classes),
    )
