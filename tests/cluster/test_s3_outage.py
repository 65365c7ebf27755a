"""An extraction, a training and a search whose S3 server is away for twenty seconds: each waits, and ends as if undisturbed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chaos_corpus import ChaosCorpus
from chaos_processes import say, started, wait_for, zygote
from chaos_verbs import end_well, long_search, read_finished, verb_command
from parquet_truth import check_exactly_once
from server_gate import ServerGate, server_gate
from training_corpus import TrainingCorpus

from mer_ray.core.s3 import s3_filesystem
from mer_ray.training import train

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

OUTAGE_S = 20.0
BUCKET = "chaos"
NUM_PARTS_BEFORE = 10
NOTICE = "{} cannot be reached; trying for"


@pytest.fixture(scope="module")
def gate(s3_endpoint: str) -> Iterator[ServerGate]:
    with server_gate(s3_endpoint) as opened:
        yield opened


@pytest.fixture
def aws(gate: ServerGate, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of clients that go through the gate; this process goes past it."""
    common = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**common, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    if not s3_filesystem().exists(BUCKET):
        s3_filesystem().mkdir(BUCKET)
    return {**common, "AWS_ENDPOINT_URL": gate.url}


def upload(folder: Path, name: str) -> str:
    s3_filesystem().put(str(folder), f"{BUCKET}/{name}", recursive=True)
    return f"s3://{BUCKET}/{name}"


def count_stored(name: str) -> int:
    return sum("part-" in path for path in s3_filesystem().find(f"{BUCKET}/{name}"))


def test_an_extraction_waits_for_a_store_that_is_away(
    aws: dict[str, str], gate: ServerGate, corpus: ChaosCorpus, reference: Path, head: tuple[str, int], tmp_path: Path
):
    config = corpus.config(Path("store"), num_actors=2) | {"store": f"s3://{BUCKET}/extracted"}
    with zygote(head[0], tmp_path, **aws) as drivers:
        driver = drivers.start(config, runtime_env={"env_vars": aws})
        wait_for("some parts", lambda: driver.poll() is not None or count_stored("extracted") >= NUM_PARTS_BEFORE)
        gate.shut()
        # What had arrived is stored.
        time.sleep(3)
        stored = count_stored("extracted")
        time.sleep(OUTAGE_S - 3)
        assert driver.poll() is None, driver.log.read_text()[-3000:]
        assert count_stored("extracted") == stored
        gate.reopen()
        reopened_s = time.monotonic()
        wait_for("more parts", lambda: driver.poll() is not None or count_stored("extracted") > stored)
        say(f"extract: {stored} parts before, went on {time.monotonic() - reopened_s:.1f} s after the outage")
        assert driver.wait() == 0, driver.log.read_text()[-3000:]
    assert NOTICE.format(gate.url) in driver.log.read_text()
    s3_filesystem().get(f"{BUCKET}/extracted", str(tmp_path / "copy"), recursive=True)
    assert count_stored("extracted") > stored
    check_exactly_once(tmp_path / "copy", corpus, reference)


def run_through_outage(command: list[str], log: Path, gate: ServerGate, variables: dict[str, str]) -> None:
    """The server goes with the first connection of all: in the middle of the reading, which takes a moment."""
    num_broken = gate.num_broken
    gate.shut_at_next(OUTAGE_S)
    with started(command, log, **variables) as driver:
        wait_for("the end of the outage", lambda: driver.poll() is not None or gate.has_reopened.is_set())
        began_s = time.monotonic()
        assert driver.poll() is None, log.read_text()[-3000:]
        end_well(driver, log)
    say(f"{command[3]}: ended {time.monotonic() - began_s:.0f} s after the outage")
    assert gate.num_broken == num_broken + 1
    assert NOTICE.format(gate.url) in log.read_text()


def test_a_training_waits_for_features_that_are_away(aws: dict[str, str], gate: ServerGate, searched: TrainingCorpus, tmp_path: Path):
    undisturbed = searched.config("s3-undisturbed")
    train(undisturbed)
    config = searched.config("s3-outage", store=upload(searched.folder / "store", "trained"))
    run_through_outage(verb_command("train", config, tmp_path), tmp_path / "driver.log", gate, aws)
    found, alone = (pq.read_table(one.out / "predictions" / "test.parquet") for one in (config, undisturbed))
    assert found.equals(alone)


def test_a_search_waits_for_features_that_are_away(
    aws: dict[str, str],
    gate: ServerGate,
    searched: TrainingCorpus,
    undisturbed_trials: list[tuple[str, str]],
    head: tuple[str, int],
    tmp_path: Path,
):
    config = long_search(searched, "search-outage", store=upload(searched.folder / "store", "searched"))
    variables = {**aws, "RAY_ADDRESS": head[0]}
    run_through_outage(verb_command("tune", config, tmp_path), tmp_path / "driver.log", gate, variables)
    assert read_finished(config) == undisturbed_trials
