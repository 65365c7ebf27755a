"""What run.json says of the losses: how far training clips and dev clips lie apart where a fit predicts."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from torch import nn

from mer_ray.training.config import TrainConfig
from mer_ray.training.run_folder import FitFolder
from mer_ray.training.training_data import TrainingData


def loss_facts(configs: Sequence[TrainConfig], data: TrainingData, fits: Sequence[FitFolder]) -> dict[str, Any] | None:
    """Means over fits of `train_loss` and `dev_loss` of the epoch whose weights predict; None where a fit has no finite dev loss.

    `train_loss_has`: what the train loss of any of the configs, those that the fits were trained with, has and a dev loss has not.
    """
    summaries = [fit.summary() for fit in fits]
    rows = [summary["history"][summary["best_epoch"]] for summary in summaries]
    if not all(_is_finite(row.get("dev_loss")) for row in rows):
        return None
    means = {name: statistics.fmean(row[name] for row in rows) for name in ("train_loss", "dev_loss")}
    return {**means, "train_loss_has": list(dict.fromkeys(name for config in configs for name in _train_only(config, data)))}


def _is_finite(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _train_only(config: TrainConfig, data: TrainingData) -> list[str]:
    model = config.model.build(data.specs, data.task)
    found = {
        "dropout": any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()),
        "modality dropout": config.modality_dropout > 0,
        "unpaired clips": config.paired_share < 1,
        "label smoothing": config.label_smoothing > 0,
        "class weights": config.class_weights != "none",
        "focal loss": config.focal_gamma > 0,
        "concordance": config.value_loss == "ccc",
        "reconstruction": any(step.reconstructs for step in model.steps),
        "a sum over steps": len(model.steps) > 1,
    }
    return [name for name, has in found.items() if has]
