"""Extractions whose driver is killed at random moments and started again until one gets through."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus
from chaos_processes import NUM_KILLS, Zygote, say, zygote
from parquet_truth import check_exactly_once, count_parts

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


def extract_under_kills(forking: Zygote, corpus: ChaosCorpus, store: Path, seed: int, max_kills: int) -> int:
    """Start and kill until an extraction ends; the number of kills that hit a running driver."""
    generator, num_kills = random.Random(seed), 0
    while num_kills < max_kills:
        driver, before = forking.start(corpus.config(store)), count_parts(store)
        # Half the kills fall into the start, half between the parts of a shard or of two.
        num_parts, delay_s = generator.choice([0, generator.randint(1, 40)]), generator.uniform(0, 3)
        while num_parts and driver.poll() is None and count_parts(store) < before + num_parts:
            time.sleep(0.002)
        time.sleep(delay_s if not num_parts else delay_s / 30)
        if not driver.kill():
            assert driver.code == 0, driver.log.read_text()[-3000:]
            return num_kills
        num_kills += 1
    forking.run(corpus.config(store))
    return num_kills


def test_a_driver_killed_at_any_moment_costs_nothing_but_time(
    corpus: ChaosCorpus, reference: Path, head: tuple[str, int], chaos_folder: Path
):
    def repeat(seed: int) -> tuple[int, int]:
        num_kills = num_repeated = 0
        with zygote(head[0], chaos_folder) as forking:
            while num_kills < NUM_KILLS // 2:
                seed += 2
                store = chaos_folder / f"store-{seed}"
                num_kills += extract_under_kills(forking, corpus, store, seed, NUM_KILLS // 2 - num_kills)
                num_repeated += check_exactly_once(store, corpus, reference)
        return num_kills, num_repeated

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(repeat, (100, 101)))
    say(f"seeds 102.. and 103..: {counts} kills and rows stored more than once")
    assert sum(num_kills for num_kills, _ in counts) >= NUM_KILLS
