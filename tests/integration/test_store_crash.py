"""Writers and compactions that are killed with SIGKILL: nothing half written, nothing lost.

Run as a script, this file is the process that is killed.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mer_ray.core.media_types import Features
from mer_ray.store.catalog import left_to_do, read_done
from mer_ray.store.compaction import compact
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

pytestmark = pytest.mark.slow

IDENTITY = hashlib.sha256(b"crash").hexdigest()
DIM = 4096
RECORD = EncoderRecord(
    name="crash", key=encoder_key("crash", IDENTITY), identity=IDENTITY, config={}, modality="audio", layers={"wide": DIM, "low": 2}
)


def make_row(clip: int, rewrite: int = 0) -> FeatureRow:
    generator = np.random.default_rng([clip, rewrite])
    mean, std = (
        {layer: generator.standard_normal(dim).astype(np.float32) for layer, dim in RECORD.layers.items()} for _ in ("mean", "std")
    )
    return FeatureRow(f"c{clip:06d}", "a", Features(1 + rewrite, 0.02, mean, std))


def write_parts(root: str, clips_per_part: int) -> None:
    """Write forty parts one after the other; say how many clips are published."""
    store = open_store(root)
    for start in range(0, 40 * clips_per_part, clips_per_part):
        write_features(store, "corpus", RECORD, [make_row(clip) for clip in range(start, start + clips_per_part)])
        say(start + clips_per_part)


def compact_until(root: str, event: int) -> None:
    """Compact, and die by SIGKILL right before the given file operation in the store (counted from 0); say how many there were."""
    seen = 0

    def count(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        path = str(arguments[0]) if arguments else ""
        # Those of its lease are as any run's: test_store_lease.py.
        if (
            name in ("open", "os.rename", "os.remove", "os.mkdir")
            and path.startswith(root)
            and "lease" not in path
            and ".clock" not in path
        ):
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(count)
    compact(open_store(root), "corpus", RECORD.key)
    say(seen)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def start_child(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment)


def check_store(root: Path, num_clips: int) -> int:
    """All clips from 0 on, in whole, equal to what was written; returns how many there are."""
    store = open_store(root)
    result = read_pooled(store, "corpus", RECORD)
    assert len(result.clip_ids) >= num_clips
    for clip, clip_id in enumerate(result.clip_ids):
        expected = make_row(clip)
        assert clip_id == expected.clip_id
        for layer in RECORD.layers:
            assert np.array_equal(result.columns[f"mean_{layer}"][clip], expected.features.mean[layer].astype(np.float16))
            assert np.array_equal(result.columns[f"std_{layer}"][clip], expected.features.std[layer].astype(np.float16))
    return len(result.clip_ids)


def folder_of(root: Path) -> Path:
    return Path(open_store(root).part_folder("corpus", RECORD.key, "features"))


def test_a_killed_writer_leaves_whole_parts_only(tmp_path):
    generator = np.random.default_rng(3)
    clips_per_part, num_torn = 400, 0
    for attempt in range(6):
        root = tmp_path / str(attempt)
        with start_child("write", root, clips_per_part) as child:
            for _ in range(attempt % 3):
                child.stdout.readline()
            # Wait for the temporary file of the next part to grow to a drawn share of its size, then kill.
            share, size = generator.uniform(0.05, 0.95), clips_per_part * DIM * 4
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                growing = [path.stat().st_size for path in temporary_files(root)]
                if growing and max(growing) >= share * size:
                    break
            child.kill()
            published = sum(clips_per_part for line in child.stdout.read().splitlines() if line.isdigit())
            published += (attempt % 3) * clips_per_part
        assert child.returncode == -signal.SIGKILL
        num_torn += len(temporary_files(root))
        paths = sorted(folder_of(root).glob("part-*.parquet"))
        assert [pq.read_metadata(path).num_rows for path in paths] == [clips_per_part] * len(paths)
        if paths:
            num_clips = check_store(root, published)
            assert num_clips in (published, published + clips_per_part)
            continue_after_crash(root, num_clips, clips_per_part)
    # At least some of the kills must have struck a write.
    assert num_torn >= 3


def temporary_files(root: Path) -> list[Path]:
    folder = folder_of(root)
    return [path for path in folder.glob(".part-*.tmp") if path.exists()] if folder.exists() else []


def continue_after_crash(root: Path, num_clips: int, clips_per_part: int) -> None:
    """What a restarted extraction does: plan the difference and write it."""
    store = open_store(root)
    rows = [make_row(clip) for clip in range(num_clips + clips_per_part)]
    done = read_done(store, "corpus", RECORD.key)
    assert done.num_rows == num_clips
    wanted = done.schema.empty_table().from_pylist([{"clip_id": row.clip_id, "input_hash": row.input_hash} for row in rows])
    left = left_to_do(store, "corpus", RECORD.key, wanted)
    assert left["clip_id"].to_pylist() == [row.clip_id for row in rows[num_clips:]]
    write_features(store, "corpus", RECORD, rows[num_clips:])
    assert check_store(root, num_clips + clips_per_part) == num_clips + clips_per_part


def write_history(root: Path) -> None:
    """Seven small parts, two of them superseded in part."""
    store = open_store(root)
    for start in range(0, 10, 2):
        write_features(store, "corpus", RECORD, [make_row(clip, rewrite=1 if start < 4 else 0) for clip in (start, start + 1)])
    write_features(store, "corpus", RECORD, [make_row(clip) for clip in (0, 2)])
    write_features(store, "corpus", RECORD, [make_row(clip) for clip in (1, 3)])


def test_a_compaction_killed_at_any_file_operation_loses_nothing(tmp_path):
    write_history(tmp_path / "whole")
    with start_child("compact", tmp_path / "whole", -1) as child:
        num_events = int(child.stdout.read())
    assert child.returncode == 0
    (whole,) = folder_of(tmp_path / "whole").glob("part-*.parquet")
    assert pq.read_metadata(whole).num_rows == 10
    # Publishing opens and renames, then seven old parts go.
    assert num_events >= 9

    for event in range(num_events):
        root = tmp_path / str(event)
        write_history(root)
        with start_child("compact", root, event) as child:
            assert child.stdout.read() == ""
        assert child.returncode == -signal.SIGKILL
        assert check_store(root, 10) == 10
        compact(open_store(root), "corpus", RECORD.key)
        assert check_store(root, 10) == 10
        (path,) = folder_of(root).glob("part-*.parquet")
        assert pq.read_metadata(path).num_rows == 10


def test_readers_beside_a_writer_and_compactions_always_see_everything_published(tmp_path):
    with start_child("write", tmp_path, 3) as child:
        for number, line in enumerate(child.stdout):
            if number % 4 == 0:
                assert check_store(tmp_path, int(line)) >= int(line)
            if number % 8 == 4:
                compact(open_store(tmp_path), "corpus", RECORD.key)
    assert child.returncode == 0
    assert check_store(tmp_path, 120) == 120


if __name__ == "__main__":
    verb, where, number = sys.argv[1:]
    {"write": write_parts, "compact": compact_until}[verb](where, int(number))
