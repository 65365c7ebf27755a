"""Optimisers, one per part of a model, and how their learning rate goes."""

import math
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mer_ray.training.config import TrainConfig


class Part:
    """Some parameters with an optimiser and a schedule of their own; `state` and `load_state` as torch's optimisers have them."""

    def __init__(self, parameters: Iterable[Tensor], config: TrainConfig, num_steps: int, weight_decay: float) -> None:
        self.parameters = list(parameters)
        kind = AdamW if config.optimiser == "adamw" else Adam
        self.optimiser: Optimizer = kind(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=weight_decay, fused=True
        )
        self.schedule = LambdaLR(self.optimiser, make_schedule(config, num_steps))

    @property
    def learning_rate(self) -> float:
        """As it is now."""
        return float(self.schedule.get_last_lr()[0])

    def go_to(self, step: int) -> None:
        """Put the learning rate where it is after so many steps."""
        self.schedule.last_epoch = step
        rates = [base * factor(step) for base, factor in zip(self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True)]
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.schedule._last_lr = rates

    def step(self) -> None:
        """Move the parameters that have a gradient, and the learning rate."""
        self.optimiser.step()
        self.schedule.step()


def make_schedule(config: TrainConfig, num_steps: int) -> Callable[[int], float]:
    """The learning rate's factor at a step: up in a straight line over `warm_up` of all steps, then as `schedule` says."""
    num_warm_up = math.ceil(config.warm_up * num_steps)
    shapes: dict[str, Callable[[float], float]] = {"cosine": half_cosine, "linear": lambda share: 1 - share, "constant": lambda share: 1.0}
    shape = shapes[config.schedule]

    def factor(step: int) -> float:
        if step < num_warm_up:
            return (step + 1) / (num_warm_up + 1)
        return shape(min(1.0, (step - num_warm_up) / max(1, num_steps - num_warm_up)))

    return factor


def half_cosine(share: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))
