"""The `hubert` encoder: HuBERT through transformers, every hidden state a layer.

Shapes: B clips, S samples, C channels, T frames (one every 20 ms), D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FloatArray
from mer_ray.encoders._base import Encoder
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._pooling import pool_in_time
from mer_ray.encoders._pretrained import COMPUTE_DTYPES, PretrainedEncoderConfig, exact_float32, load_pretrained, pool_states

SAMPLE_RATE_HZ = 16_000
# Seconds of sound in one forward pass, padding counted: large enough to fill the device, small enough for its memory.
CPU_BATCH_S, CUDA_BATCH_S = 20.0, 240.0
# Only masking during training reads it, and some checkpoints leave it out.
UNUSED_TENSORS = {"masked_spec_embed"}


class HubertEncoderConfig(PretrainedEncoderConfig):
    """HuBERT; `max_batch_s` bounds the padded seconds of sound in one pass (None: 20 on a CPU, 240 on a GPU)."""

    model_types = ("hubert",)
    companions = ("preprocessor_config.json",)

    name: Literal["hubert"] = "hubert"
    max_batch_s: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)

    @property
    def input_format(self) -> AudioFormat:
        """Mono sound at 16 kHz."""
        return AudioFormat(SAMPLE_RATE_HZ)

    @property
    def frame_s(self) -> float:
        """20 ms for all published models."""
        return math.prod(self.architecture().conv_stride) / SAMPLE_RATE_HZ

    def architecture(self) -> transformers.HubertConfig:
        """Sizes and kinds of all parts, from config.json."""
        return transformers.HubertConfig.from_dict(self.settings())

    def layers(self) -> dict[str, int]:
        """`layer_0` (input of the first block) to `layer_N` (output of the model, after the final norm where it has one)."""
        architecture = self.architecture()
        return {f"layer_{number}": architecture.hidden_size for number in range(architecture.num_hidden_layers + 1)}

    def build(self, device: str) -> HubertEncoder:
        """The encoder with its weights on `device`."""
        return HubertEncoder(self, device)


class HubertEncoder(Encoder):
    """A frozen HuBERT; clips of similar length share a padded batch and do not notice it."""

    def __init__(self, config: HubertEncoderConfig, device: str) -> None:
        super().__init__(config)
        self.device = torch.device(device)
        self.architecture = config.architecture()
        self.extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(config.folder())
        if self.extractor.sampling_rate != SAMPLE_RATE_HZ:
            raise EncoderError(
                f"weights {config.weights}: trained on sound at {self.extractor.sampling_rate} Hz; {SAMPLE_RATE_HZ} Hz is supported"
            )
        self.compute_dtype = COMPUTE_DTYPES[config.compute]
        self.model = load_pretrained(config, transformers.HubertModel, self.device, UNUSED_TENSORS)
        self.clip_norm = _replace_group_norm(self.model) if self.architecture.feat_extract_norm == "group" else None
        self.min_samples = _receptive_field(self.architecture)
        batch_s = config.max_batch_s or (CUDA_BATCH_S if self.device.type == "cuda" else CPU_BATCH_S)
        # A batch norm before the positional convolution turns padding into signal: such models take clips one by one.
        self.budget = BatchBudget(0 if self.architecture.conv_pos_batch_norm else batch_s * SAMPLE_RATE_HZ)

    def check(self, clip_input: EncoderInput) -> None:
        """Refuse what the format refuses, and sound shorter than one frame."""
        super().check(clip_input)
        if isinstance(clip_input, Audio) and len(clip_input.samples) < self.min_samples:
            raise EncoderError(
                f"{self.name}: the sound has {len(clip_input.samples)} samples; "
                f"at least {self.min_samples} ({1000 * self.min_samples / SAMPLE_RATE_HZ:g} ms at 16 kHz) are needed"
            )

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        sounds = [clip_input.samples for clip_input in inputs if isinstance(clip_input, Audio)]
        lengths = [len(samples_S) for samples_S in sounds]
        return self.budget.run(lengths, lambda batch: self._encode_batch([sounds[number] for number in batch]))

    @torch.inference_mode()
    def _encode_batch(self, sounds: Sequence[FloatArray]) -> list[Features]:
        lengths = [len(samples_S) for samples_S in sounds]
        inputs = self.extractor(list(sounds), sampling_rate=SAMPLE_RATE_HZ, padding=True, return_attention_mask=True, return_tensors="pt")
        if self.clip_norm is not None:
            first = slice(0, 1)
            self.clip_norm.num_frames_B = torch.tensor([self._count_frames(length, first) for length in lengths], device=self.device)
        with exact_float32():
            output = self.model(
                inputs["input_values"].to(self.device, self.compute_dtype),
                attention_mask=inputs["attention_mask"].to(self.device),
                output_hidden_states=True,
            )
        num_frames = [self._count_frames(length) for length in lengths]
        # What transformers 5 gives last is the last block's output before the final norm that some models have.
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        mean_LBD, std_LBD = pool_states(states, torch.tensor(num_frames, device=self.device))
        numbers = {layer: number for number, layer in enumerate(self.layers)}
        assert self.frame_s is not None
        return [
            Features(
                num_frames=num_frames[clip],
                frame_s=self.frame_s,
                mean={layer: mean_LBD[number, clip] for layer, number in numbers.items()},
                std={layer: std_LBD[number, clip] for layer, number in numbers.items()},
                sequences={
                    layer: pool_in_time(states[numbers[layer]][clip, : num_frames[clip]].float().cpu().numpy(), self.frame_s, self.rate_hz)
                    for layer in self.sequences
                },
            )
            for clip in range(len(sounds))
        ]

    def _count_frames(self, num_samples: int, convolutions: slice = slice(None)) -> int:
        """Frames that a sound of `num_samples` has after the given convolutions."""
        kernels, strides = self.architecture.conv_kernel[convolutions], self.architecture.conv_stride[convolutions]
        for kernel, stride in zip(kernels, strides, strict=True):
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples


class ClipGroupNorm(nn.Module):
    """A GroupNorm of one channel per group whose statistics come from each clip's own frames, not from its padding.

    `num_frames_B` is set before each forward pass. (B, C, T) in, (B, C, T) out.
    """

    num_frames_B: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Normalise every channel of every clip."""
        num_frames_B11 = self.num_frames_B[:, None, None]
        is_padding_B1T = torch.arange(x_BCT.shape[2], device=x_BCT.device) >= num_frames_B11
        values_BCT = x_BCT.float()
        mean_BC1 = values_BCT.masked_fill(is_padding_B1T, 0).sum(dim=2, keepdim=True) / num_frames_B11
        centred_BCT = (values_BCT - mean_BC1).masked_fill(is_padding_B1T, 0)
        variance_BC1 = centred_BCT.square().sum(dim=2, keepdim=True) / num_frames_B11
        scale_BC1 = torch.rsqrt(variance_BC1 + self.eps) * self.weight[:, None].float()
        return (centred_BCT * scale_BC1 + self.bias[:, None].float()).to(x_BCT.dtype)


def _replace_group_norm(model: transformers.HubertModel) -> ClipGroupNorm:
    first: Any = model.feature_extractor.conv_layers[0]
    norm = ClipGroupNorm(first.layer_norm)
    first.layer_norm = norm
    return norm


def _receptive_field(architecture: transformers.HubertConfig) -> int:
    """Samples that the first frame reads: 400 for all published models."""
    num_samples = 1
    for kernel, stride in zip(reversed(architecture.conv_kernel), reversed(architecture.conv_stride), strict=True):
        num_samples = (num_samples - 1) * stride + kernel
    return num_samples
