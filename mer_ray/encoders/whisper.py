"""The `whisper` encoder: Whisper's encoder through transformers, every hidden state a layer.

Shapes: B windows, S samples, M mel bands, T frames (one every 20 ms), D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import transformers
from torch import Tensor

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import FloatArray
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._pretrained import load_pretrained, to_device
from mer_ray.encoders._speech import SAMPLE_RATE_HZ, SpeechEncoder, SpeechEncoderConfig, all_states, on_hub

MEL_HOP = 160
# The second convolution takes every other column of the log-mel spectrogram.
FRAME_SAMPLES = 2 * MEL_HOP
# The encoder's tensors in a checkpoint of the whole model, with and without its language model head.
ENCODER_KEYS = {r"^(model\.)?encoder\.": ""}


class WhisperEncoderConfig(SpeechEncoderConfig):
    """Whisper (Radford et al., 2023) without its decoder, which is not loaded.

    As published, every window is padded with silence to 30 s, which the network hears too; features are over the frames of the
    sound alone, ceil(samples / 320) of 1500. An `adapter` must be one of the encoder.
    """

    model_types = ("whisper",)
    checkpoints = (
        on_hub("openai/whisper-base", 72_593_920, 512, 6, "apache-2.0"),
        on_hub("openai/whisper-large-v2", 1_543_304_960, 1280, 32, "apache-2.0"),
        on_hub("openai/whisper-large-v3", 1_543_490_560, 1280, 32, "apache-2.0"),
    )

    name: Literal["whisper"] = "whisper"

    @property
    def frame_s(self) -> float:
        """20 ms."""
        return FRAME_SAMPLES / SAMPLE_RATE_HZ

    def max_window_s(self) -> float:
        """30 s for all published models."""
        return float(self.architecture().max_source_positions * self.frame_s)

    def whole_architecture(self) -> transformers.WhisperConfig:
        """Sizes and kinds of all parts, from config.json."""
        return transformers.WhisperConfig.from_dict(self.settings())

    def model_class(self) -> Any:
        """WhisperEncoder."""
        return transformers.models.whisper.modeling_whisper.WhisperEncoder

    def _build(self, device: str) -> WhisperEncoder:
        """The encoder with its weights on `device`."""
        return WhisperEncoder(self, device)


class WhisperEncoder(SpeechEncoder):
    """A frozen Whisper encoder."""

    min_samples = 400

    def __init__(self, config: WhisperEncoderConfig, device: str) -> None:
        super().__init__(config, device, transformers.WhisperFeatureExtractor.from_pretrained(config.folder()))
        if (self.extractor.hop_length, self.extractor.n_samples) != (MEL_HOP, self.max_frames * FRAME_SAMPLES):
            raise EncoderError(
                f"weights {config.weights}: preprocessor_config.json gives windows of {self.extractor.n_samples} samples every "
                f"{self.extractor.hop_length}, but config.json asks for {self.max_frames * FRAME_SAMPLES} every {MEL_HOP}; "
                "take both files from the same model"
            )
        self.model = load_pretrained(config, config.model_class(), self.device, config=config.architecture(), key_mapping=ENCODER_KEYS)
        # Every window costs a full one.
        self.budget = BatchBudget(self.budget.max_units, [self.extractor.n_samples])

    def _count_frames(self, num_samples: int) -> int:
        return math.ceil(num_samples / FRAME_SAMPLES)

    def _count_samples(self, num_frames: int) -> int:
        return num_frames * FRAME_SAMPLES

    def _forward(self, sounds: Sequence[FloatArray]) -> Sequence[Tensor]:
        prepared = self.extractor(list(sounds), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", device=str(self.device))
        mel_BMT: torch.Tensor = prepared["input_features"]
        return all_states(self.model(to_device(mel_BMT, self.device, self.compute_dtype), output_hidden_states=True))
