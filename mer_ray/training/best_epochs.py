"""The best epochs of a training, with their weights."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mer_ray.objectives import is_better

Weights = dict[str, Tensor]


def copy_weights(model: nn.Module) -> Weights:
    """The tensors of a model as they are now."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@dataclass
class BestEpochs:
    """At most `num_kept` epochs, best first; of equals the earlier is better, and a metric that is undefined is the worst."""

    metric: str
    num_kept: int
    kept: list[tuple[int, float, Weights]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The best."""
        return self.kept[0][0] if self.kept else -1

    def note(self, epoch: int, score: float, model: nn.Module) -> None:
        """Keep an epoch's weights where it is among the best so far."""
        place = next((number for number, (_, other, _) in enumerate(self.kept) if self._beats(score, other)), len(self.kept))
        if place < self.num_kept:
            self.kept.insert(place, (epoch, score, copy_weights(model)))
            del self.kept[self.num_kept :]

    def _beats(self, score: float, other: float) -> bool:
        return not math.isnan(score) and (math.isnan(other) or is_better(self.metric, score, other))

    def state(self) -> list[Any]:
        """As a checkpoint holds it."""
        return [list(one) for one in self.kept]

    def load_state(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self.kept = [(epoch, score, weights) for epoch, score, weights in state]
