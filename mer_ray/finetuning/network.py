"""An encoder's network with a head, as one module: what DDP wraps.

Shapes: B clips, T frames, D hidden size, C classes, V values, L terms of the loss.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, TaskSpec
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import EncoderInput
from mer_ray.encoders._pretrained import NetworkEncoder
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.objectives import LossSettings, Objective


class FinetunedNetwork(nn.Module):
    """Inputs through the encoder; the mean of its last hidden state over real frames through dropout and a linear layer."""

    def __init__(self, encoder: NetworkEncoder, config: FinetuneConfig, task: TaskSpec, settings: LossSettings, dim: int) -> None:
        super().__init__()
        self._encoder, self._task = encoder, task
        # Before the layers of LoRA are put in, so that names are those of the encoder.
        self.trained = config.method.prepare(encoder.model)
        self.network: nn.Module = encoder.model
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(dim, len(task.classes) + len(task.values))
        self.objective = Objective(task.values, settings)
        encoder.begin_training(config.precision == "bfloat16")
        if config.gradient_checkpointing:
            _save_memory(encoder.model, encoder.name)

    def train(self, mode: bool = True) -> "FinetunedNetwork":
        """Batch statistics stay what they are: those of a few clips are worse."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def predict(self, inputs: Sequence[EncoderInput]) -> Predictions:
        """Logits (B, C) and values (B,) of trimmed inputs."""
        state_BTD, mask_BT = self._encoder.last_states(inputs)
        kept_BTD = state_BTD.float().masked_fill(~mask_BT[:, :, None], 0)
        mean_BD = kept_BTD.sum(dim=1) / mask_BT.sum(dim=1, keepdim=True)
        output_BX = self.head(self.dropout(mean_BD)).float()
        num_classes = len(self._task.classes)
        values = {name: output_BX[:, num_classes + number] for number, name in enumerate(self._task.values)}
        return Predictions(output_BX[:, :num_classes], values)

    def forward(self, inputs: Sequence[EncoderInput], labels: Batch, scale_L: Tensor) -> tuple[Tensor, Tensor]:
        """The worker's share of a global batch's loss, and its sums (L,) without gradient; as `StepNetwork` of `train`."""
        sums_L = self.objective.sums(self.predict(inputs), labels)
        return self.objective.total(sums_L * scale_L, (scale_L > 0).float()), sums_L.detach()

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors of an adapter."""
        return {name: weight.detach() for name, weight in self.trained.items()}

    def learnt_state(self) -> dict[str, dict[str, Tensor]]:
        """All that training changes, copied to the CPU."""
        parts = {"adapter": self.trained_state(), "head": self.head.state_dict()}
        return {part: {name: tensor.detach().to("cpu", copy=True) for name, tensor in one.items()} for part, one in parts.items()}

    @torch.no_grad()
    def load_learnt_state(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Go back to a `learnt_state`.

        Raises:
            KeyError, RuntimeError: it is one of another network.

        """
        for name, weight in self.trained.items():
            weight.copy_(state["adapter"][name])
        self.head.load_state_dict(state["head"])


def _save_memory(network: Any, name: str) -> None:
    try:
        network.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise EncoderError(f"gradient_checkpointing: transformers cannot do it for {name}; set it to false") from error
