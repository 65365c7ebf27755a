"""Extractions on a cluster that has no node until there is work: three come, and all go afterwards."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos_processes import say, wait_for, working
from local_clusters import NUM_NODES, Client, Look, client_of_new_cluster, count_rows, published_at, raylet_of, take_node, write_config

from mer_ray.core.manifest import read_manifest
from mer_ray.extraction.layout import CALLS_PER_ACTOR

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NUM_CLIPS = 36
GRACE_S = 5.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with client_of_new_cluster(tmp_path_factory.mktemp("autoscaling")) as found:
        yield found


@pytest.fixture(scope="module")
def clip_ids(client: Client) -> frozenset[str]:
    """Those of a corpus of real videos, whose manifest lies in the client's folder."""
    with client.mer_ray("synth", "out=corpus", f"num_clips={NUM_CLIPS}", "num_speakers=6") as command:
        command.wait()
    corpus = ("corpus.name=table", "corpus.path=corpus/clips.csv", "corpus.corpus_name=videos")
    with client.mer_ray("manifest", *corpus, "out=manifest.parquet") as command:
        command.wait()
    return frozenset(read_manifest(client.folder / "manifest.parquet").table["clip_id"].to_pylist())


def extraction(client: Client, store: str, **changes: Any) -> dict[str, Any]:
    """Of one clip per shard, on a logical GPU per actor."""
    return {
        "manifest": str(client.folder / "manifest.parquet"),
        "store": str(client.folder / store),
        "encoders": [{"name": "spectral"}],
        "device": "cpu",
        "gpus_per_actor": 1,
        "decode": "in_actor",
        "shard_media_s": 0.1,
        **changes,
    }


def check_growth(looks: list[Look], began_at: float, clips_at: list[float]) -> str:
    """From nothing to all nodes, which were asked for at once, before there was a clip; gives what people want to know."""
    assert looks[0].nodes == 0
    before = [look for look in looks if look.at < clips_at[0]]
    assert max(look.requested + look.waiting for look in before) == NUM_NODES
    assert max(look.nodes for look in looks) == NUM_NODES
    assert looks[-1].nodes == 0
    nodes_at = next(look.at for look in looks if look.nodes)
    told = f"{nodes_at - began_at:.1f} s to the first node, {clips_at[0] - began_at:.1f} s to the first clip"
    told += f", {clips_at[-1] - clips_at[0]:.1f} s from it to the last, {looks[-1].at - clips_at[-1]:.1f} s from that to no nodes"
    return f"{told}; nodes over time: {changes_of([look.nodes for look in looks])}"


def changes_of(values: list[int]) -> list[int]:
    return [value for place, value in enumerate(values) if not place or values[place - 1] != value]


def test_three_nodes_come_for_an_extraction_and_go(client: Client, clip_ids: frozenset[str]):
    config = write_config(client.folder / "extract.yaml", extraction(client, "store"))
    with client.watched() as watch:
        watch.wait_for_nodes(0)
        began_at = time.time()
        with client.mer_ray("extract", config) as command:
            command.wait()
        watch.wait_for_nodes(0)
        told = check_growth(watch.looks(), began_at, published_at(client.folder / "store"))
    assert count_rows(client.folder / "store") == dict.fromkeys(clip_ids, 1)
    # Ray would tell of each node again whenever one comes.
    assert "autoscaler" not in command.output
    say(told)


def test_a_submitted_extraction_does_the_same(client: Client, clip_ids: frozenset[str]):
    job = write_config(client.folder / "job.yaml", {"steps": [{"verb": "extract", **extraction(client, "submitted")}]})
    with client.watched() as watch:
        watch.wait_for_nodes(0)
        began_at = time.time()
        with client.mer_ray("submit", job, "--shared", str(client.folder)) as command:
            command.wait()
        watch.wait_for_nodes(0)
        told = check_growth(watch.looks(), began_at, published_at(client.folder / "submitted"))
    assert count_rows(client.folder / "submitted") == dict.fromkeys(clip_ids, 1)
    # As happens where a node that comes takes the job's files away from those that work.
    assert "worker died" not in command.output
    say(told)


def test_a_node_that_is_taken_costs_the_shards_of_its_actor(client: Client, clip_ids: frozenset[str]):
    notes, store = client.folder / "notes.txt", client.folder / "spot"
    paced = {"notes": str(notes), "seconds": 1.0}
    plugin = {"name": "plugin", "file": str(Path(__file__).with_name("paced_encoder.py")), "class": "PacedConfig", "config": paced}
    values = extraction(client, "spot", encoders=[plugin], allow_plugins=True)

    def computed(what: str) -> Counter[str]:
        lines = notes.read_text().splitlines() if notes.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(what))

    with client.mer_ray("extract", write_config(client.folder / "spot.yaml", values)) as command:
        wait_for("some clips", lambda: len(computed("end")) >= 6 or command.process.poll() is not None)
        victim = wait_for("an actor at work", lambda: working(client.cluster.head.pid, "(ShardActor)"))[0]
        raylet = raylet_of(victim)
        assert raylet is not None
        take_node(raylet, GRACE_S)
        # Work was left, and the run went on without the node.
        assert command.process.poll() is None, command.output
        assert len(computed("end")) < NUM_CLIPS
        command.wait()
    rows, begun, ended = count_rows(store), computed("begin"), computed("end")
    assert set(rows) == clip_ids
    assert len(ended) == NUM_CLIPS
    # What the actor was computing, and what it had computed but not yet told of.
    again = begun.total() - NUM_CLIPS
    assert again <= CALLS_PER_ACTOR
    say(f"{again} shards begun again, {ended.total() - NUM_CLIPS} computed twice, {rows.total() - NUM_CLIPS} stored twice")
