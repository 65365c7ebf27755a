"""What a clip costs: seconds of each stage and bytes in the store, from a short measured sample of the plan's own clips.

Shapes: N pending clips.
"""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.plan import ExtractionPlan
from mer_ray.extraction.shard_encoder import EncodedShard, ShardDecoder, ShardEncoder, ShardWriter, begin_report
from mer_ray.extraction.shard_report import STAGES
from mer_ray.extraction.shards import Shard, ShardClip

# A group is encoded together, as a shard is; three lengths tell what a clip costs from what a second costs.
GROUP_S = {"cpu": 20.0, "cuda": 240.0}
LENGTHS = (0.15, 0.5, 0.85)
MAX_GROUP_CLIPS = 64
# Each process measures until then, each length at least once.
SAMPLE_S = 12.0
MAX_SAMPLE_SHARE = 0.2
MAX_ROUNDS = 4


@dataclass(frozen=True)
class Line:
    """A cost that grows with the number of parts, of clips and of seconds of media."""

    per_part: float
    per_clip: float
    per_second: float

    def total(self, num_parts: int, num_clips: int, media_s: float) -> float:
        """The cost of so much."""
        return self.per_part * num_parts + self.per_clip * num_clips + self.per_second * media_s


@dataclass(frozen=True)
class Observation:
    """One measurement of `what`: `value` for a part of `num_clips` clips and `media_s` seconds."""

    what: str
    num_clips: int
    media_s: float
    value: float


@dataclass(frozen=True)
class Costs:
    """`seconds` per stage; per encoder key `stored_bytes` of clips that succeed, and their share; seconds until a worker works."""

    seconds: Mapping[str, Line]
    stored_bytes: Mapping[str, Line]
    done_share: Mapping[str, float]
    start_s: float
    num_clips: int
    media_s: float
    sample_s: float


def measure_costs(
    plan: ExtractionPlan, keys: Sequence[str], config: ExtractConfig, device: str, num_processes: int, num_threads: int
) -> Costs:
    """Decode, encode and write some clips of short, middle and long duration in `num_processes` processes at once.

    As many processes as the run has workers on this machine: they share its cores and its memory's speed.

    Raises:
        EncoderError: weights are missing or do not fit.

    """
    start_s = time.perf_counter()
    groups = choose_groups(plan, keys, device)
    encoders = [plan.keys[key] for key in keys]
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        shares = [groups[number::num_processes] or groups for number in range(num_processes)]
        tasks = [pool.submit(_measure, share, encoders, config, device, plan.facts.corpus, num_threads, time.time()) for share in shares]
        results = [task.result() for task in tasks]
    seen = [observation for observations, _ in results for observation in observations]
    decoded = [item for item in seen if item.what == "decode"]
    tried = sum(item.num_clips for item in decoded)
    return Costs(
        seconds={stage: fit_line((item for item in seen if item.what == stage), has_parts=False) for stage in STAGES},
        stored_bytes={key: fit_line((item for item in seen if item.what == key), has_parts=True) for key in keys},
        done_share={key: sum(item.value for item in seen if item.what == f"done {key}") / tried for key in keys},
        start_s=max(ready_s for _, ready_s in results),
        num_clips=tried,
        media_s=sum(item.media_s for item in decoded),
        sample_s=time.perf_counter() - start_s,
    )


def fit_line(observations: Iterable[Observation], *, has_parts: bool) -> Line:
    """The line through the observations by least squares, each relative to its value, no cost below zero."""
    rows = [(float(has_parts), item.num_clips, item.media_s, item.value) for item in observations if item.value > 0]
    if not rows:
        return Line(0.0, 0.0, 0.0)
    table: npt.NDArray[np.float64] = np.array(rows)
    weights = 1 / table[:, 3]
    # Half a second to import, and an extraction seldom measures.
    from scipy.optimize import nnls

    solution, _ = nnls(table[:, :3] * weights[:, None], table[:, 3] * weights)
    return Line(*map(float, solution))


def choose_groups(plan: ExtractionPlan, keys: Sequence[str], device: str) -> list[Shard]:
    """Groups of neighbours in the order of durations, lengths in turn, so that a first few tell all; a fifth of the media at most."""
    lacks_N = np.logical_and.reduce([plan.lacks[key] for key in keys])
    if not lacks_N.any():
        lacks_N = np.logical_or.reduce([plan.lacks[key] for key in keys])
    rows_N = np.flatnonzero(lacks_N)
    rows_N = rows_N[np.argsort(plan.durations_s[rows_N], kind="stable")]
    durations_N = plan.durations_s[rows_N]
    left_s = MAX_SAMPLE_SHARE * float(durations_N.sum(dtype=np.float64))
    group_s = min(GROUP_S[device], left_s / len(LENGTHS))
    taken = np.zeros(len(rows_N), bool)
    groups: list[Shard] = []
    for round_ in range(MAX_ROUNDS):
        for share in LENGTHS:
            chosen: list[int] = []
            media_s = 0.0
            for place in _around(int(share * len(rows_N)), len(rows_N)):
                if taken[place]:
                    continue
                chosen.append(place)
                media_s += float(durations_N[place])
                if media_s >= group_s or len(chosen) == MAX_GROUP_CLIPS:
                    break
            # Each length is measured at least once, however few clips there are.
            if not chosen or (round_ and media_s > left_s):
                return groups
            taken[chosen] = True
            left_s -= media_s
            clips = (ShardClip(plan.clips[row], {key: plan.hashes[key][row].as_py() for key in keys}) for row in rows_N[chosen].tolist())
            groups.append(Shard(len(groups), tuple(clips)))
    return groups


def _around(first: int, count: int) -> Iterable[int]:
    """Places by their distance from the first."""
    for distance in range(count):
        if first + distance < count:
            yield first + distance
        if distance and first - distance >= 0:
            yield first - distance


def _measure(
    groups: Sequence[Shard],
    encoders: Sequence[EncoderConfig],
    config: ExtractConfig,
    device: str,
    corpus: str,
    num_threads: int,
    born_at: float,
) -> tuple[list[Observation], float]:
    """The observations of one process, and the seconds from its birth until it could work."""
    torch.set_num_threads(num_threads)
    started_s = time.time() - born_at
    start_s = time.perf_counter()
    encoder = ShardEncoder(encoders, device)
    started_s += time.perf_counter() - start_s
    return _observe(groups, encoder, config, corpus), started_s


def measure_groups(
    groups: Sequence[Shard], encoders: Sequence[EncoderConfig], config: ExtractConfig, device: str, corpus: str
) -> list[Observation]:
    """What the stages take for each group in this process.

    Raises:
        EncoderError: weights are missing or do not fit.

    """
    return _observe(groups, ShardEncoder(encoders, device), config, corpus)


def _observe(groups: Sequence[Shard], encoder: ShardEncoder, config: ExtractConfig, corpus: str) -> list[Observation]:
    decoder = ShardDecoder(encoder.configs, config.limits, config.shard_mb)
    with tempfile.TemporaryDirectory(prefix="mer-ray-sample-") as name:
        folder = Path(name)
        writer = ShardWriter(encoder, name, corpus)
        # The first group only warms up: libraries load, memory is laid out.
        _work(groups[0], decoder, encoder, writer, folder)
        seen: list[Observation] = []
        start_s = time.perf_counter()
        for number, group in enumerate(groups):
            if number >= len(LENGTHS) and time.perf_counter() - start_s > SAMPLE_S:
                break
            seen += _work(group, decoder, encoder, writer, folder)
        # A part of a single clip tells what a part costs from what a clip costs.
        single = Shard(0, groups[0].clips[:1])
        return seen + [item for item in _work(single, decoder, encoder, writer, folder) if item.what in encoder.configs]


def _work(group: Shard, decoder: ShardDecoder, encoder: ShardEncoder, writer: ShardWriter, folder: Path) -> list[Observation]:
    report = begin_report(group)
    with decoder.fetched(group, report) as copies:
        encoded: EncodedShard = encoder.encode(decoder.decode(group, copies, report))
    writer.write(encoded, report)
    num_clips, media_s = len(group.clips), group.media_s
    seen = [Observation(stage, num_clips, media_s, seconds) for stage, seconds in report.seconds.items()]
    for key in encoder.configs:
        num_done = report.done[key]
        seen.append(Observation(f"done {key}", num_clips, media_s, num_done))
        parts = list(folder.rglob(f"features/{key}/part-*.parquet"))
        if parts:
            seen.append(Observation(key, num_done, media_s * num_done / num_clips, sum(part.stat().st_size for part in parts)))
        for part in parts:
            part.unlink()
    return seen
