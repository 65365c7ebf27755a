"""Encoder actors killed exactly between writing and publishing a part, right after it, and between the parts of two encoders."""

import signal
from pathlib import Path

import pytest
import worker_traps
from chaos_corpus import ChaosCorpus
from chaos_processes import Zygote, say
from parquet_truth import check_exactly_once

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

# A shard publishes its parts one encoder after the other: after the first part of a process its second encoder is left to write.
MOMENTS = [(signal.SIGKILL, when, part) for part in (1, 2, 3, 6) for when in ("before", "after")]


def test_an_actor_killed_at_the_edges_of_publishing_loses_and_repeats_nothing(
    corpus: ChaosCorpus, reference: Path, drivers: Zygote, chaos_folder: Path
):
    traps, store = chaos_folder / "traps", chaos_folder / "forced"
    drivers.run(corpus.config(store), runtime_env=worker_traps.lay(traps, MOMENTS))
    sprung = sorted(path.name for path in traps.iterdir())
    assert len(sprung) == len(MOMENTS)
    assert all(name.startswith("sprung-") for name in sprung), sprung
    left = list(store.rglob(".part-*.tmp"))
    # Each kill before publishing leaves the whole file, unpublished.
    assert len(left) >= sum(when == "before" for _, when, _ in MOMENTS)
    num_repeated = check_exactly_once(store, corpus, reference)
    say(f"{len(sprung)} forced kills, {len(left)} temporary files left, {num_repeated} rows stored more than once")
