"""Parts i/n of an extraction at the same time make exactly the whole; what failed is tried again only when asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
from chaos_corpus import make_corpus, mend_sound
from chaos_processes import Zygote
from parquet_truth import check_as_read, check_exactly_once, keys_of, read_truth

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


def test_three_parts_make_the_whole_and_a_retry_mends_it(drivers: Zygote, chaos_folder: Path):
    corpus = make_corpus(chaos_folder / "parts-corpus", 60, seed=13)
    store, reference = chaos_folder / "parts", chaos_folder / "parts-reference"
    running = [drivers.start(corpus.config(store, part=f"{index}/3")) for index in (1, 2, 3)]
    for driver in running:
        assert driver.wait() == 0, driver.log.read_text()[-3000:]
    drivers.run(corpus.config(reference))
    for key in keys_of(store):
        truth = check_as_read(store, key, corpus, reference)
        # No clip belongs to two parts.
        assert set((truth.num_rows + truth.num_failures).values()) == {1}

    for clip_id in corpus.broken:
        mend_sound(corpus.media_path(clip_id))
    drivers.run(corpus.config(store))
    for key in keys_of(store):
        check_as_read(store, key, corpus, reference)

    mended, mended_reference = replace(corpus, broken=frozenset()), chaos_folder / "mended-reference"
    drivers.run(corpus.config(store, retry_failed=True))
    drivers.run(corpus.config(mended_reference))
    for key in keys_of(store):
        truth = read_truth(store, key)
        assert set(truth.num_rows.values()) == {1}
        assert set(truth.num_failures) == (corpus.broken if key.startswith("spectral") else set())
    assert check_exactly_once(store, mended, mended_reference) == len(corpus.broken)
