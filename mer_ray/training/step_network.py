"""A model with the losses of its training steps as one module: what DDP wraps and torch.compile compiles.

Shapes: B clips, T terms of a step's loss.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Batch
from mer_ray.models import FusionModel, TrainStep
from mer_ray.objectives import LossSettings, Objective

# Own rows (b, K) and the clips of the global batch -> all rows (B, K).
GatherRows = Callable[[Tensor, int], Tensor]


class StepNetwork(nn.Module):
    """`forward` computes one step of a batch's part: the share of the loss to differentiate, and the loss sums to report."""

    def __init__(self, model: FusionModel, settings: LossSettings, gather_rows: GatherRows, num_workers: int, num_parts: int = 1) -> None:
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict({step.name: _objective(model, step, settings) for step in model.steps})
        self._gather_rows, self._num_workers, self._num_parts = gather_rows, num_workers, num_parts
        self._step_of = {step.name: step for step in model.steps}

    def objective(self, step: TrainStep) -> Objective:
        """The loss of a step."""
        found = self.objectives[step.name]
        assert isinstance(found, Objective)
        return found

    def forward(self, batch: Batch, step_name: str, scale_T: Tensor, num_global_clips: int) -> tuple[Tensor, Tensor]:
        """The worker's share of the loss, and its sums (T,) without gradient.

        `scale_T` is workers / mass of the global batch, 0 for a term without mass: DDP's mean over workers of the shares' gradients is
        then the gradient of the global batch's loss. Of what is no sum over clips each of the worker's parts takes 1 / parts.
        """
        step = self._step_of[step_name]
        objective = self.objective(step)
        predictions = self.model.forward_step(batch, step_name)
        sums_T = objective.sums(
            predictions,
            batch,
            taking_part(self.model, step, batch),
            lambda rows: self._gather_rows(rows, num_global_clips),
            self._num_workers,
        )
        return objective.total(sums_T * scale_T, scale_T, self._num_parts), sums_T.detach()


def _objective(model: FusionModel, step: TrainStep, settings: LossSettings) -> Objective:
    return Objective(model.task.values, settings, step.reconstructs, model.reconstruction_weight)


def taking_part(model: FusionModel, step: TrainStep, batch: Batch) -> Tensor | None:
    """The clips (B,) that have a stream of each modality that a step needs; None = all."""
    having = []
    for modality in step.needs:
        names = [spec.name for spec in model.streams if spec.modality == modality]
        having.append(torch.stack([batch.present[name] for name in names]).any(dim=0))
    return torch.stack(having).all(dim=0) if having else None


def term_name(model: FusionModel, step: TrainStep, term: str) -> str:
    """A term as the curve names it: with its step where a model has several."""
    return term if len(model.steps) == 1 else f"{step.name}_{term}"
