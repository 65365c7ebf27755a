"""Jobs on a real Slurm: to their end, failing, over their time limit, as an array."""

import os
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from chaos_corpus import ChaosCorpus, make_corpus
from chaos_processes import environment, wait_for
from parquet_truth import keys_of, read_truth
from slurm_server import SlurmServer, find_slurm, slurm_server

from mer_ray.submission.slurm import SlurmSubmission, submit_to_slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not find_slurm(), reason="slurmctld, slurmd and sbatch are not installed (Debian: apt-get install slurm-wlm)"),
]

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Site:
    """What the tests submit with: a Slurm and a folder for jobs, logs and Ray's own files."""

    server: SlurmServer
    folder: Path
    scratch: Path

    def submit(self, name: str, steps: list[dict[str, Any]], **site: Any) -> SlurmSubmission:
        path = [f"export PATH={Path(sys.executable).parent}:$PATH"]
        values = {"cpus_per_node": 2, "memory_gb_per_node": 3, "hours": 1, "setup": path, "scratch": str(self.scratch)}
        job_file, site_file = self.folder / f"{name}.yaml", self.folder / f"{name}-site.yaml"
        job_file.write_text(yaml.safe_dump({"steps": steps}))
        site_file.write_text(yaml.safe_dump({**values, "logs": str(self.folder / name), **site}))
        return submit_to_slurm(job_file, [], site_file)

    def check_nothing_is_left(self, logs: Path) -> None:
        """Neither tokens nor Ray's files."""
        assert not list(logs.glob("token-*"))
        assert not list(self.scratch.iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmServer]:
    with slurm_server(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def site(server: SlurmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name, value in {**environment(), "SLURM_CONF": str(server.config), "RAY_AUTH_TOKEN": "of another cluster"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as scratch:
        yield Site(server, tmp_path, Path(scratch))


def extract_from(corpus: ChaosCorpus, store: Path, **changes: Any) -> dict[str, Any]:
    return {"verb": "extract", **corpus.config(store, encoders=[{"name": "spectral"}, {"name": "hashing"}], **changes)}


def logged(sent: SlurmSubmission) -> str:
    return "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in sorted(sent.script.parent.glob("*.log")))


def test_a_job_runs_over_two_machines_to_its_end_beside_another_ray(site: Site, head: tuple[str, int]):
    synth = {"verb": "synth", "out": "corpus", "num_clips": 12, "num_speakers": 6, "duration_s": [1.0, 1.5], "size": 64}
    manifest = {"verb": "manifest", "corpus": {"name": "table", "path": "corpus/clips.csv"}, "out": "m.parquet"}
    extract = {"verb": "extract", "manifest": "m.parquet", "store": "store", "encoders": [{"name": "spectral"}, {"name": "hashing"}]}
    sent = site.submit("whole", [synth, manifest, extract], nodes=2)
    assert sent.job_id is not None
    ended = site.server.wait_for_end(sent.job_id)
    assert (ended["JobState"], ended["ExitCode"], ended["NumNodes"]) == ("COMPLETED", "0:0", "2"), logged(sent)
    assert [log.read_text().count("Ray runtime started") for log in sent.script.parent.glob("ray-*.log")] == [1, 1]
    keys = list((site.folder / "store").glob("*/features/*"))
    assert len(keys) == 2
    for key in keys:
        stored = Counter(clip_id for part in key.glob("*.parquet") for clip_id in pq.read_table(part)["clip_id"].to_pylist())
        assert len(stored) == stored.total() == 12
    site.check_nothing_is_left(sent.script.parent)
    os.kill(head[1], 0)


@pytest.mark.chaos
def test_a_job_that_fails_has_failed_for_slurm_too(site: Site, chaos_folder: Path):
    corpus = make_corpus(chaos_folder / "failing-corpus", 14, seed=23)
    sent = site.submit("failing", [extract_from(corpus, site.folder / "store", max_failure_rate=0.0)])
    assert sent.job_id is not None
    ended = site.server.wait_for_end(sent.job_id)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "1:0", "0"), logged(sent)
    assert "max_failure_rate" in Path(sent.log).read_text()
    site.check_nothing_is_left(sent.script.parent)


@pytest.mark.chaos
def test_a_job_at_its_time_limit_is_queued_again_and_goes_on_where_it_was(site: Site, chaos_folder: Path):
    corpus = make_corpus(chaos_folder / "limit-corpus", 60, seed=17)
    slow = {
        "name": "plugin",
        "file": str(HERE / "slow_encoder.py"),
        "class": "SlowConfig",
        "config": {"quick_once": str(site.folder / "quick")},
    }
    store = site.folder / "store"
    extract = {**extract_from(corpus, store, allow_plugins=True), "encoders": [slow]}
    sent = site.submit("limit", [extract], stop_s=180)
    assert sent.job_id is not None
    logs = sent.script.parent
    before = wait_for(f"parts in {store}; {logs}", lambda: parts_after(store, 3))

    token = logs / f"token-{sent.job_id}"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert joins(sent.job_id, RAY_AUTH_TOKEN_PATH=str(token))[0] == 0
    code, said = joins(sent.job_id, RAY_AUTH_TOKEN="wrong" * 8)
    assert code == 1, said
    assert "token" in said

    # Less than `stop_s` from now: the signal comes with Slurm's next look at the time.
    hours, minutes, _ = site.server.facts(sent.job_id)["RunTime"].split(":")
    site.server.ask("scontrol", "update", f"JobId={sent.job_id}", f"TimeLimit={int(hours) * 60 + int(minutes) + 3}")
    wait_for("the job to be queued again", lambda: site.server.facts(sent.job_id)["Restarts"] == "1")
    site.server.ask("scontrol", "update", f"JobId={sent.job_id}", "TimeLimit=60")
    (site.folder / "quick").touch()
    kept = {path: path.stat().st_mtime_ns for path in store.rglob("part-*.parquet")}
    assert before <= kept.keys()
    num_done = sum(read_truth(store, key).num_rows.total() for key in keys_of(store))
    assert 0 < num_done < len(corpus.clip_ids) - len(corpus.broken)

    ended = site.server.wait_for_end(sent.job_id)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), logged(sent)
    assert "queued again, start 2 goes on from here" in Path(sent.log).read_text()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    check_every_clip_once(store, corpus)
    site.check_nothing_is_left(logs)


@pytest.mark.chaos
def test_the_tasks_of_an_array_share_the_clips(site: Site, chaos_folder: Path):
    corpus = make_corpus(chaos_folder / "array-corpus", 40, seed=19)
    store = site.folder / "store"
    sent = site.submit("array", [extract_from(corpus, store)], array=2)
    for task in (1, 2):
        ended = site.server.wait_for_end(f"{sent.job_id}_{task}")
        assert (ended["JobState"], ended["ExitCode"]) == ("COMPLETED", "0:0"), logged(sent)
    check_every_clip_once(store, corpus)
    site.check_nothing_is_left(sent.script.parent)


def check_every_clip_once(store: Path, corpus: ChaosCorpus) -> None:
    for key in keys_of(store):
        truth = read_truth(store, key)
        assert truth.num_rows + truth.num_failures == Counter(corpus.clip_ids), key


def parts_after(store: Path, least: int) -> set[Path]:
    """The published parts, once there are that many."""
    parts = set(store.rglob("part-*.parquet"))
    return parts if len(parts) >= least else set()


def joins(job_id: str, **token: str) -> tuple[int, str]:
    """Whether Ray of a job lets in who has the token: exit status and words of one who tries."""
    port = 20_000 + int(job_id) % 2500 * 4
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_TOKEN")}
    tried = subprocess.run(
        [sys.executable, "-m", "mer_ray.submission.ray_nodes", "1"],
        capture_output=True,
        text=True,
        env={**variables, "RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_AUTH_MODE": "token", **token},
        check=False,
        timeout=120,
    )
    return tried.returncode, tried.stderr
