"""`mer-ray submit`, `jobs` and `doctor --address` against a real cluster that wants a token."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from chaos_processes import end_tree, environment, wait_for
from local_cluster import LocalCluster, free_port, local_cluster
from server_gate import server_gate

pytestmark = pytest.mark.cluster

NUM_CLIPS = 6
JOB = """
vars: {{out: out}}
steps:
  - {{verb: synth, out: "${{out}}/corpus", num_clips: {num_clips}, duration_s: [1.0, 1.5]}}
  - {{verb: manifest, corpus: {{name: files, path: "${{out}}/corpus"}}, out: "${{out}}/m.parquet"}}
  - verb: extract
    manifest: ${{out}}/m.parquet
    store: ${{out}}/store
    encoders: [{{name: gradient}}]
    device: cpu
    gpus_per_actor: 1
"""
TOKENS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submit")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Ray's sockets lie below it, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="mer-ray-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def bucket_rights(s3_endpoint: str) -> dict[str, str]:
    """What lets a process use the S3 server of these tests."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL": s3_endpoint, **keys}


@pytest.fixture(scope="module")
def cluster(bucket_rights: dict[str, str]) -> Iterator[LocalCluster]:
    with short_folder() as root, pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        for name in TOKENS:
            patch.delenv(name, raising=False)
        with local_cluster(root, gpu_nodes=1, cpu_nodes=0, idle_s=60, environment=bucket_rights) as found:
            yield found


class Client:
    """The command line in a project's folder, with the token of the cluster or another one."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def environment(self, token: dict[str, str] | None = None) -> dict[str, str]:
        own = {name: value for name, value in environment().items() if name not in TOKENS}
        return {**own, **(self.cluster.environment if token is None else token)}

    def start(self, *words: str, token: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "mer_ray.cli", *words, "--address", self.cluster.api_url]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(token), **pipes)

    def run(self, *words: str, token: dict[str, str] | None = None, code: int = 0) -> tuple[str, str]:
        process = self.start(*words, token=token)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return out, err

    def jobs(self) -> dict[str, str]:
        """Status by job."""
        out, _ = self.run("jobs", "ls")
        rows = re.findall(r"│ (\w+-\w{8}) +│ (\w+) +│ (\S+)", out)
        assert "inspection" not in out
        return {job: status for job, status, file in rows}


@pytest.fixture(scope="module")
def client(cluster: LocalCluster, folder: Path) -> Client:
    (folder / "job.yaml").write_text(JOB.format(num_clips=NUM_CLIPS))
    return Client(cluster, folder)


@pytest.fixture(scope="module")
def submitted(client: Client, folder: Path) -> tuple[str, str]:
    return client.run("submit", "job.yaml", "--shared", str(folder))


def test_a_job_runs_there_as_it_would_here(client, folder, submitted):
    out, err = submitted

    rows = pq.read_table(sorted((folder / "out" / "store").rglob("*.parquet")), columns=["clip_id"])["clip_id"].to_pylist()
    assert len(rows) == len(set(rows)) == NUM_CLIPS
    assert re.search(r"sending \d+ files, \d\.\d MB to", err)
    assert "step 3 of 3: extract out/store" in out and re.search(r"job job-\w+: succeeded", err)
    assert client.jobs()[re.search(r"as job (job-\w+)", err)[1]] == "succeeded"


def test_a_job_that_is_submitted_again_goes_on_where_it_was(client, folder, submitted):
    out, _ = client.run("submit", "job.yaml", "--shared", str(folder))

    assert "finished before: skipped" in out and "Nothing was left to do" in out


def test_a_job_that_fails_says_why_and_so_does_the_exit(client, folder, submitted):
    out, err = client.run("submit", "job.yaml", "steps.0.num_clips=9", "--shared", str(folder), code=2)

    assert "mer-ray: error: out: out/corpus holds a corpus of another config (num_clips: 6 there, 9 here)" in out
    job = re.search(r"job (job-\w+): failed", err)[1]
    out, _ = client.run("jobs", "status", job, code=2)
    assert re.search(r"^status: failed$", out, re.M)
    assert re.search(r"^message: Job entrypoint command failed with exit code 2: mer-ray: error: out: out/corpus holds a corpus", out, re.M)
    out, _ = client.run("jobs", "logs", job)
    assert "holds a corpus of another config" in out


@pytest.mark.parametrize(
    ("token", "said"),
    [({}, "the cluster wants a token"), ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, "the cluster refuses this token")],
    ids=["none", "wrong"],
)
def test_without_the_token_nothing_is_sent(client, folder, submitted, token, said):
    before = client.jobs()

    out, err = client.run("submit", "job.yaml", "--shared", str(folder), token=token, code=1)

    (line,) = err.splitlines()
    assert said in line and "RAY_AUTH_TOKEN_PATH" in line and not out
    assert client.jobs() == before


def test_a_token_file_that_is_not_there_is_named(client):
    _, err = client.run("jobs", "ls", token={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, code=1)

    assert err.splitlines() == [
        "mer-ray: error: RAY_AUTH_TOKEN_PATH: /nowhere/token: no such file; name the file that holds the cluster's token"
    ]


def test_a_folder_that_the_cluster_lacks_is_found_before_anything_is_sent(client, folder, submitted):
    before = client.jobs()

    _, err = client.run("submit", "job.yaml", "vars.out=/nowhere/x", "--shared", "/nowhere", code=1)

    (line,) = err.splitlines()
    assert re.search(r"--shared /nowhere: http\S+ cannot write there \(No such file or directory\); mount it", line)
    assert client.jobs() == before


def test_who_turns_away_leaves_the_job_running_and_can_come_back_and_stop_it(client, folder):
    (folder / "long.yaml").write_text(JOB.replace("out: out", "out: long").format(num_clips=4000))
    process = client.start("submit", "long.yaml", "--shared", str(folder))
    try:
        wait_for("the job's first clips", lambda: list((folder / "long" / "corpus").rglob("*.mp4")))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        end_tree(process)
    assert process.returncode == 130
    job = re.search(r"job (long-\w+) goes on\. Look again: mer-ray jobs logs -f \1 --address", err)[1]
    assert client.jobs()[job] == "running"
    _, err = client.run("submit", "long.yaml", "--shared", str(folder), code=1)
    assert f"job {job} does the same and has not ended. Look again: mer-ray jobs logs -f {job} --address" in err
    # Another job of the same name is no twin.
    (folder / "long.yaml").write_text(JOB.replace("out: out", "out: other").format(num_clips=1))
    client.run("submit", "long.yaml", "--no-wait", "--shared", str(folder))
    clips = len(list((folder / "long" / "corpus").rglob("*.mp4")))
    wait_for("more clips", lambda: len(list((folder / "long" / "corpus").rglob("*.mp4"))) > clips)

    out, _ = client.run("jobs", "stop", job)

    assert "is being stopped" in out
    wait_for("its end", lambda: client.jobs()[job] == "stopped")
    out, _ = client.run("jobs", "stop", job)
    assert "has ended already" in out


def test_a_log_whose_connection_dies_in_silence_is_read_on(client, folder):
    command = "import sys; from mer_ray.submission import ray_jobs; ray_jobs.QUIET_S = 4; from mer_ray.cli import main; main()"
    words = ["submit", "job.yaml", "vars.out=silent", "--shared", str(folder), "--address"]
    with server_gate(client.cluster.api_url) as gate, (folder / "silent.log").open("wb") as log:
        pipes = {"stdout": log, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", command, *words, gate.url], cwd=folder, env=client.environment(), **pipes)
        try:
            wait_for("the job's first lines", lambda: "step 1 of 3" in (folder / "silent.log").read_text())
            num_silent = gate.silence()
            _, err = process.communicate(timeout=300)
        finally:
            end_tree(process)

    assert num_silent == 1 and process.returncode == 0
    job = re.search(r"job (job-\w+): succeeded", err)[1]
    out, _ = client.run("jobs", "logs", job)
    assert (folder / "silent.log").read_text().strip() == out.strip()


def test_an_unknown_job_is_one_line(client):
    _, err = client.run("jobs", "logs", "job-none", code=1)

    assert err.splitlines() == [f"mer-ray: error: {client.cluster.api_url}: no job job-none; `mer-ray jobs ls` lists them"]


def test_the_doctor_finds_a_closed_cluster_of_one_version_with_shared_storage_well(client, folder):
    out, _ = client.run("doctor", "--shared", str(folder))

    assert "FAULT" not in out and "wants a token" in out and "the same on" in out and 'grows to {"CPU": 1, "GPU": 1}' in out


def test_the_doctor_misses_storage_that_all_machines_see(client):
    out, _ = client.run("doctor", code=1)
    assert re.search(r"storage +│ FAULT │ none is named that all machines see", out)

    out, _ = client.run("doctor", "--shared", "/nowhere", code=1)
    assert re.search(r"storage +│ FAULT │ /nowhere cannot be written on .*No such file or directory", out)


def test_the_doctor_asks_all_machines_for_the_bucket(client, bucket_rights):
    keys = {"key": bucket_rights["AWS_ACCESS_KEY_ID"], "secret": bucket_rights["AWS_SECRET_ACCESS_KEY"]}
    fsspec.filesystem("s3", endpoint_url=bucket_rights["AWS_ENDPOINT_URL"], **keys).mkdir("features")

    out, _ = client.run("doctor", "--store", "s3://features/store")
    assert re.search(r"storage +│ well +│ s3://features/store can be seen on \d node", out)

    out, _ = client.run("doctor", "--store", "s3://nowhere/store", code=1)
    assert re.search(r"storage +│ FAULT │ s3://nowhere/store cannot be seen on .*no such bucket, or no right to see it", out)


def test_the_doctor_finds_an_open_cluster(folder):
    api_port = free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=1"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={api_port}", f"--dashboard-agent-listen-port={free_port()}"]
    own = {name: value for name, value in environment().items() if name not in TOKENS}
    # Unset, it is "token" on a machine that has a token in its home.
    own["RAY_AUTH_MODE"] = "disabled"
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    doctor = [sys.executable, "-m", "mer_ray.cli", "doctor", "--shared", str(folder), "--address", f"http://127.0.0.1:{api_port}"]
    with short_folder() as temporary, (folder / "head.log").open("wb") as log:
        head = subprocess.Popen([*command, f"--temp-dir={temporary}"], env=own, stdout=log, stderr=log, start_new_session=True)

        def examined() -> "subprocess.CompletedProcess[str] | None":
            assert head.poll() is None, (folder / "head.log").read_text()
            done = subprocess.run(doctor, env=own, capture_output=True, text=True, timeout=120, check=False)
            return None if "error" in done.stderr else done

        try:
            done = wait_for("the cluster's answer", examined)
        finally:
            end_tree(head)
    assert done.returncode == 1
    assert re.search(r"dashboard +│ FAULT │ takes jobs from anybody who reaches it", done.stdout)
    assert re.search(r"nodes +│ FAULT │ RAY_AUTH_MODE is not token", done.stdout)


def test_nobody_at_home_is_one_line(folder, client):
    command = [sys.executable, "-m", "mer_ray.cli", "jobs", "ls", "--address", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)

    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "no cluster answers there" in line
