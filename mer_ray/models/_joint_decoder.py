"""Joint decoding: emotion, and values that are partly read off the predicted emotion.

The paper (arXiv 2309.07925) has an emotion head, a valence head and a branch from the emotion distribution to valence; the formulas are
our choice. Shapes: B clips, H hidden, C classes, V values.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Predictions, TaskSpec

DecoderName = Literal["joint", "mapping_only", "separate"]


class JointDecoder(nn.Module):
    """p = softmax(W_e z); v_direct = w_v^T z; v_map = sum_c p_c mu_c; g = sigmoid(w_g^T z); v = g v_direct + (1 - g) v_map [ours].

    Every value has its own w_v, mu and w_g; linear maps have biases, so that a clip without streams (z = 0) gets a prior. `separate`:
    v = v_direct; `mapping_only`: v = v_map. `detach`: no gradient from v_map to p, so values do not move the emotion head.
    """

    def __init__(self, name: DecoderName, detach: bool, hidden: int, task: TaskSpec) -> None:
        super().__init__()
        self.task, self.detach = task, detach
        num_classes, num_values = len(task.classes), len(task.values)
        has_direct, has_mapping = num_values > 0 and name != "mapping_only", num_values > 0 and name != "separate"
        self.emotion_head = nn.Linear(hidden, num_classes)
        self.value_heads = nn.Linear(hidden, num_values) if has_direct else None
        self.class_values_VC = nn.Parameter(torch.zeros(num_values, num_classes)) if has_mapping else None
        self.gates = nn.Linear(hidden, num_values) if has_direct and has_mapping else None

    def forward(self, z_BH: Tensor) -> Predictions:
        """Logits and values, and as facts the gate of each value where there is one."""
        logits_BC = self.emotion_head(z_BH).float()
        values_BV, gates_BV = self._values(z_BH, logits_BC)
        shown_BV = None if gates_BV is None else gates_BV.detach()
        return Predictions(logits_BC, self._by_value("", values_BV), facts=self._by_value("gate_", shown_BV))

    def _values(self, z_BH: Tensor, logits_BC: Tensor) -> tuple[Tensor | None, Tensor | None]:
        direct_BV = None if self.value_heads is None else self.value_heads(z_BH).float()
        if self.class_values_VC is None:
            return direct_BV, None
        probs_BC = torch.softmax(logits_BC, dim=1)
        # No matrix product: under autocast it would round the class values.
        mapped_BV = ((probs_BC.detach() if self.detach else probs_BC)[:, None, :] * self.class_values_VC).sum(dim=2)
        if self.gates is None or direct_BV is None:
            return mapped_BV, None
        gates_BV = torch.sigmoid(self.gates(z_BH).float())
        return gates_BV * direct_BV + (1 - gates_BV) * mapped_BV, gates_BV

    def _by_value(self, prefix: str, x_BV: Tensor | None) -> dict[str, Tensor]:
        return {} if x_BV is None else {prefix + name: x_B for name, x_B in zip(self.task.values, x_BV.unbind(dim=1), strict=True)}

    def start_from(self, class_means: Mapping[str, Tensor]) -> None:
        """Set mu to the training means (C,) by value; a class without one (NaN) gets the mean of the others, or 0 without any."""
        if self.class_values_VC is None:
            return
        with torch.no_grad():
            for row_C, name in zip(self.class_values_VC, self.task.values, strict=True):
                means_C = class_means[name]
                row_C.copy_(torch.where(means_C.isnan(), means_C.nanmean().nan_to_num(0.0), means_C))
