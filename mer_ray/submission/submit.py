"""The verb `submit`: a job file -> a job on a cluster, refused here where it could not work there."""

import os
import platform
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mer_ray.core.config import digest_of
from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.submission.inspection import Inspection, inspect_cluster
from mer_ray.submission.places import refuse_unseen, shipped_files
from mer_ray.submission.ray_jobs import ClusterJobs, SentJob, new_job_id
from mer_ray.submission.shipment import Shipment, pack, place_of
from mer_ray.workflow.job import load_job

# What the metadata of a job say of its resolved steps and the folder that it runs in.
DIGEST = "digest"


def submit(path: Path, overrides: Sequence[str], address: str | None, shared: Sequence[Path], announce: Callable[[str], None]) -> SentJob:
    """Check the job, its places and the cluster's versions, in this order, and send it; nothing is sent before all is well.

    Raises:
        ConfigError: the job is not well formed, names places that the cluster does not see, or is too large.
        ClusterError: the cluster does not answer, refuses the token, has other versions, lacks a shared folder, or is at the same job.

    """
    job = load_job(path, list(overrides))
    roots = [_check_shared(folder) for folder in shared]
    refuse_unseen(job, roots)
    here = Path.cwd()
    shipment = pack(shipped_files(job), here)
    jobs = ClusterJobs(address)
    check_cluster(jobs, inspect_cluster(jobs, roots, look_at_nodes=False))
    if jobs.is_open:
        announce(f"WARNING: {jobs.address} takes jobs from anybody who reaches it; start the cluster with RAY_AUTH_MODE=token")
    folder = _folder_there(here, roots)
    digest = digest_of([job.to_yaml(), str(folder)])
    _refuse_twin(jobs, digest)
    sent = SentJob(jobs, new_job_id(path.stem))
    announce(f"sending {_say(shipment)} to {jobs.address} as job {sent.job_id}")
    with tempfile.TemporaryDirectory(prefix="mer-ray-") as name:
        shipment.write(Path(name))
        try:
            entrypoint = _entrypoint(place_of(path, here), overrides, folder)
            jobs.submit(sent.job_id, entrypoint, Path(name), {"job": str(path), DIGEST: digest})
        except (KeyboardInterrupt, ClusterError):
            announce(f"job {sent.job_id} may have been sent. {sent.how_to_come_back()}")
            raise
    return sent


def _refuse_twin(jobs: ClusterJobs, digest: str) -> None:
    """Two that resolve to the same steps would write the same folders at once."""
    for job in jobs.list():
        if (job.metadata or {}).get(DIGEST) == digest and not job.status.is_terminal() and job.submission_id:
            twin = SentJob(jobs, job.submission_id)
            raise ClusterError(f"{jobs.address}: job {twin.job_id} does the same and has not ended. {twin.how_to_come_back()}")


def check_cluster(jobs: ClusterJobs, found: Inspection) -> None:
    """Refuse a cluster whose Python differs, or that lacks a shared folder.

    Raises:
        ClusterError: says which.

    """
    there, here = found.versions["python"], platform.python_version()
    if there.split(".")[:2] != here.split(".")[:2]:
        raise ClusterError(f"{jobs.address}: runs Python {there}, here is {here}; use the same minor version on both")
    for folder, fault in found.shared.items():
        if fault is not None:
            raise ClusterError(f"--shared {folder}: {jobs.address} cannot write there ({fault}); mount it on all machines at this path")


def _check_shared(folder: Path) -> Path:
    found = Path(os.path.abspath(folder))
    if found == Path(found.anchor):
        raise ConfigError(f"--shared {folder}: the whole file system is not shared; name the folder that all machines mount")
    return found


def _folder_there(here: Path, shared: Sequence[Path]) -> Path | None:
    """The same folder as all machines name it, where they have it."""
    for root in shared:
        real = Path(os.path.realpath(root))
        if here.is_relative_to(real):
            return root / here.relative_to(real)
    return None


def _entrypoint(place: Path, overrides: Sequence[str], folder: Path | None) -> str:
    """The same command as here, by the project that was sent, in the same folder where all machines have it."""
    words = " ".join(shlex.quote(word) for word in overrides)
    there = "" if folder is None else f"cd {shlex.quote(str(folder))} && "
    command = f'exec python -P -m mer_ray.cli run "$MER_RAY_JOB"/{shlex.quote(str(place))} {words}'.rstrip()
    return f'export MER_RAY_JOB="$PWD" PYTHONPATH="$PWD${{PYTHONPATH:+:$PYTHONPATH}}"; {there}{command}'


def _say(shipment: Shipment) -> str:
    return f"{len(shipment.files)} files, {shipment.num_bytes / 1e6:.1f} MB"
