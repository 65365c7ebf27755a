"""What Prometheus sees of an extraction and of a search, by the pages that Ray's service discovery names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_corpus import make_corpus
from chaos_processes import wait_for
from local_clusters import Client, client_of_new_cluster, write_config
from prometheus_scrape import Scraper, scraped

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NUM_CLIPS, NUM_TRIALS = 30, 6
# A second of a GPU costs a dollar.
PRICE = 3600.0
EXTRACTION = {"clips_total", "failures_total", "clips_per_second", "gpu_busy_share", "usd"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with client_of_new_cluster(tmp_path_factory.mktemp("metrics")) as found:
        yield found


def discovery(client: Client) -> Path:
    return client.cluster.ray_folder / "prom_metrics_service_discovery.json"


def last(scraper: Scraper, name: str, value: float) -> bool:
    return scraper.seen.get(name, [0.0])[-1] == pytest.approx(value, rel=1e-6)


def test_an_extraction_is_seen_while_it_runs_and_to_its_end(client: Client):
    corpus = make_corpus(client.folder / "corpus", NUM_CLIPS, seed=3)
    paced = {"notes": str(client.folder / "notes.txt"), "seconds": 2.0}
    plugin = {"name": "plugin", "file": str(Path(__file__).with_name("paced_encoder.py")), "class": "PacedConfig", "config": paced}
    more = {"device": "cpu", "gpus_per_actor": 1, "price_per_gpu_hour": PRICE, "shard_media_s": 0.5, "num_actors": 2}
    summary_path = client.folder / "summary.json"
    config = corpus.config(client.folder / "store", encoders=[plugin], allow_plugins=True, summary=str(summary_path), **more)
    with scraped(discovery(client)) as scraper:
        with client.mer_ray("extract", write_config(client.folder / "extract.yaml", config)) as command:
            command.wait()
        summary = json.loads(summary_path.read_text())
        # A short run's last values come with the end of its driver, and stay for two of Ray's intervals.
        wait_for("the last of the clips", lambda: last(scraper, "clips_total", NUM_CLIPS), 30)
        wait_for("the last of the failures", lambda: last(scraper, "failures_total", len(corpus.broken)), 30)
    seen = scraper.seen
    assert set(seen) == EXTRACTION
    assert sum(summary["failed"].values()) == len(corpus.broken)
    # While it ran, and not only in the end.
    assert 0 < seen["clips_total"][0] < NUM_CLIPS and seen["clips_total"] == sorted(seen["clips_total"])
    assert all(0 < value < NUM_CLIPS for value in seen["clips_per_second"])
    assert all(0 < value <= 1 for value in seen["gpu_busy_share"])
    assert seen["usd"] == sorted(seen["usd"]) and 0 < seen["usd"][0] <= seen["usd"][-1] <= summary["usd"]
    assert summary["usd"] == pytest.approx(summary["gpu_s"])


def test_a_search_is_seen_to_its_end(client: Client):
    with client.mer_ray("synth", "--features", "out=planted", "num_clips=120") as command:
        command.wait()
    search = {
        "out": "search",
        "train": {
            "manifest": "planted/manifest.parquet",
            "store": "planted/store",
            "protocol": {"name": "folds", "test_folds": [0]},
            "inputs": [{"encoder": "planted_audio"}],
            "learning_rate": {"search": "float", "low": 1e-3, "high": 1e-2},
            "epochs": 2,
            "device": "cpu",
        },
        "budget": {"trials": NUM_TRIALS},
        "price_per_gpu_hour": PRICE,
        "final_seeds": [0],
        "finalists": 1,
    }
    with scraped(discovery(client)) as scraper:
        with client.mer_ray("tune", write_config(client.folder / "search.yaml", search)) as command:
            command.wait()
        wait_for("the last of the trials", lambda: last(scraper, "trials", NUM_TRIALS), 30)
    facts, seen = json.loads((client.folder / "search" / "search.json").read_text()), scraper.seen
    names = {"trials", "trials_per_minute", "best_score", "search_usd"}
    assert names <= set(seen)
    # The others are those of the extraction before.
    assert set(seen) - names <= EXTRACTION
    assert seen["trials_per_minute"][-1] > 0
    assert any(value == pytest.approx(seen["best_score"][-1]) for value in facts["best"]["values"].values())
    assert seen["search_usd"] == [0.0]
