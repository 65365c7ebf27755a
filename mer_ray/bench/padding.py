"""What padding costs: the samples that go through a speech network over the samples of the clips, as planner and batches make them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mer_ray.bench.figure import Figure
from mer_ray.core.manifest import ManifestFacts
from mer_ray.core.media_types import Clip
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._speech import CPU_BATCH_S, CUDA_BATCH_S, SAMPLE_RATE_HZ
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shards import cut_shards

# Clips of MER2023's train split, and how long they are: 2 to 16 s, mostly 2 to 6 s.
NUM_CLIPS = 3373
MIN_S, MAX_S = 2.0, 16.0
MEDIAN_S, LOG_DEVIATION = 3.7, 0.45
# (actors, seconds in a batch): more actors make smaller shards, and larger batches mix more lengths.
SETTINGS = ((1, CPU_BATCH_S), (8, CPU_BATCH_S), (1, CUDA_BATCH_S), (8, CUDA_BATCH_S))
KEY = "speech"


def measure_padding() -> list[Figure]:
    """`extract.padding_waste`: the worst of one and eight actors with a CPU's and a GPU's batches; no network runs."""
    lengths_N = draw_lengths()
    plan = _plan(lengths_N)
    config = ExtractConfig(manifest=Path("none"), store="none", encoders=tuple(plan.keys.values()))
    ratios = [padded_over_real(plan, config, lengths_N, num_actors, batch_s) for num_actors, batch_s in SETTINGS]
    shown = ", ".join(f"{actors} x {batch_s:g} s: {ratio:.3f}" for (actors, batch_s), ratio in zip(SETTINGS, ratios, strict=True))
    share = float((lengths_N < 6 * SAMPLE_RATE_HZ).mean())
    note = (
        f"{NUM_CLIPS} clips, log-normal lengths within {MIN_S:g}-{MAX_S:g} s ({share:.0%} below 6 s); the worst of actors x batch: {shown}"
    )
    return [Figure("extract.padding_waste", max(ratios), "ratio", "lower", 1.05, note)]


def draw_lengths() -> npt.NDArray[np.int64]:
    """Samples of each clip (N,): log-normal, drawn again where beyond the corpus's shortest and longest."""
    random = np.random.default_rng(0)
    seconds_N = np.full(NUM_CLIPS, np.nan)
    while (beyond := ~((seconds_N >= MIN_S) & (seconds_N <= MAX_S))).any():
        seconds_N[beyond] = random.lognormal(np.log(MEDIAN_S), LOG_DEVIATION, int(beyond.sum()))
    return np.round(seconds_N * SAMPLE_RATE_HZ).astype(np.int64)


def padded_over_real(
    plan: ExtractionPlan, config: ExtractConfig, lengths_N: npt.NDArray[np.int64], num_actors: int, batch_s: float
) -> float:
    """Samples through the network over samples of the clips; each shard is batched apart, as in a run."""
    budget = BatchBudget(batch_s * SAMPLE_RATE_HZ)
    for shard in cut_shards(plan, config, Layout(num_actors, 0.0, 0, "cpu")):
        lengths = [int(lengths_N[int(item.clip.clip_id)]) for item in shard.clips]
        budget.run(lengths, _encode_nothing)
    return budget.padded_units / budget.real_units


def _encode_nothing(batch: Sequence[int]) -> list[None]:
    return [None] * len(batch)


def _plan(lengths_N: npt.NDArray[np.int64]) -> ExtractionPlan:
    """All clips left to do with a speech encoder, whose weights nobody asks for."""
    clips = [Clip(str(number), path="none.wav", duration_s=int(length) / SAMPLE_RATE_HZ) for number, length in enumerate(lengths_N)]
    lacks = {KEY: np.ones(len(clips), bool)}
    return ExtractionPlan(
        ManifestFacts("padding", (), "/"), clips, {KEY: HubertEncoderConfig(weights="none")}, {KEY: pa.array(["0"] * len(clips))}, lacks
    )
