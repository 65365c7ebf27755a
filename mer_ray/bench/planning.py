"""What a plan of a million clips costs, half of them done."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from mer_ray.bench.command import run_command
from mer_ray.bench.figure import Figure
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Clip, Features, TextFormat
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.inputs import input_hash
from mer_ray.store.layout import open_store
from mer_ray.store.writer import FeatureRow, write_features

NUM_CLIPS = 1_000_000
NUM_DONE = 500_000
NUM_PARTS = 2_000


def measure_planning() -> list[Figure]:
    """`plan.*`: manifest and store on disk to shards, in a process of its own; the memory is that process's peak."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_corpus(folder)
        run_command(["mer_ray.bench.planning_child", name])
        measured = json.loads((folder / "measured.json").read_text())
    note = f"{NUM_CLIPS:,} clips, 2 encoders, {NUM_DONE:,} done in {NUM_PARTS:,} parts; {measured['num_shards']:,} shards"
    return [
        Figure("plan.million_clips_s", measured["seconds"], "s", "lower", 60, note),
        Figure("plan.million_clips_mb", measured["peak_mb"], "MiB", "lower", 2048, "peak of the whole process, libraries included"),
    ]


def _write_corpus(folder: Path) -> None:
    """A manifest of sentences and files, all but one missing, and a store that has the sentences of half of them."""
    (folder / "videos").mkdir()
    (folder / "videos" / "sample_00000000.mp4").touch()
    random = np.random.default_rng(0)
    ids = [f"sample_{number:08d}" for number in range(NUM_CLIPS)]
    sentences = [f"sentence number {number}" for number in range(NUM_CLIPS)]
    columns = {
        "clip_id": ids,
        "path": [f"videos/{clip_id}.mp4" for clip_id in ids],
        "text": sentences,
        "duration_s": 2 + random.gamma(2.0, 1.5, NUM_CLIPS),
        "num_bytes": np.full(NUM_CLIPS, 400_000),
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(NUM_CLIPS, field.type) for field in MANIFEST_SCHEMA
    ]
    table = pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("million", (), str(folder))), folder / "manifest.parquet")

    config = HashingConfig()
    encoder = config.build("cpu")
    record = describe_encoder(config, encoder)
    features = encoder.encode(["a sentence"])[0]
    empty = Features(0, 0.0)
    store = open_store(folder / "store")
    num_rows = NUM_DONE // NUM_PARTS
    for start in range(0, NUM_DONE, num_rows):
        clips = [
            Clip(clip_id, text=text)
            for clip_id, text in zip(ids[start : start + num_rows], sentences[start : start + num_rows], strict=True)
        ]
        # One row with values and many without: the plan reads ids only, and the disk stays small.
        rows = [
            FeatureRow(clip.clip_id, input_hash(clip, TextFormat(), {}), features if number == 0 else empty)
            for number, clip in enumerate(clips)
        ]
        write_features(store, "million", record, rows)
