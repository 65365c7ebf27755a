"""Run on a cluster, by its own Python, from this text alone: says what the cluster is, as a line of JSON.

argv[1]: {"packages": [...], "shared": [folders], "buckets": [URLs], "nodes": whether to look at every node}. Nothing beside Python is
needed but Ray, for `nodes` only, and fsspec, for `buckets` only.
"""

import importlib.metadata
import json
import logging
import os
import platform
import sys
import tempfile
from typing import Any


def look(packages: list[str], shared: list[str], buckets: list[str]) -> dict[str, Any]:
    """Versions on the machine where it runs, and why folders and buckets cannot be used."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    faults = {folder: fault_of(folder) for folder in shared} | {url: fault_of_bucket(url) for url in buckets}
    return {"versions": versions, "shared": faults}


def fault_of(folder: str) -> str | None:
    """Why a folder cannot be used; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror


def fault_of_bucket(url: str) -> str | None:
    """Why the bucket of a URL cannot be listed; None where it can."""
    import fsspec
    from botocore.exceptions import BotoCoreError

    try:
        files, path = fsspec.core.url_to_fs(url)
        return None if files.exists(path.split("/")[0]) else "no such bucket, or no right to see it"
    except (OSError, ValueError, ImportError, BotoCoreError) as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]


def look_at_nodes(packages: list[str], shared: list[str], buckets: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """`look` on every node that is there, by its address."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    task = ray.remote(num_cpus=0)(look)
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            # Nodes of a cluster on one machine share their address, and the beginning of their ids.
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][-8:]})"
            asked[name] = task.options(scheduling_strategy=there).remote(packages, shared, buckets)
    return {name: ray.get(reference) for name, reference in asked.items()}, ray.cluster_resources()


def main() -> None:
    """Look, and print."""
    asked = json.loads(sys.argv[1])
    said = look(asked["packages"], asked["shared"], asked["buckets"])
    said["auth_mode"] = os.environ.get("RAY_AUTH_MODE", "")
    said["autoscales_to"] = os.environ.get("MER_RAY_AUTOSCALES_TO", "")
    if asked["nodes"]:
        said["nodes"], said["resources"] = look_at_nodes(asked["packages"], asked["shared"], asked["buckets"])
    sys.stdout.write("mer-ray inspection: " + json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
