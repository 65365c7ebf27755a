"""What Ray adds to decoding and encoding: the work over the best plain loop, and the fixed cost of a run."""

import json
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import torch
import yaml
from transformers import HubertConfig, HubertModel

from mer_ray.bench.command import run_command
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.media_types import Clip
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import hubert
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.spectral import SpectralConfig

NUM_CLIPS = 48
CLIP_S = 6
FRAME_RATE = 25
ROUNDS = 5


def measure_extraction() -> list[Figure]:
    """`extract.wall_over_floor` and `extract.fixed_cost_s`: clips of 6 s of 640x480 video, three encoders, all cores.

    Floor: the faster of P processes of one thread and one process of P threads, decoding and encoding the same clips
    in plain loops, first work to last.
    """
    cores = num_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_clips(folder, cores)
        _save_small_hubert(folder / "hubert")
        run_command(
            ["mer_ray.cli", "manifest", "corpus.name=files", f"corpus.path={folder / 'clips'}", f"out={folder / 'manifest.parquet'}"]
        )
        floors: list[float] = []
        works: list[float] = []
        fixed: list[float] = []
        for round_ in range(ROUNDS):
            sides = ["floor", "extract"] if round_ % 2 == 0 else ["extract", "floor"]
            for side in sides:
                if side == "floor":
                    floors.append(_floor_s(folder, cores))
                else:
                    work_s, fixed_s = _extract(folder)
                    works.append(work_s)
                    fixed.append(fixed_s)
    ratio = statistics.median(works) / statistics.median(floors)
    note = f"{NUM_CLIPS} clips, spectral + gradient + 2-layer HuBERT, {cores} cores; floor {statistics.median(floors):.1f} s"
    return [
        Figure("extract.wall_over_floor", ratio, "ratio", "lower", 1.10, note),
        Figure("extract.fixed_cost_s", statistics.median(fixed), "s", "lower", 10, "`ray.init`, actors and end, beyond first work to last"),
    ]


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


def _save_small_hubert(folder: Path) -> None:
    torch.manual_seed(0)
    config = HubertConfig(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=1024, feat_extract_norm="layer")
    HubertModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": true, "sampling_rate": 16000}'
    )


def _encoder_configs(folder: Path) -> list[dict[str, str]]:
    return [{"name": "spectral"}, {"name": "gradient"}, {"name": "hubert", "weights": str(folder / "hubert")}]


def _extract(folder: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as store:
        config, summary = Path(store) / "extract.yaml", Path(store) / "summary.json"
        entries = {
            "manifest": str(folder / "manifest.parquet"),
            "store": f"{store}/store",
            "encoders": _encoder_configs(folder),
            "summary": str(summary),
        }
        config.write_text(yaml.safe_dump(entries))
        run_command(["mer_ray.cli", "extract", str(config)])
        measured = json.loads(summary.read_text())
    return measured["work_s"], measured["wall_s"] - measured["work_s"]


def _floor_s(folder: Path, cores: int) -> float:
    return min(_plain_loops_s(folder, cores, 1), _plain_loops_s(folder, 1, cores))


def _plain_loops_s(folder: Path, num_processes: int, num_threads: int) -> float:
    paths = sorted(str(path) for path in (folder / "clips").iterdir())
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_plain_loop, paths[index::num_processes], str(folder), num_threads) for index in range(num_processes)]
        spans = [part.result() for part in parts]
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _plain_loop(paths: Sequence[str], folder: str, num_threads: int) -> tuple[float, float]:
    torch.set_num_threads(num_threads)
    configs = [SpectralConfig(), GradientConfig(), hubert.HubertEncoderConfig(weights=str(Path(folder) / "hubert"))]
    encoders = [config.build("cpu") for config in configs]
    formats = {config.input_format for config in configs}
    limits = MediaLimits()
    start = perf_counter()
    for path in paths:
        inputs = decode_clip(Clip(path, path=path), formats, limits)
        for config, encoder in zip(configs, encoders, strict=True):
            decoded = inputs[config.input_format]
            assert decoded is not None
            encoder.encode([decoded])
    return start, perf_counter()
