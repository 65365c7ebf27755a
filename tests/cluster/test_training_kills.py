"""A training on two Ray workers: one of them is killed, then the driver, which is started again; it ends as if nothing had happened."""

import time
from pathlib import Path

import pytest
from chaos_processes import kill, say, started, wait_for, working
from chaos_verbs import TRAINING, check_trained_alike, end_well, has_checkpoint, long_training, read_curve, verb_command
from training_corpus import TrainingCorpus

from mer_ray.training import train

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_training_whose_worker_and_driver_are_killed_ends_as_an_undisturbed_one(
    searched: TrainingCorpus, head: tuple[str, int], tmp_path: Path
):
    undisturbed = long_training(searched, "train-undisturbed-kills")
    train(undisturbed)
    num_rows = len(read_curve(undisturbed.out))
    config = long_training(searched, "train-kills", num_workers=2)
    command = verb_command("train", config, tmp_path)
    with started(command, tmp_path / "killed.log", RAY_ADDRESS=head[0]) as driver:

        def is_over() -> bool:
            return driver.poll() is not None

        def workers() -> set[int]:
            return {process.pid for process in working(head[1], *TRAINING)}

        wait_for("a checkpoint", lambda: is_over() or has_checkpoint(config))
        before = workers()
        assert len(before) == 2, (tmp_path / "killed.log").read_text()[-3000:]
        assert kill(next(process for process in working(head[1], *TRAINING)))
        num_then, killed_s = len(read_curve(config.out)), time.monotonic()
        wait_for(
            "two new workers that trained further",
            lambda: is_over() or (len(workers() - before) == 2 and len(read_curve(config.out)) > num_then),
        )
        assert not is_over(), (tmp_path / "killed.log").read_text()[-3000:]
        worker_s = time.monotonic() - killed_s
        driver.kill()
    killed_s = time.monotonic()
    num_left = len(read_curve(config.out))
    say(f"a worker killed after {num_then} of {num_rows} epochs, the driver after {num_left}")
    assert 0 < num_then < num_left < num_rows

    with started(command, tmp_path / "again.log", RAY_ADDRESS=head[0]) as driver:
        wait_for("a driver that trains further", lambda: driver.poll() is not None or len(read_curve(config.out)) > num_left)
        say(f"went on {worker_s:.0f} s after the worker was killed, and {time.monotonic() - killed_s:.0f} s after the driver was")
        end_well(driver, tmp_path / "again.log")
    check_trained_alike(config.out, undisturbed.out)
