"""A trained model over rows of clips: predictions as arrays, and the outcome that metrics take.

Shapes: N predicted rows, C classes, S streams with attention.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mer_ray.batching import ResidentClips, collate
from mer_ray.core.batch import Predictions
from mer_ray.core.media_types import FloatArray
from mer_ray.models import FusionModel
from mer_ray.objectives import Outcome
from mer_ray.training.communicator import Communicator
from mer_ray.training.training_data import IntArray, TrainingData

PREDICT_BATCH_SIZE = 2048
# Frames take more memory than pooled features.
PREDICT_FRAMES_BATCH_SIZE = 128


@dataclass(frozen=True)
class Predicted:
    """Predictions of rows: `probs_NC`, `values[name]` (N,), `attention_NS` over `attention_names` (no column where a model has none).

    `facts[name]` (N,): the model's numbers about single clips, NaN where it has none. `seconds` that this worker took.
    """

    rows: IntArray
    probs_NC: FloatArray
    values: dict[str, FloatArray]
    attention_NS: FloatArray
    attention_names: tuple[str, ...]
    facts: dict[str, FloatArray]
    seconds: float


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision where the type is not float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def predict_rows(model: FusionModel, clips: ResidentClips, rows: IntArray, dtype: torch.dtype, communicator: Communicator) -> Predicted:
    """Predict rows, shared over the workers and gathered on all of them in the order of `rows`."""
    model.eval()
    start_s = time.perf_counter()
    device = clips.emotion_N.device
    mine = torch.from_numpy(communicator.rows(rows))
    size = PREDICT_FRAMES_BATCH_SIZE if clips.frames else PREDICT_BATCH_SIZE
    batches = zip(torch.split(mine.to(device), size), torch.split(mine, size), strict=True)
    with torch.inference_mode(), autocast(device, dtype):
        # At least one batch, possibly empty, so that a worker without rows gathers arrays of the right width.
        found = [model(collate(clips, rows_B, clips.longest(host_rows_B))) for rows_B, host_rows_B in batches]
    parts = communicator.gather(_to_arrays(found))
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    values = {name: columns[f"value/{name}"] for name in found[0].values}
    facts = {name: columns[f"fact/{name}"] for name in found[0].facts}
    seconds = time.perf_counter() - start_s
    return Predicted(rows, columns["probs"], values, columns["attention"], found[0].attention_names, facts, seconds)


def _to_arrays(found: list[Predictions]) -> dict[str, FloatArray]:
    arrays = {
        "probs": torch.cat([one.logits for one in found]).float().softmax(dim=1),
        "attention": torch.cat([one.logits[:, :0] if one.attention is None else one.attention for one in found]).float(),
    }
    arrays |= {f"value/{name}": torch.cat([one.values[name] for one in found]).float() for name in found[0].values}
    arrays |= {f"fact/{name}": torch.cat([one.facts[name] for one in found]).float() for name in found[0].facts}
    return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}


def prediction_loss(predicted: Predicted, data: TrainingData, value_weight: float) -> float:
    """Cross entropy of rows with an emotion, plus `value_weight` times the mean squared errors of rows with the values."""
    rows, loss = predicted.rows, 0.0
    wanted_NC = data.class_shares[rows]
    known_N = wanted_NC.sum(axis=1) > 0
    if known_N.any():
        log_probs_NC = np.log(np.maximum(predicted.probs_NC[known_N], np.finfo(np.float32).tiny))
        loss += float(-(wanted_NC[known_N] * log_probs_NC).sum() / wanted_NC[known_N].sum())
    for name, value_N in predicted.values.items():
        errors_N = (value_N.astype(np.float64) - data.values[name][rows])[~np.isnan(data.values[name][rows])]
        loss += value_weight * float(np.square(errors_N).mean()) if len(errors_N) else 0.0
    return loss


def to_outcome(predicted: Predicted, data: TrainingData) -> Outcome:
    """Predictions beside the labels of their clips."""
    rows = predicted.rows
    return Outcome(
        _tensor(data.emotion_N[rows]),
        _tensor(predicted.probs_NC.argmax(axis=1)),
        {name: _tensor(data.values[name][rows]) for name in predicted.values},
        {name: _tensor(value_N) for name, value_N in predicted.values.items()},
        len(data.task.classes),
    )


def _tensor(array: FloatArray | IntArray) -> Tensor:
    return torch.tensor(array)
