"""Figures of a GPU: HuBERT of the large shape with random weights, on lengths like MER2023's, without Ray.

`python -m mer_ray.bench.gpu [OUT.json]` runs it alone, on a machine that has torch, transformers and what the encoders import.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers

from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import hardware, write_json
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders.hubert import HubertEncoderConfig

SAMPLE_RATE_HZ = 16_000
NUM_CLIPS = 512
NUM_SERIAL_CLIPS = 48
# One shard of the pipeline: clips of similar length, ten minutes at most.
SHARD_S = 600.0
ROUNDS = 5
LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}


def measure_gpu() -> list[Figure]:
    """`extract.gpu_over_serial` and `extract.gpu_share_of_forward`; nothing where there is no GPU.

    Serial: transformers' float32 model, one clip at a time, all hidden states pooled on the GPU, one `.npy` per clip. Share: the
    time of the bare bf16 forward passes over the same padded batches, over that of our encoder, copies and pooling included.
    """
    if not torch.cuda.is_available():
        return []
    with tempfile.TemporaryDirectory() as name:
        return compare("cuda", Path(name), LARGE, NUM_CLIPS, NUM_SERIAL_CLIPS)


def compare(device: str, folder: Path, shape: dict[str, Any], num_clips: int, num_serial: int) -> list[Figure]:
    """The figures of a HuBERT of this shape on a device."""
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(**shape)).save_pretrained(folder)
    extractor: Any = transformers.Wav2Vec2FeatureExtractor
    extractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    sounds = _draw_sounds(num_clips)
    config = HubertEncoderConfig(weights=str(folder), compute="bf16")
    encoder = config.build(device)
    shards = _cut(sounds)
    inputs = [[Audio(samples_S, SAMPLE_RATE_HZ) for samples_S in shard] for shard in shards]
    encoder.encode(inputs[0])
    ours_s = _time(device, lambda: [encoder.encode(shard) for shard in inputs])

    batches = _padded_batches(encoder.model, inputs, encoder)
    forward_s = _time(device, lambda: [_forward(encoder.model, batch, mask) for batch, mask in batches])

    serial_model: Any = transformers.HubertModel.from_pretrained(folder)
    serial_model = serial_model.eval().to(device)
    some = sounds[:: max(1, num_clips // num_serial)]
    serial_s = _time(device, lambda: [_serial(serial_model, samples_S, device, folder) for samples_S in some])
    media_s, serial_media_s = (sum(map(len, group)) / SAMPLE_RATE_HZ for group in (sounds, some))
    size = f"{shape['num_hidden_layers']} x {shape['hidden_size']}"
    note = f"HuBERT of {size}, random weights, {num_clips} clips, {media_s / ours_s:.0f} s of sound per s"
    return [
        Figure("extract.gpu_over_serial", (serial_s / serial_media_s) / (ours_s / media_s), "times faster", "higher", 15, note),
        Figure("extract.gpu_share_of_forward", forward_s / ours_s, "share", "higher", 0.85, "bare forward passes over the encoder's time"),
    ]


def _draw_sounds(count: int) -> list[FloatArray]:
    """Noise of 2 to 16 s, mostly 2 to 6 s."""
    random = np.random.default_rng(0)
    durations_s = np.clip(random.lognormal(np.log(3.8), 0.45, count), 2, 16)
    return [(0.1 * random.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32) for seconds in durations_s]


def _cut(sounds: list[FloatArray]) -> list[list[FloatArray]]:
    shards: list[list[FloatArray]] = [[]]
    for samples_S in sorted(sounds, key=len, reverse=True):
        if sum(map(len, shards[-1])) + len(samples_S) > SHARD_S * SAMPLE_RATE_HZ:
            shards.append([])
        shards[-1].append(samples_S)
    return shards


def _padded_batches(model: torch.nn.Module, inputs: list[list[Audio]], encoder: Any) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """What the model is called with while the encoder works, kept on the device."""
    seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    def keep(module: torch.nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        values = arguments[0] if arguments else options["input_values"]
        seen.append((values.clone(), options.get("attention_mask")))

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    for shard in inputs:
        encoder.encode(shard)
    handle.remove()
    return seen


@torch.inference_mode()
def _forward(model: Any, values_BS: torch.Tensor, mask_BS: torch.Tensor | None) -> None:
    model(values_BS, attention_mask=mask_BS, output_hidden_states=True)


@torch.inference_mode()
def _serial(model: Any, samples_S: FloatArray, device: str, folder: Path) -> None:
    normalised_S = (samples_S - samples_S.mean()) / np.sqrt(samples_S.var() + 1e-7)
    states = model(torch.from_numpy(normalised_S)[None].to(device), output_hidden_states=True).hidden_states
    np.save(folder / "clip.npy", torch.stack([state_BTD.mean(dim=1) for state_BTD in states]).cpu().numpy())


def _time(device: str, work: Callable[[], object]) -> float:
    """Median seconds, the device's queue emptied."""
    seconds = []
    for _ in range(ROUNDS):
        start_s = perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(perf_counter() - start_s)
    return median(seconds)


if __name__ == "__main__":
    figures = measure_gpu()
    for figure in figures:
        print(figure)  # noqa: T201 - a script of its own
    if len(sys.argv) > 1:
        write_json(Path(sys.argv[1]), {"machine": hardware(), "figures": [figure.to_json() for figure in figures]})
