"""How near a measured plan comes to the run."""

import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import scipy.io.wavfile
import yaml

from mer_ray.bench.clips import save_small_hubert, scan
from mer_ray.bench.command import run_command
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.config import parse_config
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.dry_run import estimate_run, local_machines
from mer_ray.extraction.layout import actor_bytes, choose_layout
from mer_ray.extraction.passes import choose_passes, largest_bytes
from mer_ray.extraction.plan import plan_extraction

SAMPLE_RATE_HZ = 16_000
TIMES_SAMPLE = 5


def measure_estimate() -> list[Figure]:
    """`plan.time_off` and `plan.bytes_off`: how far the estimate is from a run of about five times the sample's media.

    The run's clips are mostly short with a few long ones; the sample takes short, middle and long ones alike.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_sounds(folder / "clips", num_cores())
        save_small_hubert(folder / "hubert")
        scan(str(folder / "clips"), folder / "manifest.parquet")
        entries = {
            "manifest": str(folder / "manifest.parquet"),
            "store": str(folder / "store"),
            "summary": str(folder / "summary.json"),
            "encoders": [{"name": "spectral"}, {"name": "hubert", "weights": str(folder / "hubert"), "sequences": ["layer_2"]}],
        }
        (folder / "extract.yaml").write_text(yaml.safe_dump(entries))
        config = parse_config(ExtractConfig, entries, "bench")
        plan, machines = plan_extraction(config), local_machines(config)
        layout = choose_layout(config, machines, largest_bytes(plan.lacking))
        passes = choose_passes(plan.lacking, layout.device, actor_bytes(config, machines, layout))
        estimate, costs = estimate_run(plan, config, layout, passes)
        sample_s = sum(cost.media_s for cost in costs)
        run_command(["mer_ray.cli", "extract", str(folder / "extract.yaml")])
        wall_s = json.loads((folder / "summary.json").read_text())["wall_s"]
        stored = sum(part.stat().st_size for part in (folder / "store").rglob("part-*.parquet"))
    note = f"{plan.num_pending} clips, {plan.media_s / sample_s:.1f} times the sample's media"
    return [
        Figure(
            "plan.time_off", abs(estimate.wall_s / wall_s - 1), "share", "lower", 0.25, f"{note}; {estimate.wall_s:.0f} s, {wall_s:.0f} s"
        ),
        Figure("plan.bytes_off", abs(estimate.stored_bytes / stored - 1), "share", "lower", 0.05, f"{note}; {stored / 1e6:.1f} MB"),
    ]


def _write_sounds(folder: Path, cores: int) -> None:
    """An exponential distribution of durations between 1 and 16 s."""
    folder.mkdir()
    durations_s = np.clip(1 + np.random.default_rng(0).exponential(3.0, 75 * TIMES_SAMPLE), 1, 16)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_sound, [folder / f"{number:04d}.wav" for number in range(len(durations_s))], durations_s.tolist()))


def _write_sound(path: Path, duration_s: float) -> None:
    samples = 0.1 * np.random.default_rng(int(path.stem)).standard_normal(round(duration_s * SAMPLE_RATE_HZ))
    scipy.io.wavfile.write(path, SAMPLE_RATE_HZ, samples.astype(np.float32))
