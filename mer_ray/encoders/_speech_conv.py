"""HuBERT, wav2vec 2.0 and WavLM: convolutions over the waveform, then a transformer; exact under padding.

Shapes: B clips, S samples, T frames (one every 20 ms), D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from pydantic import Field
from torch import Tensor

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import FloatArray
from mer_ray.encoders._budget import BatchBudget, make_rungs
from mer_ray.encoders._clip_group_norm import ClipGroupNorm
from mer_ray.encoders._compiled import MAX_LENGTHS
from mer_ray.encoders._grouped_convolution import compute_without_onednn
from mer_ray.encoders._pretrained import load_pretrained, to_device
from mer_ray.encoders._speech import SAMPLE_RATE_HZ, SpeechEncoder, SpeechEncoderConfig, all_states

# Only masking during training reads it, and some checkpoints leave it out.
UNUSED_TENSORS = {"masked_spec_embed"}
# Where batches have few lengths (`compile`), shorter sounds are padded to this one.
SHORTEST_RUNG_S = 1.0


class ConvSpeechConfig(SpeechEncoderConfig):
    """A network over the waveform.

    `window_s` is the longest sound that goes through it in one piece. The networks know only relative positions and were trained
    on pieces of 15 to 20 s; 30 s keeps nearly all clips of the field's corpora whole, as they are usually encoded, and bounds the
    memory of the attention, which grows with the square.
    """

    window_s: float = Field(default=30.0, ge=1, allow_inf_nan=False)

    @property
    def frame_s(self) -> float:
        """20 ms for all published models."""
        return float(math.prod(self.architecture().conv_stride) / SAMPLE_RATE_HZ)

    def max_window_s(self) -> float:
        """`window_s`."""
        return self.window_s

    def _build(self, device: str) -> ConvSpeechEncoder:
        """The encoder with its weights on `device`."""
        return ConvSpeechEncoder(self, device)


class ConvSpeechEncoder(SpeechEncoder):
    """A frozen HuBERT, wav2vec 2.0 or WavLM."""

    def __init__(self, config: ConvSpeechConfig, device: str) -> None:
        self.architecture = config.architecture()
        super().__init__(config, device, transformers.Wav2Vec2FeatureExtractor.from_pretrained(config.folder()))
        self.model = load_pretrained(config, config.model_class(), self.device, UNUSED_TENSORS, config=self.architecture)
        if self.device.type == "cpu" and self.compute_dtype == torch.bfloat16:
            compute_without_onednn(self.model)
        self.clip_norm = _replace_group_norm(self.model) if self.architecture.feat_extract_norm == "group" else None
        if getattr(self.architecture, "conv_pos_batch_norm", False):
            # A batch norm before the positional convolution turns padding into signal: such models take clips one by one.
            self.budget = BatchBudget(0)
        elif config.compile:
            # A sample more would be a frame more than a window holds.
            longest = self._count_samples(self.max_frames + 1) - 1
            self.budget = BatchBudget(self.budget.max_units, make_rungs(round(SHORTEST_RUNG_S * SAMPLE_RATE_HZ), longest, MAX_LENGTHS))

    def begin_training(self, in_bfloat16: bool) -> None:
        """Also refuse what sees its batch, and keep the convolutions over the waveform frozen, as their authors fine-tune."""
        if getattr(self.architecture, "conv_pos_batch_norm", False):
            raise EncoderError(f"{self.name}: a batch norm before its positions makes a clip depend on its batch; take another checkpoint")
        super().begin_training(in_bfloat16)
        self.model.feature_extractor._freeze_parameters()
        if in_bfloat16 and self.device.type == "cpu" and self.compute_dtype == torch.float32:
            compute_without_onednn(self.model)

    @property
    def min_samples(self) -> int:
        """400 for all published models."""
        return self._count_samples(1)

    def _count_samples(self, num_frames: int) -> int:
        for kernel, stride in zip(reversed(self.architecture.conv_kernel), reversed(self.architecture.conv_stride), strict=True):
            num_frames = (num_frames - 1) * stride + kernel
        return num_frames

    def _count_frames(self, num_samples: int, convolutions: slice = slice(None)) -> int:
        kernels, strides = self.architecture.conv_kernel[convolutions], self.architecture.conv_stride[convolutions]
        for kernel, stride in zip(kernels, strides, strict=True):
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples

    def _prepare(self, samples_S: FloatArray) -> FloatArray:
        # Zero mean and unit variance, where the model wants it, are those of the whole sound.
        prepared = self.extractor(samples_S, sampling_rate=SAMPLE_RATE_HZ, padding=False, return_attention_mask=False)
        samples: FloatArray = np.asarray(prepared["input_values"][0], dtype=np.float32)
        return samples

    def _forward(self, sounds: Sequence[FloatArray]) -> Sequence[Tensor]:
        lengths = [len(samples_S) for samples_S in sounds]
        padded_length = self.budget.padded_length(max(lengths))
        values_BS = torch.zeros(len(sounds), padded_length)
        for row, samples_S in enumerate(sounds):
            values_BS[row, : len(samples_S)] = torch.from_numpy(np.array(samples_S))
        mask_BS = (torch.arange(padded_length) < torch.tensor(lengths)[:, None]).long()
        if self.clip_norm is not None:
            num_frames = [self._count_frames(length, slice(0, 1)) for length in lengths]
            self.clip_norm.num_frames_B = to_device(torch.tensor(num_frames), self.device)
        output = self.model(
            to_device(values_BS, self.device, self.compute_dtype),
            attention_mask=to_device(mask_BS, self.device),
            output_hidden_states=True,
        )
        return all_states(output)


def _replace_group_norm(model: Any) -> ClipGroupNorm:
    first = model.feature_extractor.conv_layers[0]
    norm = ClipGroupNorm(first.layer_norm)
    first.layer_norm = norm
    return norm
