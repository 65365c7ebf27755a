"""Linear heads of emotion and values.

Shapes: B clips, H hidden.
"""

from torch import Tensor, nn

from mer_ray.core.batch import Predictions, TaskSpec


class LinearHeads(nn.Module):
    """emotion = W_e z + b_e; values = W_v z + b_v; no value head without values."""

    def __init__(self, hidden: int, task: TaskSpec) -> None:
        super().__init__()
        self.task = task
        self.emotion_head = nn.Linear(hidden, len(task.classes))
        self.value_heads = nn.Linear(hidden, len(task.values)) if task.values else None

    def forward(self, z_BH: Tensor) -> Predictions:
        """Logits and values, float32."""
        logits_BC = self.emotion_head(z_BH).float()
        if self.value_heads is None:
            return Predictions(logits_BC)
        return Predictions(logits_BC, dict(zip(self.task.values, self.value_heads(z_BH).float().unbind(dim=1), strict=True)))
