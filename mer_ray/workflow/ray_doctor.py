"""Whether the Ray cluster that RAY_ADDRESS names answers, takes our token, and runs our versions."""

import os
import platform

import ray

from mer_ray.core.cluster_address import ADDRESS_VARIABLE
from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_session import ray_session

Row = tuple[str, str, str]


def examine_cluster() -> tuple[list[Row], bool]:
    """Rows for the doctor's table, and whether the cluster, if one is named, is usable."""
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address:
        return [("cluster", "Ray", f"{ADDRESS_VARIABLE} is not set: commands start a local Ray of their own")], True
    try:
        with ray_session():
            resources = ray.cluster_resources()
            remote = ray.get(ray.remote(_versions).remote())
    except ClusterError as error:
        return [("cluster", "Ray", str(error))], False
    rows = [
        ("cluster", "Ray", f"answers at {address}"),
        ("cluster", "authentication", _authentication()),
        (
            "cluster",
            "resources",
            f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs, {resources.get('memory', 0) / 2**30:.1f} GiB",
        ),
    ]
    here = _versions()
    differing = [f"{name} {remote[name]} there, {here[name]} here" for name in here if remote[name] != here[name]]
    rows.append(("cluster", "versions", "; ".join(differing) + ": install the same on all nodes" if differing else "the same as here"))
    return rows, not differing


def _versions() -> dict[str, str]:
    return {"ray": ray.__version__, "python": platform.python_version()}


def _authentication() -> str:
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return "token, accepted"
    return "none: anyone who reaches the cluster can run code on it; set RAY_AUTH_MODE=token on all nodes"
