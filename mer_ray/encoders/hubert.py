"""The `hubert` encoder: HuBERT through transformers, every hidden state a layer.

Shapes: B clips, S samples, C channels, T frames (one every 20 ms), D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from pydantic import field_validator
from safetensors import SafetensorError
from torch import Tensor, nn

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FloatArray
from mer_ray.encoders._base import Encoder, EncoderConfig
from mer_ray.encoders._pooling import pool_in_time
from mer_ray.encoders._weights import digest_weights, find_weights, read_licence

SAMPLE_RATE_HZ = 16_000
# Seconds of sound in one forward pass, padding counted: large enough to fill the device, small enough for its memory.
CPU_BATCH_S, CUDA_BATCH_S = 20.0, 240.0
# Only masking during training reads it, and some checkpoints leave it out.
UNUSED_TENSORS = {"masked_spec_embed"}


class HubertEncoderConfig(EncoderConfig):
    """HuBERT from `weights`: a folder, or a hub id with an optional `revision`.

    `compute` is the type of the forward pass. `max_batch_s` bounds the padded seconds of sound in one pass (None: 20 on a
    CPU, 240 on a GPU); a longer clip goes alone.
    """

    name: Literal["hubert"] = "hubert"
    weights: str = where_or_how_fast()
    revision: str | None = where_or_how_fast(None)
    compute: Literal["float32", "bf16"] = "float32"
    max_batch_s: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: str) -> str:
        # Workers run in folders of their own.
        folder = Path(weights).expanduser()
        return str(folder.absolute()) if folder.is_dir() else weights

    @property
    def input_format(self) -> AudioFormat:
        """Mono sound at 16 kHz."""
        return AudioFormat(SAMPLE_RATE_HZ)

    @property
    def frame_s(self) -> float:
        """20 ms for all published models."""
        return math.prod(self.architecture().conv_stride) / SAMPLE_RATE_HZ

    @property
    def licence(self) -> str:
        """As the model card says."""
        return read_licence(self.folder())

    def folder(self) -> Path:
        """Where the files lie, downloaded if need be.

        Raises:
            EncoderError: there are none.

        """
        return find_weights(self.weights, self.revision)

    def architecture(self) -> transformers.HubertConfig:
        """Sizes and kinds of all parts, from config.json.

        Raises:
            EncoderError: the folder holds another kind of model.

        """
        folder = self.folder()
        settings, _ = transformers.PreTrainedConfig.get_config_dict(folder)
        if settings.get("model_type") != "hubert":
            raise EncoderError(
                f"weights {self.weights}: config.json says model_type {settings.get('model_type')!r}; this encoder reads 'hubert'"
            )
        return transformers.HubertConfig.from_dict(settings)

    def layers(self) -> dict[str, int]:
        """`layer_0` (input of the first block) to `layer_N` (output of the model, after the final norm where it has one)."""
        architecture = self.architecture()
        return {f"layer_{number}": architecture.hidden_size for number in range(architecture.num_hidden_layers + 1)}

    def weights_digest(self) -> str:
        """The sha256 of tensors, config.json and preprocessor_config.json."""
        return digest_weights(self.folder())

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
        self.compute_dtype = torch.bfloat16 if config.compute == "bf16" else torch.float32
        self.model = load_model(config, self.compute_dtype, self.device)
        self.clip_norm = _replace_group_norm(self.model) if self.architecture.feat_extract_norm == "group" else None
        self.min_samples = _receptive_field(self.architecture)
        batch_s = config.max_batch_s or (CUDA_BATCH_S if self.device.type == "cuda" else CPU_BATCH_S)
        # A batch norm before the positional convolution turns padding into signal: such models take clips one by one.
        self.max_batch_samples = 0 if self.architecture.conv_pos_batch_norm else round(batch_s * SAMPLE_RATE_HZ)

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
        results: dict[int, Features] = {}
        for numbers in self._split([len(samples_S) for samples_S in sounds]):
            results.update(zip(numbers, self._encode_batch([sounds[number] for number in numbers]), strict=True))
        return [results[number] for number in range(len(sounds))]

    def _split(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Numbers of clips of similar length, within the limit of padded samples."""
        batch: list[int] = []
        for number in sorted(range(len(lengths)), key=lambda number: lengths[number], reverse=True):
            if batch and lengths[batch[0]] * (len(batch) + 1) > self.max_batch_samples:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    @torch.inference_mode()
    def _encode_batch(self, sounds: Sequence[FloatArray]) -> list[Features]:
        lengths = [len(samples_S) for samples_S in sounds]
        inputs = self.extractor(list(sounds), sampling_rate=SAMPLE_RATE_HZ, padding=True, return_attention_mask=True, return_tensors="pt")
        if self.clip_norm is not None:
            first = slice(0, 1)
            self.clip_norm.num_frames_B = torch.tensor([self._count_frames(length, first) for length in lengths], device=self.device)
        with _exact_float32():
            output = self.model(
                inputs["input_values"].to(self.device, self.compute_dtype),
                attention_mask=inputs["attention_mask"].to(self.device),
                output_hidden_states=True,
            )
        num_frames = [self._count_frames(length) for length in lengths]
        # What transformers 5 gives last is the last block's output before the final norm that some models have.
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        mean_LBD, std_LBD = _pool_layers(states, torch.tensor(num_frames, device=self.device))
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


def load_model(config: HubertEncoderConfig, dtype: torch.dtype, device: torch.device) -> transformers.HubertModel:
    """The frozen model from its folder; no code of the folder is run.

    Raises:
        EncoderError: files are broken, or tensors of the model are missing from them.

    """
    be_silent: Callable[[], None] = transformers.utils.logging.disable_progress_bar
    be_silent()
    try:
        loaded: Any = transformers.HubertModel.from_pretrained(
            config.folder(), local_files_only=True, weights_only=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"weights {config.weights}: cannot be loaded ({reason}); download them again") from error
    model, found = loaded
    missing = sorted(set(found["missing_keys"]) - UNUSED_TENSORS)
    if missing:
        raise EncoderError(
            f"weights {config.weights}: {len(missing)} tensors of the model are missing, e.g. {missing[0]}; download them again"
        )
    frozen: transformers.HubertModel = model.eval().requires_grad_(False).to(device)
    return frozen


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


def _pool_layers(hidden_states: Sequence[Tensor], num_frames_B: Tensor) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation over real frames: two float32 (L, B, D), in one copy from the device."""
    num_frames_B1 = num_frames_B[:, None]
    is_padding_BT1 = (torch.arange(hidden_states[0].shape[1], device=num_frames_B.device) >= num_frames_B1)[:, :, None]
    statistics = []
    for state_BTD in hidden_states:
        values_BTD = state_BTD.float()
        mean_BD = values_BTD.masked_fill(is_padding_BT1, 0).sum(dim=1) / num_frames_B1
        centred_BTD = (values_BTD - mean_BD[:, None]).masked_fill(is_padding_BT1, 0)
        statistics.append(torch.stack([mean_BD, (centred_BTD.square().sum(dim=1) / num_frames_B1).sqrt()]))
    pooled_2LBD: FloatArray = torch.stack(statistics, dim=1).cpu().numpy()
    return np.ascontiguousarray(pooled_2LBD[0]), np.ascontiguousarray(pooled_2LBD[1])


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Keep TF32 out of convolutions: it is on by default and costs float32 features half of their digits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
