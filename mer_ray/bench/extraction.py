"""What Ray adds to decoding and encoding: the work over the best plain loop, and the fixed cost of a run."""

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import yaml

from mer_ray.bench.clips import NUM_CLIPS, as_entries, clip_paths, encoder_configs, make_corpus
from mer_ray.bench.command import run_command
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.media_types import Clip
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits

ROUNDS = 5


def measure_extraction() -> list[Figure]:
    """`extract.wall_over_floor`, `fixed_cost_s` and `fused3_over_serial`: clips of 6 s of 640x480 video, three encoders, all cores.

    Floor: the faster of P processes of one thread and one process of P threads, decoding and encoding the same clips in plain
    loops. Serial: one process of P threads that takes one encoder after the other and one clip at a time, decodes the clip for
    each encoder and writes one `.npy` per clip, as scripts do. All first work to last.
    """
    cores = num_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder, cores)
        sides: dict[str, Callable[[], tuple[float, float]]] = {
            "floor": lambda: (floor_s(folder, cores), 0.0),
            "serial": lambda: (_plain_loops_s(_serial_loop, folder, 1, cores), 0.0),
            "extract": lambda: extract_s(folder / "manifest.parquet", folder, f"{folder}/stores"),
        }
        seen: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for round_ in range(ROUNDS):
            for side in list(sides) if round_ % 2 == 0 else list(sides)[::-1]:
                seen[side].append(sides[side]())
    work_s = {side: statistics.median(work for work, _ in runs) for side, runs in seen.items()}
    fixed_s = statistics.median(fixed for _, fixed in seen["extract"])
    note = f"{NUM_CLIPS} clips, spectral + gradient + 2-layer HuBERT, {cores} cores"
    return [
        Figure(
            "extract.wall_over_floor", work_s["extract"] / work_s["floor"], "ratio", "lower", 1.10, f"{note}; floor {work_s['floor']:.1f} s"
        ),
        Figure("extract.fixed_cost_s", fixed_s, "s", "lower", 10, "imports, `ray.init`, actors and end, beyond first work to last"),
        Figure(
            "extract.fused3_over_serial",
            work_s["serial"] / work_s["extract"],
            "times faster",
            "higher",
            1.3,
            f"{note}; serial {work_s['serial']:.1f} s",
        ),
    ]


def extract_s(manifest: Path, folder: Path, stores: str) -> tuple[float, float]:
    """Seconds of one extraction into a new store, first work to last, and its other seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        config, summary = Path(name) / "extract.yaml", Path(name) / "summary.json"
        entries = {
            "manifest": str(manifest),
            "store": f"{stores}/{Path(name).name}",
            "encoders": as_entries(encoder_configs(folder)),
            "summary": str(summary),
        }
        config.write_text(yaml.safe_dump(entries))
        run_command(["mer_ray.cli", "extract", str(config)])
        measured = json.loads(summary.read_text())
    return measured["work_s"], measured["wall_s"] - measured["work_s"]


def floor_s(folder: Path, cores: int) -> float:
    """The best plain loop over the clips."""
    return min(_plain_loops_s(_plain_loop, folder, cores, 1), _plain_loops_s(_plain_loop, folder, 1, cores))


Loop = Callable[[Sequence[str], str, int], tuple[float, float]]


def _plain_loops_s(loop: Loop, folder: Path, num_processes: int, num_threads: int) -> float:
    paths = clip_paths(folder)
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(loop, paths[index::num_processes], str(folder), num_threads) for index in range(num_processes)]
        spans = [part.result() for part in parts]
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _plain_loop(paths: Sequence[str], folder: str, num_threads: int) -> tuple[float, float]:
    torch.set_num_threads(num_threads)
    configs = encoder_configs(Path(folder))
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


def _serial_loop(paths: Sequence[str], folder: str, num_threads: int) -> tuple[float, float]:
    torch.set_num_threads(num_threads)
    configs = encoder_configs(Path(folder))
    encoders = [config.build("cpu") for config in configs]
    limits = MediaLimits()
    start = perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        for config, encoder in zip(configs, encoders, strict=True):
            for path in paths:
                decoded = decode_clip(Clip(path, path=path), [config.input_format], limits)[config.input_format]
                assert decoded is not None
                (features,) = encoder.encode([decoded])
                np.save(Path(out) / f"{config.name}_{Path(path).stem}.npy", np.concatenate(list(features.mean.values())))
    return start, perf_counter()
