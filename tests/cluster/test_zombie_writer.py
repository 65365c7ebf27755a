"""A whole extraction stopped in the middle of publishing, overtaken by another one, and woken after the compaction."""

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import worker_traps
from chaos_corpus import make_corpus, write_sound
from chaos_processes import Zygote, descendants, ray_head, say, wait_for, zygote
from parquet_truth import check_exactly_once

from mer_ray.store.lease import DEAD_AFTER_S

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


def send(number: signal.Signals, driver_pid: int, cluster_pid: int) -> None:
    """To the driver, and to all of the cluster below its first process."""
    for process in [psutil.Process(driver_pid), *descendants(cluster_pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def age_leases(store: Path) -> None:
    """As if as much time had passed as makes a silent lease void."""
    long_ago = time.time() - 2 * DEAD_AFTER_S
    leases = list(store.rglob("_lease-*.json"))
    assert leases
    for path in leases:
        os.utime(path, (long_ago, long_ago))


def test_a_stopped_extraction_that_wakes_after_the_next_one_does_no_harm(drivers: Zygote, chaos_folder: Path):
    folder = chaos_folder / "zombie"
    corpus = make_corpus(folder / "corpus", 60, seed=11)
    store, reference, traps = folder / "store", folder / "reference", folder / "traps"
    # Several clips in each part, so that some of them have sound.
    config = corpus.config(store, shard_media_s=6)
    runtime_env = worker_traps.lay(traps, [(signal.SIGSTOP, "before", 3)], within="features/spectral")
    with ray_head(folder) as (address, cluster_pid), zygote(address, folder) as zombies:
        zombie = zombies.start(config, runtime_env=runtime_env)
        wait_for("the worker to stop", lambda: zombie.poll() is not None or list(traps.glob("sprung-*")))
        assert zombie.poll() is None, zombie.log.read_text()[-3000:]
        send(signal.SIGSTOP, zombie.pid, cluster_pid)
        (sprung,) = traps.glob("sprung-*")
        target = Path(sprung.read_text())
        (unpublished,) = target.parent.glob(f".{target.name}.*.tmp")
        assert not target.exists()

        # What the zombie is about to publish gets old: the next run sees another sound.
        rows = pq.read_table(unpublished)
        changed = rows.filter(pc.greater(rows["num_frames"], 0))["clip_id"][0].as_py()
        write_sound(corpus.media_path(changed), 1.1, seed=999)
        refused = drivers.start(config)
        assert refused.wait() == 1
        assert "cannot start beside the extraction of part 1/1 by process" in refused.log.read_text()
        age_leases(store)
        drivers.run(config)
        drivers.run(corpus.config(reference))
        check_exactly_once(store, corpus, reference)

        send(signal.SIGCONT, zombie.pid, cluster_pid)
        wait_for("the zombie to publish", lambda: target.exists() or zombie.poll() is not None)
        assert target.exists()
        with contextlib.suppress(AssertionError):
            zombie.wait(timeout_s=60)
        zombie.kill()
    num_repeated = check_exactly_once(store, corpus, reference)
    assert num_repeated > 0
    say(f"the zombie ended with {zombie.code} and published {num_repeated} rows for nothing")
