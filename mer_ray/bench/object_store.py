"""What media and a store on S3 cost beside local ones."""

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mer_ray.bench.clips import NUM_CLIPS, clip_paths, make_corpus, scan
from mer_ray.bench.command import changed_environment
from mer_ray.bench.extraction import extract_s
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.errors import RunError
from mer_ray.core.s3 import s3_filesystem

ROUNDS = 5
BUCKET = "bench"


def measure_object_store() -> list[Figure]:
    """`extract.s3_over_local`: the same extraction with media and store on an S3 server process on loopback, and in folders."""
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name)):
        folder = Path(name)
        make_corpus(folder, num_cores())
        filesystem = s3_filesystem()
        filesystem.mkdir(BUCKET)
        for path in clip_paths(folder):
            filesystem.put_file(path, f"{BUCKET}/clips/{Path(path).name}")
        scan(f"s3://{BUCKET}/clips", folder / "remote.parquet")
        seen: dict[str, list[float]] = {"local": [], "remote": []}
        for round_ in range(ROUNDS):
            for side in ("local", "remote") if round_ % 2 == 0 else ("remote", "local"):
                manifest = folder / ("remote.parquet" if side == "remote" else "manifest.parquet")
                stores = f"s3://{BUCKET}/stores" if side == "remote" else f"{folder}/stores"
                seen[side].append(extract_s(manifest, folder, stores)[0])
    local_s, remote_s = (statistics.median(seen[side]) for side in ("local", "remote"))
    note = f"{NUM_CLIPS} clips, media and store on S3, whose server shares the {num_cores()} cores; local {local_s:.1f} s"
    return [Figure("extract.s3_over_local", remote_s / local_s, "ratio", "lower", 1.15, note)]


@contextmanager
def s3_server(folder: Path) -> Iterator[None]:
    """A moto server on a free port of loopback, which the environment names for the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (folder / "s3.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own interpreter
        try:
            _wait(url, server)
            with changed_environment(environment):
                yield
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RunError("bench: the S3 server (moto) does not start; install the dev dependencies with `make setup`")
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - loopback
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise RunError("bench: the S3 server (moto) did not answer within 30 s")
