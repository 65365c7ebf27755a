"""An extraction, a training and a search on two nodes that do not hear each other for ten seconds: each ends as if undisturbed."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus
from chaos_processes import say, wait_for
from chaos_verbs import (
    NUM_TRIALS,
    SEARCHING,
    TRAINING,
    check_trained_alike,
    count_finished,
    end_well,
    long_search,
    long_training,
    read_curve,
    read_finished,
    verb_words,
)
from parquet_truth import check_exactly_once, count_parts
from split_cluster import SplitCluster, split_cluster, why_not
from training_corpus import TrainingCorpus

from mer_ray.core.config import parse_config
from mer_ray.extraction.config import ExtractConfig
from mer_ray.training import train

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

LOSS_S = 10.0


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitCluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with split_cluster(tmp_path_factory.mktemp("split")) as cluster:
        yield cluster


def run_through_loss(
    split: SplitCluster, words: list[str], log: Path, worker: Sequence[str], progress: Callable[[], int], between: range
) -> None:
    """Drop all packets once workers of both nodes are at work and the progress lies in a range, then wait for a good end."""
    with split.driver(words, log) as driver:

        def is_over() -> bool:
            return driver.poll() is not None

        wait_for("workers on both nodes", lambda: is_over() or (progress() in between and all(split.working(*worker))))
        with split.cable.cut():
            assert not is_over(), f"ended before the loss; see {log}: {log.read_text()[-3000:]}"
            time.sleep(LOSS_S)
            dropped, then = split.cable.count_dropped(), progress()
        ended_s = time.monotonic()
        wait_for("progress after the loss", lambda: is_over() or progress() > then)
        say(f"{words[0]}: dropped {dropped}; went on {time.monotonic() - ended_s:.1f} s after the loss")
        end_well(driver, log)
    assert all(dropped.values()), dropped


def test_an_extraction_goes_on_after_packets_were_lost(split: SplitCluster, corpus: ChaosCorpus, reference: Path, tmp_path: Path):
    store = tmp_path / "store"
    config = parse_config(ExtractConfig, corpus.config(store, num_actors=2, shard_media_s=1.0), "chaos")
    words = verb_words("extract", config, tmp_path)
    run_through_loss(split, words, tmp_path / "driver.log", ("(ShardActor)",), lambda: count_parts(store), range(10, 100))
    assert count_parts(store) > 100
    check_exactly_once(store, corpus, reference)


def test_a_training_of_two_workers_goes_on_after_packets_were_lost(split: SplitCluster, searched: TrainingCorpus, tmp_path: Path):
    undisturbed = long_training(searched, "train-undisturbed")
    train(undisturbed)
    config = long_training(searched, "train-loss", num_workers=2)
    words, num_rows = verb_words("train", config, tmp_path), len(read_curve(undisturbed.out))
    run_through_loss(split, words, tmp_path / "driver.log", TRAINING, lambda: len(read_curve(config.out)), range(1, num_rows // 2))
    check_trained_alike(config.out, undisturbed.out)


def test_a_search_goes_on_after_packets_were_lost(
    split: SplitCluster, searched: TrainingCorpus, undisturbed_trials: list[tuple[str, str]], tmp_path: Path
):
    config = long_search(searched, "search-loss")
    words = verb_words("tune", config, tmp_path)
    run_through_loss(split, words, tmp_path / "driver.log", SEARCHING, lambda: count_finished(config), range(1, NUM_TRIALS - 2))
    assert read_finished(config) == undisturbed_trials
