"""Optimisers, one per part of a model, and how their learning rate goes."""

import math
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer


class OptimiserSettings(Protocol):
    """What a config says of its optimiser and of the learning rate's way."""

    @property
    def optimiser(self) -> Literal["adamw", "adam"]:
        """Which one."""

    @property
    def learning_rate(self) -> float:
        """The highest."""

    @property
    def betas(self) -> tuple[float, float]:
        """Of the running means."""

    @property
    def schedule(self) -> Literal["cosine", "linear", "constant"]:
        """The shape after the warm-up."""

    @property
    def warm_up(self) -> float:
        """The share of all batches in which the rate rises."""


class Part:
    """Some parameters with an optimiser of their own; the learning rate goes by batches, whether and how often the part moves in one."""

    def __init__(self, parameters: Iterable[Tensor], config: OptimiserSettings, num_batches: int, weight_decay: float) -> None:
        self.parameters = list(parameters)
        kind = AdamW if config.optimiser == "adamw" else Adam
        self.optimiser: Optimizer = kind(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=weight_decay, fused=True
        )
        self._highest, self._factor = config.learning_rate, make_schedule(config, num_batches)
        self.go_to(0)

    @property
    def learning_rate(self) -> float:
        """As it is now."""
        return float(self.optimiser.param_groups[0]["lr"])

    def go_to(self, batch: int) -> None:
        """Put the learning rate where it is after so many batches."""
        self.optimiser.param_groups[0]["lr"] = self._highest * self._factor(batch)


def make_schedule(config: OptimiserSettings, num_batches: int) -> Callable[[int], float]:
    """The learning rate's factor after some batches: up in a straight line over `warm_up` of all, then as `schedule` says."""
    num_warm_up = math.ceil(config.warm_up * num_batches)
    shapes: dict[str, Callable[[float], float]] = {"cosine": half_cosine, "linear": lambda share: 1 - share, "constant": lambda share: 1.0}
    shape = shapes[config.schedule]

    def factor(batch: int) -> float:
        if batch < num_warm_up:
            return (batch + 1) / (num_warm_up + 1)
        return shape(min(1.0, (batch - num_warm_up) / max(1, num_batches - num_warm_up)))

    return factor


def half_cosine(share: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))
