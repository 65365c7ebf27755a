"""Audio-guided fusion (arXiv 2409.05007): audio, or whatever is named instead, guides the other streams.

Shapes: B clips, S streams, T tokens, D feature dimension, H hidden, C classes, V values.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.errors import ConfigError
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._guided_fusion import GuidedFusion
from mer_ray.models._masked_attention import check_heads
from mer_ray.models._multimodal_fusion import GuideGate
from mer_ray.models._plain_fusion import PlainFusion
from mer_ray.models._positions import sinusoidal_positions
from mer_ray.models._streams import absent_streams, as_frames

GUIDE_GATE = "guide_gate"


class AudioGuidedConfig(FusionModelConfig):
    """The paper gives no sizes: all of them are ours.

    `guide`: the stream that guides, by its name or, where it has only one, by its modality. `fusion: plain` is the control: the same
    features in a guide-free transformer with as many parameters. `fallback: gate` adds a guide-free path for clips whose guide is
    missing or corrupted. `num_layers`: blocks of cross- and self-attention for each guided stream.
    """

    reads_frames: ClassVar[bool] = True

    name: Literal["audio_guided"] = "audio_guided"
    guide: str = Field("audio", min_length=1)
    fusion: Literal["guided", "plain"] = "guided"
    fallback: Literal["none", "gate"] = "none"
    hidden: int = Field(128, ge=1, le=65_536)
    num_heads: int = Field(4, ge=1, le=1_024)
    num_layers: int = Field(1, ge=1, le=64)
    feed_forward: int = Field(256, ge=1, le=262_144)
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        check_heads(self.hidden, self.num_heads)
        return self

    @model_validator(mode="after")
    def _check_fallback(self) -> Self:
        if self.fusion == "plain" and self.fallback == "gate":
            raise ValueError("fallback: plain fusion has no guide to fall back from; set fallback to none, or fusion to guided")
        return self

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "AudioGuidedFusion":
        """Make the model, with random weights.

        Raises:
            ConfigError: none of the streams, or several, are the guide.

        """
        return AudioGuidedFusion(self, streams, task)

    def check_streams(self, streams: Sequence[StreamSpec]) -> None:
        """Refuse streams among which `guide` names none, or several.

        Raises:
            ConfigError: names them.

        """
        super().check_streams(streams)
        self.guide_of(streams)

    def guide_of(self, streams: Sequence[StreamSpec]) -> int:
        """The number of the stream that guides: the one so named, else the only one of that modality.

        Raises:
            ConfigError: there is none, or there are several.

        """
        named = [number for number, spec in enumerate(streams) if spec.name == self.guide]
        candidates = named or [number for number, spec in enumerate(streams) if spec.modality == self.guide]
        if not candidates:
            inputs = ", ".join(f"{spec.name} ({spec.modality})" for spec in streams)
            raise ConfigError(f"guide: {self.guide!r} is none of the inputs nor their modality; name one of {inputs}")
        if len(candidates) > 1:
            names = ", ".join(streams[number].name for number in candidates)
            raise ConfigError(f"guide: {self.guide!r} is several inputs; name the one that guides: {names}")
        return candidates[0]


class TokenProjection(nn.Module):
    """x_t -> LayerNorm(Linear(x_t)), plus sinusoidal positions where it is frames [ours]; a pooled stream is one token."""

    def __init__(self, spec: StreamSpec, config: AudioGuidedConfig) -> None:
        super().__init__()
        self.spec = spec
        self.input_dropout = nn.Dropout(config.input_dropout) if config.input_dropout else nn.Identity()
        self.linear = nn.Linear(spec.dim, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The stream's tokens (B, T, H), finite also where they are padding, and their mask (B, T)."""
        x_BTD, mask_BT = as_frames(batch, self.spec)
        h_BTH = self.norm(self.linear(self.input_dropout(torch.where(mask_BT[:, :, None], x_BTD, 0.0))))
        if self.spec.is_sequence:
            h_BTH = h_BTH + sinusoidal_positions(h_BTH.shape[1], h_BTH.shape[2], h_BTH.device)
        return self.dropout(h_BTH), mask_BT


class AudioGuidedFusion(FusionModel):
    """Tokens of each stream -> CBT per guided stream -> AMF -> an MLP for the class, a linear head for values (README.md).

    The stages are the paper's (arXiv 2409.05007), which gives no formulas; those are ours, in the blocks' files. With the gate
    [ours]: z = g z_guided + (1 - g) z_plain, where z_plain comes from the other streams without the guide; `facts["guide_gate"]` is
    g, 0 where the guide is absent and NaN for a clip without any stream. `attention` are AMF's weights.
    """

    def __init__(self, config: AudioGuidedConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.guide = config.guide_of(streams)
        others = [spec for number, spec in enumerate(streams) if number != self.guide]
        self.projections = nn.ModuleList(TokenProjection(spec, config) for spec in streams)
        self.guided = guided_fusion(config, streams) if config.fusion == "guided" else None
        self.plain = plain_fusion(config, streams, matched_feed_forward(config, streams)) if config.fusion == "plain" else None
        self.has_gate = config.fallback == "gate"
        has_plain_path = self.has_gate and bool(others)
        self.unguided = plain_fusion(config, others, config.feed_forward) if has_plain_path else None
        self.gate = GuideGate(config.hidden) if has_plain_path else None
        self.emotion_head = nn.Sequential(
            nn.Linear(config.hidden, config.hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, len(task.classes))
        )
        self.value_heads = nn.Linear(config.hidden, len(task.values)) if task.values else None

    def forward(self, batch: Batch) -> Predictions:
        """Predict from pooled streams and frames."""
        tokens = [projection(batch) for projection in self.projections]
        if self.plain is not None:
            return self._predict(self.plain(tokens))
        assert self.guided is not None
        absent_BS = absent_streams(batch, self.streams)
        z_BH, weights_BS, guide_BH = self.guided(tokens, ~absent_BS)
        facts = {}
        if self.has_gate:
            z_BH, gate_B = self._gated(z_BH, guide_BH, tokens, ~absent_BS)
            facts[GUIDE_GATE] = gate_B.detach().masked_fill(absent_BS.all(dim=1), torch.nan)
        predictions = self._predict(z_BH)
        # Only NaN says that a stream was absent, as in the attention baseline.
        predictions.attention = weights_BS.detach().masked_fill(absent_BS, torch.nan)
        predictions.attention_names = tuple(spec.name for spec in self.streams)
        predictions.facts = facts
        return predictions

    def _gated(
        self, guided_BH: Tensor, guide_BH: Tensor, tokens: Sequence[tuple[Tensor, Tensor]], present_BS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The fused z (B, H) and the gate g (B,)."""
        is_guide_present_B = present_BS[:, self.guide]
        if self.unguided is None or self.gate is None:
            gate_B = is_guide_present_B.float()
            return gate_B.to(guided_BH.dtype)[:, None] * guided_BH, gate_B
        plain_BH = self.unguided([pair for number, pair in enumerate(tokens) if number != self.guide])
        is_other_present_B = torch.stack([present for number, present in enumerate(present_BS.unbind(1)) if number != self.guide]).any(0)
        gate_B = self.gate(guide_BH, plain_BH, is_guide_present_B, is_other_present_B)
        gate_B1 = gate_B.to(guided_BH.dtype)[:, None]
        return gate_B1 * guided_BH + (1 - gate_B1) * plain_BH, gate_B

    def _predict(self, z_BH: Tensor) -> Predictions:
        values = {}
        if self.value_heads is not None:
            values = dict(zip(self.task.values, self.value_heads(z_BH).float().unbind(dim=1), strict=True))
        return Predictions(self.emotion_head(z_BH).float(), values)


def guided_fusion(config: AudioGuidedConfig, streams: Sequence[StreamSpec]) -> GuidedFusion:
    """CBT and AMF over the streams."""
    sizes = (config.hidden, config.num_heads, config.feed_forward, config.num_layers)
    return GuidedFusion(streams, config.guide_of(streams), *sizes, config.dropout, config.temperature)


def plain_fusion(config: AudioGuidedConfig, streams: Sequence[StreamSpec], feed_forward: int) -> PlainFusion:
    """As deep as a CBT, over the streams."""
    is_single_token = len(streams) == 1 and not streams[0].is_sequence
    return PlainFusion(config.hidden, config.num_heads, feed_forward, 2 * config.num_layers, config.dropout, is_single_token)


def matched_feed_forward(config: AudioGuidedConfig, streams: Sequence[StreamSpec]) -> int:
    """The feed-forward width with which plain fusion has as many parameters as guided fusion of the same streams.

    One stream alone has nothing to guide nor to be compared with: it keeps `feed_forward`.
    """
    if len(streams) == 1:
        return config.feed_forward
    with torch.device("meta"):
        wanted = _num_parameters(guided_fusion(config, streams))
        narrowest, next_one = (_num_parameters(plain_fusion(config, streams, width)) for width in (1, 2))
    return max(1, 1 + round((wanted - narrowest) / (next_one - narrowest)))


def _num_parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
