"""Looking at a cluster from the inside: a job of one file that says what it finds there."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.job_submission import JobDetails

from mer_ray.core.errors import ClusterError
from mer_ray.submission import inspected
from mer_ray.submission.ray_jobs import INSPECTION, ClusterJobs, new_job_id

# Whose versions decide what is computed.
PACKAGES = ("ray", "torch", "torchaudio", "transformers", "pyarrow", "av", "optuna")
MARK = "mer-ray inspection: "
TIMEOUT_S = 180.0
POLL_INTERVAL_S = 0.3


@dataclass(frozen=True)
class Inspection:
    """Versions by package, why each folder or bucket cannot be used (None: it can), the mode of authentication; `nodes` alike by node."""

    versions: Mapping[str, str]
    shared: Mapping[str, str | None]
    auth_mode: str
    autoscales_to: str
    nodes: Mapping[str, Any]
    resources: Mapping[str, float]


def inspect_cluster(jobs: ClusterJobs, shared: Sequence[Path], look_at_nodes: bool, buckets: Sequence[str] = ()) -> Inspection:
    """Ask the machine that drivers run on, and with `look_at_nodes` every other, for folders and the buckets of URLs.

    Raises:
        ClusterError: the cluster does not run the question to its end.

    """
    asked = {"packages": list(PACKAGES), "shared": [str(folder) for folder in shared], "buckets": list(buckets), "nodes": look_at_nodes}
    script = Path(inspected.__file__).read_text(encoding="utf-8")
    job_id = new_job_id(INSPECTION)
    try:
        jobs.submit(job_id, f"python -c {shlex.quote(script)} {shlex.quote(json.dumps(asked))}", None, {INSPECTION: "yes"})
        details = _wait_for_end(jobs, job_id)
    except KeyboardInterrupt:
        with suppress(ClusterError):
            jobs.stop(job_id)
        raise
    printed = [line for line in jobs.logs(job_id).splitlines() if line.strip()]
    lines = [line.removeprefix(MARK) for line in printed if line.startswith(MARK)]
    if not lines:
        reason = printed[-1] if printed else (details.message or "").split("\n")[0]
        raise ClusterError(f"{jobs.address}: cannot look at the cluster: the inspection {job_id} {details.status.value.lower()}: {reason}")
    return Inspection(**{"nodes": {}, "resources": {}, **json.loads(lines[-1])})


def _wait_for_end(jobs: ClusterJobs, job_id: str) -> JobDetails:
    began_s = time.monotonic()
    while not (details := jobs.status(job_id)).status.is_terminal():
        if time.monotonic() - began_s > TIMEOUT_S:
            jobs.stop(job_id)
            raise ClusterError(f"{jobs.address}: does not run jobs: the inspection {job_id} has not ended after {TIMEOUT_S:g} s")
        time.sleep(POLL_INTERVAL_S)
    return details
