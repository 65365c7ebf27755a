"""SHELL: features and labels -> a trained, scored run."""

from mer_ray.training.config import TrainConfig
from mer_ray.training.train import RunSummary, train

__all__ = ["RunSummary", "TrainConfig", "train"]
