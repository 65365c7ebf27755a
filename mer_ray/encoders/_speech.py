"""What all speech encoders share: sounds cut into windows, windows into batches, their frames put together again.

Shapes: B windows of a batch, S samples, T frames, D hidden size, L layers, K kept layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FloatArray
from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._pooling import pool_in_time
from mer_ray.encoders._pretrained import COMPUTE_DTYPES, NetworkEncoder, PretrainedEncoderConfig, exact_float32, pool_states
from mer_ray.encoders._windows import Window, cut_windows, merge_statistics

SAMPLE_RATE_HZ = 16_000
# Seconds of sound in one forward pass, padding counted: large enough to fill the device, small enough for its memory.
CPU_BATCH_S, CUDA_BATCH_S = 20.0, 240.0


class SpeechEncoderConfig(PretrainedEncoderConfig):
    """A speech network; longer sounds than its window go through overlapping windows.

    `num_layers` loads and runs only the first blocks; the model's final norm follows the last of them. `overlap_s` is what
    neighbouring windows have in common at least; its halves are context that is thrown away. `max_batch_s` bounds the padded
    seconds of sound in one pass (None: 20 on a CPU, 240 on a GPU).
    """

    companions = ("preprocessor_config.json",)

    num_layers: int | None = Field(default=None, ge=1)
    # Twice 2.5 s: about twice the reach to either side (1.28 s) of the positional convolutions of these networks.
    overlap_s: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    max_batch_s: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)

    @property
    def input_format(self) -> AudioFormat:
        """Mono sound at 16 kHz."""
        return AudioFormat(SAMPLE_RATE_HZ)

    @property
    @abstractmethod
    def frame_s(self) -> float:
        """20 ms for all published models."""

    @abstractmethod
    def max_window_s(self) -> float:
        """Seconds of sound that go through the network together."""

    @abstractmethod
    def whole_architecture(self) -> Any:
        """Sizes and kinds of all parts, from config.json."""

    @abstractmethod
    def model_class(self) -> Any:
        """The class of transformers that reads the weights."""

    def architecture(self) -> Any:
        """As config.json says, with `num_layers` blocks.

        Raises:
            ConfigError: the network has fewer blocks.

        """
        architecture = self.whole_architecture()
        if self.num_layers is not None:
            if self.num_layers > architecture.num_hidden_layers:
                raise ConfigError(
                    f"encoder {self.name}: num_layers {self.num_layers}: the weights {self.weights} "
                    f"have {architecture.num_hidden_layers} blocks; leave it out to take all"
                )
            architecture.num_hidden_layers = self.num_layers
        return architecture

    @property
    def is_truncated(self) -> bool:
        """With `num_layers`."""
        return self.num_layers is not None

    def skeleton(self) -> nn.Module:
        """The network without weights."""
        with torch.device("meta"):
            network: nn.Module = self.model_class()(self.architecture())
        return network

    def num_weight_bytes(self) -> int:
        """Of the parts that are loaded, in the compute type, and of what adapters that change places keep beside them."""
        num_parameters = sum(parameter.numel() for parameter in self.skeleton().parameters())
        return num_parameters * COMPUTE_DTYPES[self.compute].itemsize + self._adapter_bytes()

    def layers(self) -> dict[str, int]:
        """`layer_0` (input of the first block) to `layer_N` (output of the model, after the final norm where it has one)."""
        architecture = self.architecture()
        return {f"layer_{number}": architecture.hidden_size for number in range(architecture.num_hidden_layers + 1)}

    def check(self) -> None:
        """Find also an overlap that leaves windows no way forward."""
        super().check()
        if self.overlap_s > self.max_window_s() / 2:
            raise ConfigError(
                f"encoder {self.name}: overlap_s {self.overlap_s:g} is more than half of the window of {self.max_window_s():g} s; "
                f"set it to at most {self.max_window_s() / 2:g}"
            )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is kept of one window."""

    num_kept: int
    mean_LD: FloatArray
    std_LD: FloatArray
    frames_KTD: FloatArray | None


class SpeechEncoder(NetworkEncoder):
    """A speech network; windows of similar length share a padded batch and do not notice it."""

    def __init__(self, config: SpeechEncoderConfig, device: str, extractor: Any) -> None:
        super().__init__(config)
        self.device = torch.device(device)
        self.compute_dtype = COMPUTE_DTYPES[config.compute]
        self.extractor = extractor
        if extractor.sampling_rate != SAMPLE_RATE_HZ:
            raise EncoderError(
                f"weights {config.weights}: trained on sound at {extractor.sampling_rate} Hz; {SAMPLE_RATE_HZ} Hz is supported"
            )
        assert self.frame_s is not None
        self.hop = round(self.frame_s * SAMPLE_RATE_HZ)
        self.max_frames = int(config.max_window_s() / self.frame_s + 1e-6)
        self.min_overlap = round(config.overlap_s / self.frame_s)
        batch_s = config.max_batch_s or (CUDA_BATCH_S if self.device.type == "cuda" else CPU_BATCH_S)
        self.budget = BatchBudget(batch_s * SAMPLE_RATE_HZ)

    @property
    @abstractmethod
    def min_samples(self) -> int:
        """The shortest sound that has a frame."""

    @abstractmethod
    def _count_frames(self, num_samples: int) -> int:
        """Frames of a sound."""

    @abstractmethod
    def _count_samples(self, num_frames: int) -> int:
        """Samples that so many frames read."""

    def _prepare(self, samples_S: FloatArray) -> FloatArray:
        """What is done to a sound as a whole, before it is cut into windows."""
        return samples_S

    @abstractmethod
    def _forward(self, sounds: Sequence[FloatArray]) -> Sequence[Tensor]:
        """All layers of a batch of windows: L tensors (B, T, D)."""

    def check(self, clip_input: EncoderInput) -> None:
        """Refuse what the format refuses, and sound shorter than one frame."""
        super().check(clip_input)
        if isinstance(clip_input, Audio) and len(clip_input.samples) < self.min_samples:
            raise EncoderError(
                f"{self.name}: the sound has {len(clip_input.samples)} samples; "
                f"at least {self.min_samples} ({1000 * self.min_samples / SAMPLE_RATE_HZ:g} ms at 16 kHz) are needed"
            )

    def trim(self, clip_input: EncoderInput, start: float, max_s: float) -> Audio:
        """At most `max_s` seconds, and no more than a window, of a sound that is prepared as a whole."""
        assert isinstance(clip_input, Audio)
        samples_S = self._prepare(clip_input.samples)
        longest = max(self.min_samples, min(round(max_s * SAMPLE_RATE_HZ), self._count_samples(self.max_frames)))
        first = round(start * max(0, len(samples_S) - longest))
        return Audio(samples_S[first : first + longest], SAMPLE_RATE_HZ)

    def last_states(self, inputs: Sequence[EncoderInput]) -> tuple[Tensor, Tensor]:
        """Of the network's output, which `layer_N` is."""
        sounds = [clip_input.samples for clip_input in inputs if isinstance(clip_input, Audio)]
        state_BTD = self._forward(sounds)[-1]
        num_frames_B = torch.tensor([self._count_frames(len(samples_S)) for samples_S in sounds], device=self.device)
        return state_BTD, torch.arange(state_BTD.shape[1], device=self.device) < num_frames_B[:, None]

    def padding(self) -> tuple[int, int]:
        """Real and padded samples."""
        return self.budget.real_units, self.budget.padded_units

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        sounds: list[FloatArray] = []
        windows: list[list[Window]] = []
        for clip_input in inputs:
            assert isinstance(clip_input, Audio)
            own = cut_windows(self._count_frames(len(clip_input.samples)), self.max_frames, self.min_overlap)
            windows.append(own)
            sounds += self._cut(self._prepare(clip_input.samples), own)
        flat = [window for own in windows for window in own]
        parts = iter(
            self.budget.run(
                [len(samples_S) for samples_S in sounds],
                lambda batch: self._encode_batch([sounds[number] for number in batch], [flat[number] for number in batch]),
            )
        )
        return [self._stitch([next(parts) for _ in own]) for own in windows]

    def _cut(self, samples_S: FloatArray, windows: Sequence[Window]) -> list[FloatArray]:
        if len(windows) == 1:
            return [samples_S]
        starts = [window.start * self.hop for window in windows]
        return [samples_S[start : start + self._count_samples(window.num_frames)] for start, window in zip(starts, windows, strict=True)]

    @torch.inference_mode()
    def _encode_batch(self, sounds: Sequence[FloatArray], windows: Sequence[Window]) -> list[_Part]:
        with exact_float32():
            states_LBTD = self._forward(sounds)
        starts_B = torch.tensor([window.first_kept for window in windows], device=self.device)
        num_kept_B = torch.tensor([window.num_kept for window in windows], device=self.device)
        mean_LBD, std_LBD = pool_states(states_LBTD, num_kept_B, starts_B)
        frames_BKTD = self._keep_frames(states_LBTD) if self.sequences else [None] * len(windows)
        return [
            _Part(
                window.num_kept,
                mean_LBD[:, row],
                std_LBD[:, row],
                # A copy: a view would hold the whole batch until the clip's last window is done.
                None if frames_KTD is None else frames_KTD[:, window.first_kept : window.first_kept + window.num_kept].copy(),
            )
            for row, (window, frames_KTD) in enumerate(zip(windows, frames_BKTD, strict=True))
        ]

    def _keep_frames(self, states_LBTD: Sequence[Tensor]) -> list[FloatArray]:
        numbers = [list(self.layers).index(layer) for layer in self.sequences]
        frames_BKTD: FloatArray = torch.stack([states_LBTD[number] for number in numbers], dim=1).float().cpu().numpy()
        return list(frames_BKTD)

    def _stitch(self, parts: Sequence[_Part]) -> Features:
        mean_LD, std_LD = merge_statistics(
            [part.num_kept for part in parts], [part.mean_LD for part in parts], [part.std_LD for part in parts]
        )
        kept = [part.frames_KTD for part in parts if part.frames_KTD is not None]
        frames_KTD = np.concatenate(kept, axis=1) if kept else ()
        assert self.frame_s is not None
        return Features(
            num_frames=sum(part.num_kept for part in parts),
            frame_s=self.frame_s,
            mean=dict(zip(self.layers, mean_LD, strict=True)),
            std=dict(zip(self.layers, std_LD, strict=True)),
            sequences={
                layer: pool_in_time(frames_TD, self.frame_s, self.rate_hz)
                for layer, frames_TD in zip(self.sequences, frames_KTD, strict=True)
            },
        )


def on_hub(weights: str, num_parameters: int, dim: int, num_blocks: int, licence: str) -> Checkpoint:
    """A checkpoint that is published on the Hugging Face hub, with the licence of its model card."""
    return Checkpoint(weights, num_parameters, dim, num_blocks, licence, f"https://huggingface.co/{weights}")


def all_states(output: Any) -> tuple[Tensor, ...]:
    """Input of the first block, output of each block, and for the last the model's own output.

    What transformers 5 lists last is for some models the last block's output before the final norm.
    """
    return (*output.hidden_states[:-1], output.last_hidden_state)
