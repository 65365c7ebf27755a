"""What the figures of extraction work on: clips of 6 s of 640x480 video with sound, and three encoders."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from transformers import HubertConfig, HubertModel

from mer_ray.bench.command import run_command
from mer_ray.encoders import EncoderConfig
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.spectral import SpectralConfig

NUM_CLIPS = 48
CLIP_S = 6
FRAME_RATE = 25


def make_corpus(folder: Path, cores: int) -> None:
    """Clips, their manifest, and a HuBERT of two layers with random weights."""
    _make_clips(folder, cores)
    save_small_hubert(folder / "hubert")
    scan(str(folder / "clips"), folder / "manifest.parquet")


def scan(clips: str, manifest: Path) -> None:
    """Make the manifest of a folder or of a prefix on S3."""
    run_command(["mer_ray.cli", "manifest", "corpus.name=files", f"corpus.path={clips}", f"out={manifest}"])


def clip_paths(folder: Path) -> Sequence[str]:
    """All clips in order."""
    return sorted(str(path) for path in (folder / "clips").iterdir())


def encoder_configs(folder: Path) -> list[EncoderConfig]:
    """Spectral, gradient, HuBERT."""
    return [SpectralConfig(), GradientConfig(), HubertEncoderConfig(weights=str(folder / "hubert"))]


def as_entries(configs: Sequence[EncoderConfig]) -> list[dict[str, Any]]:
    """As they stand in a config file."""
    return [config.model_dump(mode="json") for config in configs]


def _make_clips(folder: Path, cores: int) -> None:
    (folder / "clips").mkdir()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_clip, [str(folder / "clips" / f"clip_{number:03d}.mp4") for number in range(NUM_CLIPS)], range(NUM_CLIPS)))


def _write_clip(path: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = 640, 480, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        background = random.integers(0, 255, (12, 16, 3), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
        for index in range(CLIP_S * FRAME_RATE):
            picture = np.roll(background, index * 3, axis=1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(video.encode(None))
        samples = (0.1 * random.standard_normal((1, CLIP_S * 16000))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def save_small_hubert(folder: Path) -> None:
    """A HuBERT of two layers of 256 with random weights, as its authors would save it."""
    torch.manual_seed(0)
    config = HubertConfig(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=1024, feat_extract_norm="layer")
    HubertModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": true, "sampling_rate": 16000}'
    )
