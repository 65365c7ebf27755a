"""The feature store against what researchers do: one .npy of one vector per clip and layer.

Shapes: N clips, D feature dimension.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.errors import StoreError
from mer_ray.core.media_types import Features
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.schemas import STATISTICS
from mer_ray.store.writer import FeatureRow, write_features

NUM_CLIPS = 2000
NUM_LAYERS = 8
DIM = 1024
CLIPS_PER_PART = 250
NUM_ROUNDS = 5
CORPUS = "bench"

Columns = dict[str, npt.NDArray[np.float32]]


def measure_store() -> list[Figure]:
    """`store.*`: the same values (mean and deviation of 8 layers of 1,024, 2,000 clips) written and read both ways.

    Both sides end with float32 arrays (N, D) in the order of the clips, from a warm page cache, on all cores. The .npy
    side takes the faster of a plain loop and a thread per core.
    """
    record = _describe_encoder()
    clip_ids = [f"clip_{number:06d}" for number in range(NUM_CLIPS)]
    columns = _draw_columns()
    with tempfile.TemporaryDirectory(prefix="mer-ray-bench-") as name:
        folder = Path(name)
        _write_store(folder / "store", record, clip_ids, columns)
        _write_vectors(folder / "vectors", clip_ids, columns)
        _write_stacks(folder / "stacks", clip_ids, columns)
        readers: dict[str, Callable[[], Columns]] = {
            "store": lambda: _read_store(folder / "store", record, clip_ids),
            "loop": lambda: _read_vectors(folder / "vectors", clip_ids, 1),
            "threads": lambda: _read_vectors(folder / "vectors", clip_ids, num_cores()),
            "stacks": lambda: _read_stacks(folder / "stacks", clip_ids),
        }
        seconds = _time_alternating(readers, columns)
        bytes_store, bytes_vectors = _num_bytes(folder / "store"), _num_bytes(folder / "vectors")
    vectors_s = [min(pair) for pair in zip(seconds["loop"], seconds["threads"], strict=True)]
    times_faster = statistics.median(vectors_s) / statistics.median(seconds["store"])
    over_stacks = statistics.median(seconds["stacks"]) / statistics.median(seconds["store"])
    what = f"{NUM_CLIPS} clips x {NUM_LAYERS} layers x mean, std x {DIM}; float16 store, a float32 .npy (D,) per clip, layer and statistic"
    return [
        Figure("store.bytes_over_npy", bytes_store / bytes_vectors, "ratio", "lower", 0.5, f"file sizes; {what}"),
        Figure(
            "store.read_over_npy",
            times_faster,
            "times faster",
            "higher",
            5,
            f"to float32 arrays, warm cache; {what}; against one .npy of all layers per clip: {over_stacks:.1f}",
        ),
    ]


def _describe_encoder() -> EncoderRecord:
    identity = hashlib.sha256(b"bench").hexdigest()
    layers = {f"layer_{number}": DIM for number in range(NUM_LAYERS)}
    return EncoderRecord(
        name="bench", key=encoder_key("bench", identity), identity=identity, config={}, modality="audio", layers=layers, frame_s=0.02
    )


def _draw_columns() -> Columns:
    """Values that float16 holds exactly, so that both sides must read the same."""
    generator = np.random.default_rng(0)
    names = [f"{statistic}_layer_{number}" for number in range(NUM_LAYERS) for statistic in STATISTICS]
    return {name: generator.standard_normal((NUM_CLIPS, DIM), np.float32).astype(np.float16).astype(np.float32) for name in names}


def _write_store(folder: Path, record: EncoderRecord, clip_ids: list[str], columns: Columns) -> None:
    store = open_store(folder)
    for start in range(0, NUM_CLIPS, CLIPS_PER_PART):
        rows = []
        for clip in range(start, min(NUM_CLIPS, start + CLIPS_PER_PART)):
            mean, std = ({layer: columns[f"{statistic}_{layer}"][clip] for layer in record.layers} for statistic in STATISTICS)
            rows.append(FeatureRow(clip_ids[clip], hashlib.sha256(clip_ids[clip].encode()).hexdigest(), Features(100, 0.02, mean, std)))
        write_features(store, CORPUS, record, rows)


def _read_store(folder: Path, record: EncoderRecord, clip_ids: list[str]) -> Columns:
    stored = read_pooled(open_store(folder), CORPUS, record, clip_ids=clip_ids)
    with ThreadPoolExecutor(num_cores()) as executor:
        values = executor.map(lambda values_ND: values_ND.astype(np.float32), stored.columns.values())
        return dict(zip(stored.columns, values, strict=True))


def _write_vectors(folder: Path, clip_ids: list[str], columns: Columns) -> None:
    for name, values_ND in columns.items():
        (folder / name).mkdir(parents=True)
        for clip_id, values_D in zip(clip_ids, values_ND, strict=True):
            np.save(folder / name / f"{clip_id}.npy", values_D)


def _read_vectors(folder: Path, clip_ids: list[str], num_threads: int) -> Columns:
    columns = {path.name: np.empty((NUM_CLIPS, DIM), np.float32) for path in sorted(folder.iterdir())}

    def read(name: str, clips: range) -> None:
        for clip in clips:
            columns[name][clip] = np.load(folder / name / f"{clip_ids[clip]}.npy")

    if num_threads == 1:
        for name in columns:
            read(name, range(NUM_CLIPS))
    else:
        with ThreadPoolExecutor(num_threads) as executor:
            list(executor.map(lambda name: read(name, range(NUM_CLIPS)), columns))
    return columns


def _write_stacks(folder: Path, clip_ids: list[str], columns: Columns) -> None:
    folder.mkdir()
    for clip, clip_id in enumerate(clip_ids):
        np.save(folder / f"{clip_id}.npy", np.stack([values_ND[clip] for values_ND in columns.values()]))


def _read_stacks(folder: Path, clip_ids: list[str]) -> Columns:
    num_columns = 2 * NUM_LAYERS
    values_NCD = np.empty((NUM_CLIPS, num_columns, DIM), np.float32)
    for clip, clip_id in enumerate(clip_ids):
        values_NCD[clip] = np.load(folder / f"{clip_id}.npy")
    names = [f"{statistic}_layer_{number}" for number in range(NUM_LAYERS) for statistic in STATISTICS]
    return {name: values_NCD[:, column] for column, name in enumerate(names)}


def _time_alternating(readers: dict[str, Callable[[], Columns]], expected: Columns) -> dict[str, list[float]]:
    """Seconds of each reader per round, in changing order, after one round that checks what they read and warms the cache."""
    for name, read in readers.items():
        columns = read()
        if any(not np.array_equal(columns[column], values_ND) for column, values_ND in expected.items()):
            raise StoreError(f"bench: the {name} reader gave other values than were written; the figures would mean nothing")
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for round_number in range(NUM_ROUNDS):
        for name in list(readers)[:: 1 if round_number % 2 == 0 else -1]:
            start_s = time.perf_counter()
            readers[name]()
            seconds[name].append(time.perf_counter() - start_s)
    return seconds


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
