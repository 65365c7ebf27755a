"""The driver of an extraction holds no more when all clips are done than when a fifth of them is."""

from pathlib import Path

import psutil
import pytest
from chaos_corpus import make_texts
from chaos_processes import Zygote, say, wait_for
from parquet_truth import count_parts

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

NUM_CLIPS = 5000
# A clip without a duration counts five seconds.
CLIPS_PER_SHARD = 10
# Its id alone would take more.
MAX_TRACED_BYTES_PER_CLIP = 100
MAX_RESIDENT_GROWTH_BYTES = 25e6


def test_driver_memory_does_not_grow_with_clips_done(drivers: Zygote, chaos_folder: Path):
    corpus = make_texts(chaos_folder / "texts", NUM_CLIPS)
    store, answers = chaos_folder / "many", chaos_folder / "memory"
    answers.mkdir()
    config = corpus.config(store, encoders=[{"name": "hashing"}], num_actors=2, shard_media_s=5 * CLIPS_PER_SHARD)
    driver, held = drivers.start(config, trace_memory=answers), []
    for share in (0.2, 0.95):
        num_parts = round(share * NUM_CLIPS / CLIPS_PER_SHARD)
        wait_for(f"{num_parts} parts", lambda num_parts=num_parts: driver.poll() is not None or count_parts(store) >= num_parts)
        assert driver.poll() is None, driver.log.read_text()[-3000:]
        (answers / f"ask-{share}").touch()
        traced = int(
            wait_for("the driver's answer", lambda share=share: (answers / f"{share}").exists() and (answers / f"{share}").read_text())
        )
        held.append((traced, psutil.Process(driver.pid).memory_info().rss))
    assert driver.wait() == 0
    assert count_parts(store) >= NUM_CLIPS / CLIPS_PER_SHARD
    (traced_then, rss_then), (traced_now, rss_now) = held
    say(f"traced {traced_then} -> {traced_now} bytes, resident {rss_then} -> {rss_now} bytes")
    assert traced_now - traced_then < MAX_TRACED_BYTES_PER_CLIP * 0.75 * NUM_CLIPS
    assert rss_now - rss_then < MAX_RESIDENT_GROWTH_BYTES
