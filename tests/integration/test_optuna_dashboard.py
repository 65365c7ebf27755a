"""A search's study in the dashboard of the extra `dashboard`, as the README says."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.tuning.ray_study import STUDY_FILE, open_study

TIMEOUT_S = 60

pytestmark = pytest.mark.slow


def read_json(dashboard: subprocess.Popen[bytes], address: str) -> Any:
    """What the dashboard answers, as soon as it does."""
    for _ in range(TIMEOUT_S * 5):
        assert dashboard.poll() is None, "the dashboard ended"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address} within {TIMEOUT_S} s")


def test_the_dashboard_shows_a_search(tmp_path: Path) -> None:
    config = search_config(TrainingCorpus(tmp_path, []))
    with open_study(config, config.space, "identity") as study:
        for score in (0.25, 0.75):
            trial, _ = study.ask()
            study.report(trial, 1, score)
            study.complete(trial, {"weighted_f1": score}, 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("optuna-dashboard"), f"sqlite:///{tmp_path / 'search' / STUDY_FILE}"]
    with (tmp_path / "dashboard.log").open("w") as log:
        dashboard = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)
        try:
            (found,) = read_json(dashboard, f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
            shown = read_json(dashboard, f"http://127.0.0.1:{port}/api/studies/{found['study_id']}?after=0")
        finally:
            dashboard.terminate()
            dashboard.wait(timeout=TIMEOUT_S)
    assert found["study_name"] == "search" and found["directions"] == ["maximize"]
    assert [trial["values"] for trial in shown["trials"]] == [[0.25], [0.75]]
    for trial in shown["trials"]:
        assert {"learning_rate", "model"} <= {one["name"] for one in trial["params"]}
