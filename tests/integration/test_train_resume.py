"""A training killed with SIGKILL ends with the curve, the weights and the predictions of one that was never interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.training import TrainConfig, train

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parents[1]
CHANGES = {
    "seeds": [0, 1],
    "epochs": 40,
    "protocol": {"name": "folds", "dev": "next_fold"},
    "early_stopping": {"metric": "valence_mse", "patience": 12},
    "checkpoint_interval_s": 0.0,
    "class_weights": "balanced",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def unbroken(corpus: TrainingCorpus) -> TrainConfig:
    config = corpus.config("unbroken", **CHANGES)
    train(config)
    return config


def read_curve(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def train_until_killed(config: TrainConfig, tmp_path: Path, num_rows: int) -> None:
    """Train in another process, and kill it when the curve has `num_rows` rows."""
    config_path = tmp_path / f"{config.out.name}.json"
    config_path.write_text(config.model_dump_json())
    code = "import sys; from mer_ray.training import TrainConfig, train; train(TrainConfig.model_validate_json(open(sys.argv[1]).read()))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    child = subprocess.Popen([sys.executable, "-c", code, str(config_path)], env=environment)
    curve = config.out / "metrics.jsonl"
    while child.poll() is None and (not curve.is_file() or len(curve.read_text().splitlines()) < num_rows):
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the training ended before it was killed"


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_curve_weights_and_predictions(corpus, unbroken, tmp_path):
    config = corpus.config("killed", **CHANGES)
    for num_rows in (7, 40, 110):
        train_until_killed(config, tmp_path, num_rows)
        assert not (config.out / "scores.json").exists()
    summary = train(config)
    assert not summary.was_complete
    assert read_curve(config.out) == read_curve(unbroken.out)
    assert json.loads((config.out / "scores.json").read_text()) == json.loads((unbroken.out / "scores.json").read_text())
    for split in ("dev", "test"):
        name = f"predictions/{split}.parquet"
        assert pq.read_table(config.out / name).equals(pq.read_table(unbroken.out / name))
    for fit in sorted(path.name for path in (unbroken.out / "checkpoints").iterdir()):
        for weights in ("last.pt", "best.pt"):
            ours, theirs = (torch.load(run.out / "checkpoints" / fit / weights, weights_only=True)["model"] for run in (config, unbroken))
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_finished_fit_is_skipped_and_a_lost_one_is_trained(corpus, unbroken):
    """Without the files of one fit, that fit alone is trained."""
    config = corpus.config("skips", **CHANGES)
    train(config)
    finished = {path: path.stat().st_mtime_ns for path in (config.out / "checkpoints").rglob("best.pt")}
    folder = config.out / "checkpoints" / "fold2-seed1"
    (config.out / "scores.json").unlink()
    for path in folder.iterdir():
        path.unlink()
    train(config)
    changed = [path for path, time_ns in finished.items() if path.stat().st_mtime_ns != time_ns]
    assert changed == [folder / "best.pt"]
    assert read_curve(config.out) == read_curve(unbroken.out)


@pytest.mark.parametrize("lost", [("finished.json",), ("finished.json", "predictions.parquet", "last.pt")])
def test_a_kill_while_results_are_written_loses_nothing(corpus, unbroken, tmp_path, lost):
    config = corpus.config(f"lost{len(lost)}", **CHANGES)
    shutil.copytree(unbroken.out, config.out)
    for name in lost:
        (config.out / "checkpoints" / "fold3-seed1" / name).unlink()
    (config.out / "scores.json").unlink()
    (config.out / "config.yaml").unlink()
    train(config)
    assert read_curve(config.out) == read_curve(unbroken.out) and (config.out / "config.yaml").is_file()
    assert pq.read_table(config.out / "predictions/test.parquet").equals(pq.read_table(unbroken.out / "predictions/test.parquet"))


def test_the_interval_of_checkpoints_does_not_change_the_result(corpus, unbroken):
    config = corpus.config("seldom", **{**CHANGES, "checkpoint_interval_s": 1000.0})
    train(config)
    assert read_curve(config.out) == read_curve(unbroken.out)
