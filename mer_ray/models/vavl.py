"""VAVL, versatile audio-visual learning (arXiv 2305.07216): one model for sound, pictures and both, trained on whatever a clip has.

Sizes and order of steps are from the official code [code]; attention over time with masks, and statistics of real frames, are ours: the
official tensors attend across the clips of a batch (README.md).

Shapes: B clips, T frames, D feature dimension, H width, O outputs (classes, then values).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, Reconstruction, StreamSpec, TaskSpec
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import Modality
from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep
from mer_ray.models._conformer import Conformer, ConformerSizes, NormName
from mer_ray.models._decision_fusion import fuse_decisions
from mer_ray.models._streams import as_frames, masked_mean

AUDIO_VISUAL = "audio_visual"
# The official order of steps.
ORDER: tuple[Modality, ...] = ("vision", "audio")


class VavlConfig(FusionModelConfig):
    """The defaults are the published sizes.

    `shared: false` gives each modality layers of its own, half as many, so that parameters stay equal within 5 % [ours].
    `audio_visual_head: false`: a clip with both is predicted by the mean of both modalities' decisions [ours]. `reconstruction_weight` is
    2 for classification, 1 for regression in the official code.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("audio", "vision")
    reads_frames: ClassVar[bool] = True
    # Attention over a single frame would have parameters that never learn.
    reads_pooled: ClassVar[bool] = False

    name: Literal["vavl"] = "vavl"
    width: int = Field(512, ge=2, le=65_536)
    bottleneck: int = Field(50, ge=1, le=65_536)
    num_heads: int = Field(8, ge=1)
    num_encoder_blocks: int = Field(3, ge=1, le=100)
    num_shared_blocks: int = Field(2, ge=1, le=100)
    kernel: int = Field(31, ge=1)
    feed_forward_expansion: int = Field(4, ge=1, le=100)
    dropout: float = Field(0.1, ge=0, lt=1)
    head_dropout: float = Field(0.2, ge=0, lt=1)
    norm: NormName = "batch"
    shared: bool = True
    residual: bool = True
    reconstruction: bool = True
    reconstruction_weight: float = Field(2.0, gt=0, allow_inf_nan=False)
    audio_visual_head: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.width % self.num_heads or self.width % 2:
            raise ValueError(
                f"width: {self.width} does not split into {self.num_heads} heads and sines; take an even multiple of num_heads"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} has no middle; take an odd number")
        if not self.shared and self.num_shared_blocks % 2:
            raise ValueError(f"num_shared_blocks: {self.num_shared_blocks} cannot be split between two modalities; take an even number")
        return self

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "Vavl":
        """Make the model, with random weights.

        Raises:
            ConfigError: several streams of one modality.

        """
        self.check_streams(streams)
        for modality in self.modalities:
            several = [spec.name for spec in streams if spec.modality == modality]
            if len(several) > 1:
                raise ConfigError(
                    f"inputs: model vavl reads one {modality} stream, not {', '.join(several)}; join layers by combine, or choose one"
                )
        return Vavl(self, streams, task)

    @property
    def sizes(self) -> ConformerSizes:
        """Of every conformer."""
        return ConformerSizes(self.width, self.num_heads, self.feed_forward_expansion, self.kernel, self.dropout, self.norm)


class ModalityEncoder(nn.Module):
    """Conv1d(D -> 50, k = 1, no bias), which is a linear layer over frames, then a conformer [code]."""

    def __init__(self, config: VavlConfig, dim: int) -> None:
        super().__init__()
        self.bottleneck = nn.Linear(dim, config.bottleneck, bias=False)
        self.conformer = Conformer(config.bottleneck, config.num_encoder_blocks, config.sizes)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Frames (B, T, H)."""
        frames: Tensor = self.conformer(self.bottleneck(x_BTD), mask_BT)
        return frames


class SharedLayers(nn.Module):
    """y = conformer(x) + x, LayerNorm, mean over time [code]; `has_residual` False leaves out the x."""

    def __init__(self, config: VavlConfig, num_blocks: int) -> None:
        super().__init__()
        self.conformer = Conformer(config.width, num_blocks, config.sizes)
        self.norm = nn.LayerNorm(config.width)
        self.has_residual = config.residual

    def forward(self, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """One vector per clip (B, H), zero without any frame."""
        y_BTH = self.conformer(x_BTH, mask_BT)
        return masked_mean(self.norm(y_BTH + x_BTH if self.has_residual else y_BTH), mask_BT)


class Head(nn.Sequential):
    """input -> 512 -> ReLU -> dropout -> 256 -> out [code]."""

    def __init__(self, config: VavlConfig, num_inputs: int, num_outputs: int) -> None:
        half = max(1, config.width // 2)
        super().__init__(
            nn.Linear(num_inputs, config.width),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(config.width, half),
            nn.Linear(half, num_outputs),
        )


class Vavl(FusionModel):
    """A clip with sound and pictures is predicted by the audio-visual head, one with either by that modality's, one with neither by zeros.

    Steps per batch, each with optimisers of its own parts [code]: vision; audio; audio-visual, which moves its head only, the rest frozen
    and in eval mode.
    """

    def __init__(self, config: VavlConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.reconstruction_weight = config.reconstruction_weight
        self.specs = {spec.modality: spec for modality in ORDER for spec in streams if spec.modality == modality}
        self.num_outputs = num_outputs = len(task.classes) + len(task.values)
        self.encoders = nn.ModuleDict({modality: ModalityEncoder(config, spec.dim) for modality, spec in self.specs.items()})
        is_split = not config.shared and len(self.specs) == 2
        stacks = list(self.specs) if is_split else ["shared"]
        self.stack_of = {modality: modality if is_split else "shared" for modality in self.specs}
        num_blocks = config.num_shared_blocks // len(stacks)
        self.shared = nn.ModuleDict({name: SharedLayers(config, num_blocks) for name in stacks})
        self.heads = nn.ModuleDict({modality: Head(config, config.width, num_outputs) for modality in self.specs})
        rebuilt = self.specs.items() if config.reconstruction else ()
        self.rebuilders = nn.ModuleDict({modality: Head(config, config.width, spec.dim) for modality, spec in rebuilt})
        has_both = len(self.specs) == 2
        self.audio_visual_head = Head(config, 2 * config.width, num_outputs) if has_both and config.audio_visual_head else None
        self.steps = tuple(self._modality_step(modality) for modality in self.specs)
        if self.audio_visual_head is not None:
            self.steps = (*self.steps, TrainStep(AUDIO_VISUAL, (AUDIO_VISUAL,), needs=("audio", "vision")))

    def _modality_step(self, modality: Modality) -> TrainStep:
        rebuilt = (self.specs[modality].name,) if modality in self.rebuilders else ()
        parts = (f"{modality}_encoder", self._stack_part(modality), f"{modality}_head")
        return TrainStep(modality, parts, needs=(modality,), reconstructs=rebuilt)

    def _stack_part(self, modality: Modality) -> str:
        return f"{self.stack_of[modality]}_layers"

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Encoders, shared layers and heads; a modality's reconstruction goes with its head."""
        found: dict[str, list[nn.Parameter]] = {}
        for modality in self.specs:
            found[f"{modality}_encoder"] = list(self.encoders[modality].parameters())
            found[self._stack_part(modality)] = list(self.shared[self.stack_of[modality]].parameters())
            rebuilder = self.rebuilders[modality].parameters() if modality in self.rebuilders else ()
            found[f"{modality}_head"] = [*self.heads[modality].parameters(), *rebuilder]
        if self.audio_visual_head is not None:
            found[AUDIO_VISUAL] = list(self.audio_visual_head.parameters())
        return found

    def forward(self, batch: Batch) -> Predictions:
        """Predict each clip from what it has."""
        represented = {modality: self._represent(batch, modality) for modality in self.specs}
        decisions = {modality: self._decode(self.heads[modality](h_BH)) for modality, h_BH in represented.items()}
        found = self._decode(next(iter(represented.values())).new_zeros(batch.num_clips, self.num_outputs))
        for modality, one in decisions.items():
            found = _choose(batch.present[self.specs[modality].name], one, found)
        if len(self.specs) == 1:
            return found
        if self.audio_visual_head is None:
            both = fuse_decisions(list(decisions.values()))
        else:
            both = self._decode(self.audio_visual_head(torch.cat([represented["audio"], represented["vision"]], dim=1)))
        has_both_B = torch.stack([batch.present[spec.name] for spec in self.specs.values()]).all(dim=0)
        return _choose(has_both_B, both, found)

    def forward_step(self, batch: Batch, step: str) -> Predictions:
        """The predictions of one modality's head, with its reconstruction, or of the audio-visual head on a frozen rest."""
        if step == AUDIO_VISUAL:
            assert self.audio_visual_head is not None
            return self._decode(self.audio_visual_head(self._represent_frozen(batch)))
        modality: Modality = "vision" if step == "vision" else "audio"
        h_BH = self._represent(batch, modality)
        predictions = self._decode(self.heads[modality](h_BH))
        if modality in self.rebuilders:
            # The target [code]: the time mean of the features as they came in.
            target_BD = masked_mean(*as_frames(batch, self.specs[modality])).detach()
            rebuilt_BD = self.rebuilders[modality](h_BH).float()
            predictions.reconstructions[self.specs[modality].name] = Reconstruction(rebuilt_BD, target_BD)
        return predictions

    def _represent(self, batch: Batch, modality: Modality) -> Tensor:
        """(B, H), zero for a clip that lacks the modality."""
        x_BTD, mask_BT = as_frames(batch, self.specs[modality])
        x_BTD = torch.where(mask_BT[:, :, None], x_BTD, 0.0)
        represented: Tensor = self.shared[self.stack_of[modality]](self.encoders[modality](x_BTD, mask_BT), mask_BT)
        return represented

    def _represent_frozen(self, batch: Batch) -> Tensor:
        """Sound and pictures side by side (B, 2H), without gradient, dropout or statistics of the batch."""
        frozen = (self.encoders, self.shared)
        was_training = self.training
        for module in frozen:
            module.eval()
        try:
            with torch.no_grad():
                return torch.cat([self._represent(batch, modality) for modality in ("audio", "vision")], dim=1)
        finally:
            for module in frozen:
                module.train(was_training)

    def _decode(self, output_BO: Tensor) -> Predictions:
        output_BO = output_BO.float()
        num_classes = len(self.task.classes)
        values = dict(zip(self.task.values, output_BO[:, num_classes:].unbind(dim=1), strict=True))
        return Predictions(output_BO[:, :num_classes], values)


def _choose(is_first_B: Tensor, first: Predictions, other: Predictions) -> Predictions:
    logits_BC = torch.where(is_first_B[:, None], first.logits, other.logits)
    return Predictions(logits_BC, {name: torch.where(is_first_B, first.values[name], other.values[name]) for name in first.values})
