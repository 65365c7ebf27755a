"""Extractions whose decode workers and encoder actors are killed at random moments; Ray starts new ones."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus
from chaos_processes import NUM_KILLS, Zygote, kill, say, working
from parquet_truth import check_exactly_once

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

# What Ray calls a worker that decodes, and an actor that encodes and writes.
DECODING, ENCODING = "_decode_rows", "(ShardActor)).submit"


def extract_under_kills(drivers: Zygote, cluster_pid: int, config: dict[str, object], seed: int, kills: Counter[str]) -> None:
    """One extraction to its end; kills hit workers that were at work a moment before."""
    generator = random.Random(seed)
    driver = drivers.start(config)
    while driver.poll() is None and min(kills[DECODING], kills[ENCODING]) < NUM_KILLS:
        kind = min((DECODING, ENCODING), key=lambda name: (kills[name], generator.random()))
        victims = working(cluster_pid, kind)
        if not victims:
            time.sleep(0.02)
            continue
        time.sleep(generator.uniform(0, 0.2))
        victim = generator.choice(victims)
        still_working = victim.pid in [process.pid for process in working(cluster_pid, kind)]
        if still_working and kill(victim):
            kills[kind] += 1
    # A task that was killed again and again ends the driver as well; whoever runs it starts it again.
    if driver.wait() != 0:
        # An error of ours, in one line.
        assert driver.code == 1, driver.log.read_text()[-3000:]
        drivers.run(config)


def test_killed_decode_workers_and_encoder_actors_lose_and_repeat_nothing(
    corpus: ChaosCorpus, reference: Path, head: tuple[str, int], drivers: Zygote, chaos_folder: Path
):
    kills: Counter[str] = Counter()
    num_repeated = seed = 0
    while min(kills[DECODING], kills[ENCODING]) < NUM_KILLS:
        seed += 1
        store = chaos_folder / f"workers-{seed}"
        extract_under_kills(drivers, head[1], corpus.config(store, decode="ahead"), seed, kills)
        num_repeated += check_exactly_once(store, corpus, reference)
    say(f"seeds 1 to {seed}: {dict(kills)} kills, {num_repeated} rows stored more than once")
