"""What more nodes bring an extraction, and what a shard costs its one driver."""

import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml
from ray.cluster_utils import Cluster

import mer_ray.bench.pacing
from mer_ray.bench.command import changed_environment, run_command
from mer_ray.bench.figure import Figure
from mer_ray.core.cluster_address import ADDRESS_VARIABLE
from mer_ray.core.counting import say_count
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest

NODES = (1, 2, 4)
OBJECT_STORE_BYTES = 100 * 2**20
NUM_CLIPS, MEAN_S = 480, 4.0
# The encoder's pace: so many seconds of media in one.
MEDIA_S_PER_S = 24.0
# Shards that cost nothing, few and many: their difference has no start of Ray in it.
FEW_SHARDS, MANY_SHARDS, CLIPS_PER_SHARD = 100, 1100, 10


@dataclass(frozen=True)
class _Seen:
    """Of one extraction: first work to last, the whole, CPU time of the driver, all in seconds."""

    work_s: float
    wall_s: float
    driver_s: float
    num_shards: int


def measure_scaling() -> list[Figure]:
    """`cluster.*`: nodes of one logical GPU each on this machine, whose encoder sleeps or does nothing at all."""
    seen: dict[int, _Seen] = {}
    # Sockets lie below it, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="mer-ray-", ignore_cleanup_errors=True) as name, _head(Path(name)) as cluster:
        folder = Path(name)
        durations_N = np.random.default_rng(0).gamma(4.0, MEAN_S / 4, NUM_CLIPS)
        _write_corpus(folder / "paced.parquet", durations_N, durations_N / MEDIA_S_PER_S)
        for count in NODES:
            while len(cluster.worker_nodes) < count:
                cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=OBJECT_STORE_BYTES)
            seen[count] = _extract(folder, cluster.address, "paced", count, shard_media_s=600.0)
        few, many = (
            _extract(folder, cluster.address, _write_free(folder, count), NODES[-1], shard_media_s=float(CLIPS_PER_SHARD))
            for count in (FEW_SHARDS, MANY_SHARDS)
        )
    one, most = seen[NODES[0]], seen[NODES[-1]]
    shares = ", ".join(f"{say_count(count, 'node')} {item.work_s:.1f} s of work, {item.wall_s:.1f} in all" for count, item in seen.items())
    note = f"encoder that sleeps 1 s per {MEDIA_S_PER_S:g} s of media, {one.num_shards} to {most.num_shards} shards; {shares}"
    cost_s = (many.driver_s - few.driver_s) / (many.num_shards - few.num_shards)
    rate = many.num_shards / many.work_s
    free = f"CPU time of the driver; {CLIPS_PER_SHARD} clips per shard, {NODES[-1]} actors that do nothing took {rate:.0f} shards/s"
    return [
        Figure("cluster.scaling_4", one.work_s / (NODES[-1] * most.work_s), "ratio", "higher", 0.9, note),
        Figure("cluster.driver_ms_per_shard", 1000 * cost_s, "ms", "lower", None, free),
    ]


@contextmanager
def _head(folder: Path) -> Iterator[Cluster]:
    """A head without CPUs, to which nodes are added."""
    # Ray notes there which cluster was started last: a run that names none must not find this one.
    with changed_environment({"RAY_TMPDIR": str(folder)}):
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            cluster.shutdown()


def _write_free(folder: Path, num_shards: int) -> str:
    """A corpus of so many shards that cost nothing."""
    num_clips = num_shards * CLIPS_PER_SHARD
    _write_corpus(folder / f"free{num_shards}.parquet", np.ones(num_clips), np.zeros(num_clips))
    return f"free{num_shards}"


def _write_corpus(path: Path, durations_N: npt.NDArray[np.float64], sleep_N: npt.NDArray[np.float64]) -> None:
    """Clips of these seconds, whose sentences are seconds to sleep."""
    columns = {
        "clip_id": [f"clip{number:06d}" for number in range(len(durations_N))],
        "text": [f"{seconds:.4f}" for seconds in sleep_N],
        "duration_s": durations_N,
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(durations_N), field.type)
        for field in MANIFEST_SCHEMA
    ]
    write_manifest(Manifest(pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA), ManifestFacts(path.stem, (), str(path.parent))), path)


def _extract(folder: Path, address: str, corpus: str, num_actors: int, shard_media_s: float) -> _Seen:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        (own / "meeting").mkdir()
        pacing = {"meeting": str(own / "meeting"), "num_actors": num_actors}
        plugin = {"name": "plugin", "file": mer_ray.bench.pacing.__file__, "class": "PacingConfig", "config": pacing}
        entries = {
            "manifest": str(folder / f"{corpus}.parquet"),
            "store": str(own / "store"),
            "encoders": [plugin],
            "allow_plugins": True,
            "device": "cpu",
            "gpus_per_actor": 1,
            "num_actors": num_actors,
            "decode": "in_actor",
            "shard_media_s": shard_media_s,
            "summary": str(own / "summary.json"),
        }
        (own / "extract.yaml").write_text(yaml.safe_dump(entries))
        before_s = _cpu_s()
        with changed_environment({ADDRESS_VARIABLE: address}):
            run_command(["mer_ray.cli", "extract", str(own / "extract.yaml")])
        driver_s = _cpu_s() - before_s
        measured = json.loads((own / "summary.json").read_text())
    return _Seen(measured["work_s"], measured["wall_s"], driver_s, measured["num_shards"])


def _cpu_s() -> float:
    """Of the commands that have ended; nodes are started by this process as well, and end later."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
