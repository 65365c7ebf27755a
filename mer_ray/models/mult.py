"""MulT, the multimodal transformer for unaligned sequences (Tsai et al. 2019, arXiv 1906.00295).

Shapes: B clips, T tokens of a target, K tokens of a source, D feature dimension, H width, W width of all targets together, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.media_types import Modality
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._linear_heads import LinearHeads
from mer_ray.models._masked_attention import MaskedAttention, check_heads
from mer_ray.models._modality_streams import streams_by_modality
from mer_ray.models._positions import sinusoidal_positions
from mer_ray.models._streams import as_frames, masked_mean

# The official code widens feed-forwards four times.
EXPANSION = 4

Tokens = tuple[Tensor, Tensor]


class MultConfig(FusionModelConfig):
    """`num_layers`: crossmodal blocks per pair of modalities; `self_layers`: blocks over what a target has gathered. Defaults are ours.

    The official code takes width 30, 5 heads, 5 crossmodal and 5 self-attention blocks.
    """

    reads_frames: ClassVar[bool] = True

    name: Literal["mult"] = "mult"
    hidden: int = Field(32, ge=1, le=65_536)
    num_heads: int = Field(4, ge=1, le=1_024)
    num_layers: int = Field(2, ge=1, le=64)
    self_layers: int = Field(1, ge=1, le=64)
    dropout: float = Field(0.2, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        check_heads(self.hidden, self.num_heads)
        return self

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "MultFusion":
        """Make the model, with random weights."""
        return MultFusion(self, streams, task)


class ModalityTokens(nn.Module):
    """A modality's streams as one sequence: x_t -> sqrt(H) Conv1d(x_t), kernel 1 and no bias [code], plus sinusoidal positions [paper].

    Ours: several streams of a modality follow each other in time, each with positions of its own; a pooled one is a token without.
    """

    def __init__(self, specs: Sequence[StreamSpec], config: MultConfig) -> None:
        super().__init__()
        self.specs = tuple(specs)
        # A convolution with kernel 1 is a linear layer on each frame.
        self.projections = nn.ModuleList(nn.Linear(spec.dim, config.hidden, bias=False) for spec in specs)
        self.input_dropout = nn.Dropout(config.input_dropout) if config.input_dropout else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tokens:
        """The tokens (B, T, H), finite also where they are padding, and their mask (B, T)."""
        parts = [self._project(projection, batch, spec) for spec, projection in zip(self.specs, self.projections, strict=True)]
        return self.dropout(torch.cat([x_BTH for x_BTH, _ in parts], dim=1)), torch.cat([mask_BT for _, mask_BT in parts], dim=1)

    def _project(self, projection: nn.Module, batch: Batch, spec: StreamSpec) -> Tokens:
        x_BTD, mask_BT = as_frames(batch, spec)
        h_BTH = projection(self.input_dropout(torch.where(mask_BT[:, :, None], x_BTD, 0.0)))
        h_BTH = math.sqrt(h_BTH.shape[2]) * h_BTH
        if spec.is_sequence:
            h_BTH = h_BTH + sinusoidal_positions(h_BTH.shape[1], h_BTH.shape[2], h_BTH.device)
        return h_BTH, mask_BT


class CrossmodalBlock(nn.Module):
    """x' = x + CM(LN(x), LN(source)); x'' = x' + FF(LN'(x')), FF = W_2 ReLU(W_1 .) (section 3.2).

    As in the official code, one LN serves queries and keys, and the residual is x, where the paper prints LN(x). Ours: the future is
    not masked, which the code does and the paper does not say.
    """

    def __init__(self, width: int, num_heads: int, dropout: float, is_single_key: bool) -> None:
        super().__init__()
        self.attention = MaskedAttention(width, num_heads, is_single_key)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(EXPANSION * width, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTH: Tensor, source_BKH: Tensor, mask_BK: Tensor) -> Tensor:
        """The target's tokens with what they gather from the source's real ones, (B, T, H)."""
        gathered_BTH = self.attention(self.attention_norm(x_BTH), self.attention_norm(source_BKH), mask_BK)
        x_BTH = x_BTH + self.dropout(gathered_BTH)
        transformed_BTH: Tensor = x_BTH + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTH)))
        return transformed_BTH


class CrossmodalTransformer(nn.Module):
    """Blocks that all look at the same low-level source [paper], then a LayerNorm [code]; without a source, at themselves."""

    def __init__(self, width: int, num_heads: int, num_layers: int, dropout: float, is_single_key: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossmodalBlock(width, num_heads, dropout, is_single_key) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor, source: Tokens | None = None) -> Tensor:
        """Z_{source -> target} (B, T, H), as long as the target."""
        for block in self.blocks:
            x_BTH = block(x_BTH, *(source or (x_BTH, mask_BT)))
        normed_BTH: Tensor = self.norm(x_BTH)
        return normed_BTH


class TargetTransformer(nn.Module):
    """One modality enriched by each of the others, concatenated, then self-attention, then the mean over its real tokens.

    The paper takes the last token; the mean is ours, because with masks every clip ends elsewhere. Without other modalities only the
    self-attention is left.
    """

    def __init__(self, config: MultConfig, modality: Modality, has_single_token: Mapping[Modality, bool]) -> None:
        super().__init__()
        self.modality = modality
        self.sources = tuple(source for source in has_single_token if source != modality)
        self.crossmodal = nn.ModuleDict(
            {
                source: CrossmodalTransformer(config.hidden, config.num_heads, config.num_layers, config.dropout, has_single_token[source])
                for source in self.sources
            }
        )
        self.width = config.hidden * max(1, len(self.sources))
        self.self_attention = CrossmodalTransformer(
            self.width, config.num_heads, config.self_layers, config.dropout, has_single_token[modality]
        )

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tensor:
        """The modality's vector (B, width), zero for a clip without it."""
        x_BTH, mask_BT = tokens[self.modality]
        if self.sources:
            x_BTH = torch.cat([self.crossmodal[source](x_BTH, mask_BT, tokens[source]) for source in self.sources], dim=2)
        return masked_mean(self.self_attention(x_BTH, mask_BT), mask_BT)


class MultFusion(FusionModel):
    """Every modality is the target of every other one; the targets' vectors concatenated, a residual MLP [code], linear heads."""

    def __init__(self, config: MultConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        groups = streams_by_modality(streams)
        single = {modality: len(specs) == 1 and not specs[0].is_sequence for modality, specs in groups.items()}
        self.tokens = nn.ModuleDict({modality: ModalityTokens(specs, config) for modality, specs in groups.items()})
        targets = [TargetTransformer(config, modality, single) for modality in groups]
        self.targets = nn.ModuleDict({target.modality: target for target in targets})
        width = sum(target.width for target in targets)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(width, width))
        self.heads = LinearHeads(width, task)

    def forward(self, batch: Batch) -> Predictions:
        """Predict from pooled streams and frames."""
        h_BW = torch.cat(list(self.represent(batch).values()), dim=1)
        predictions: Predictions = self.heads(h_BW + self.mix(h_BW))
        return predictions

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Each modality's vector (B, width) with what it gathered from the others, zero where the clip lacks it."""
        tokens = {modality: module(batch) for modality, module in self.tokens.items()}
        return {modality: target(tokens) for modality, target in self.targets.items()}
