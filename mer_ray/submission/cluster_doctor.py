"""`mer-ray doctor --address`: whether a cluster is closed, of one version, and has storage that all its machines see."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from mer_ray.core.counting import say_count
from mer_ray.core.table import Table
from mer_ray.submission.inspection import PACKAGES, Inspection, inspect_cluster
from mer_ray.submission.ray_jobs import ClusterJobs

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WELL, FAULT = "well", "FAULT"
Finding = tuple[str, str, bool]


def examine(address: str | None, shared: Sequence[Path], store: str | None) -> tuple[Table, bool]:
    """A row per question, and whether all is well.

    Raises:
        ClusterError: the cluster cannot be asked.

    """
    jobs = ClusterJobs(address)
    buckets = [store] if store is not None and "://" in store else []
    found = inspect_cluster(jobs, [Path(os.path.abspath(folder)) for folder in shared], look_at_nodes=True, buckets=buckets)
    findings = [*_closed(jobs, found), *_versions(found), *_storage(found, [*map(os.path.abspath, shared), *buckets]), _machines(found)]
    rows = tuple((what, WELL if is_well else FAULT, said) for what, said, is_well in findings)
    return Table(f"Cluster at {jobs.address}", ("what", "", "found"), rows), all(is_well for _, _, is_well in findings)


def _closed(jobs: ClusterJobs, found: Inspection) -> Iterator[Finding]:
    if jobs.is_open:
        yield "dashboard", "takes jobs from anybody who reaches it; start every node with RAY_AUTH_MODE=token", False
    else:
        yield "dashboard", "wants a token", True
    parts = urlsplit(jobs.address)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        advice = "listen on 127.0.0.1 (--dashboard-host) and come through a tunnel, or put TLS before it"
        yield "way there", f"{parts.hostname} answers from other machines, and the token travels in clear; {advice}", False
    else:
        yield "way there", "loopback or TLS", True
    if found.auth_mode == "token":
        yield "nodes", "token authentication is on where drivers run", True
    else:
        yield "nodes", "RAY_AUTH_MODE is not token where drivers run: any process that reaches the head's port can run code", False


def _versions(found: Inspection) -> Iterator[Finding]:
    here = {"python": platform.python_version()} | {name: _version_here(name) for name in PACKAGES}
    for name, mine in here.items():
        others = {node: seen["versions"][name] for node, seen in found.nodes.items() if seen["versions"][name] != mine}
        if others:
            shown = ", ".join(f"{theirs} on {node}" for node, theirs in others.items())
            yield name, f"{mine} here, {shown}; install the same everywhere (constraints.txt)", False
    if all(seen["versions"] == here for seen in found.nodes.values()):
        yield (
            "versions",
            f"the same on {say_count(len(found.nodes), 'node')} as here: {', '.join(f'{name} {number}' for name, number in here.items())}",
            True,
        )


def _version_here(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _storage(found: Inspection, places: Sequence[str]) -> Iterator[Finding]:
    if not places:
        yield "storage", "none is named that all machines see; name it: --shared FOLDER or --store s3://...", False
    for place in places:
        faults = {node: seen["shared"][place] for node, seen in found.nodes.items() if seen["shared"][place] is not None}
        is_bucket = "://" in place
        if faults:
            shown = ", ".join(f"{node}: {fault}" for node, fault in faults.items())
            advice = "give all machines the bucket's name and the right to it" if is_bucket else "mount it on all machines at this path"
            yield "storage", f"{place} cannot be {'seen' if is_bucket else 'written'} on {shown}; {advice}", False
        else:
            yield "storage", f"{place} can be {'seen' if is_bucket else 'written'} on {say_count(len(found.nodes), 'node')}", True


def _machines(found: Inspection) -> Finding:
    there = found.resources
    limit = f"; grows to {found.autoscales_to}" if found.autoscales_to else ""
    return "machines", f"{say_count(len(found.nodes), 'node')}, {there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs{limit}", True
