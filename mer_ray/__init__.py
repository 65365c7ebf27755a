"""mer_ray: emotion recognition from video, audio and text on a laptop or a Ray cluster.

From Python: `run` a job file, `open_store` for its features, `load_bundle` to predict. What they need is loaded when they are called,
so that the command line answers at once.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_ray.core.table import Table
    from mer_ray.prediction.recogniser import Recogniser
    from mer_ray.store.feature_store import FeatureStore

# OpenMP reads this when torch is loaded. Spinning threads made training on a busy 2-core machine 50 times slower than sleeping ones.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["__version__", "load_bundle", "open_store", "run"]


def run(job: str | Path, overrides: Mapping[str, Any] | None = None) -> "list[Table]":
    """Run a job file as `mer-ray run` does, e.g. `run("jobs/demo.yaml", {"vars.out": "out/demo"})`; gives the tables of the steps that ran.

    Raises:
        MerRayError: what the command line would show.

    """
    from mer_ray.workflow.job import load_job
    from mer_ray.workflow.runner import run_job

    words = [f"{key}={json.dumps(value, default=str)}" for key, value in (overrides or {}).items()]
    results = run_job(load_job(Path(job), words), announce=lambda text: None, show=lambda result: None)
    return [table for result in results for table in result.tables]


def open_store(place: str | Path) -> "FeatureStore":
    """Open a feature store, a folder or `s3://bucket/prefix`, to look at it and to read features as arrays.

    Raises:
        StoreError: no place for a store.

    """
    from mer_ray.store.feature_store import FeatureStore
    from mer_ray.store.layout import open_store as open_place

    return FeatureStore(open_place(place))


def load_bundle(
    folder: str | Path, device: str = "auto", weights: Mapping[str, str] | None = None, allow_plugins: bool = False
) -> "Recogniser":
    """Load a bundle that predicts files, without Ray: `load_bundle("runs/fused/bundle").predict(["clip.mp4"])`.

    `weights` says where an encoder's weights lie on this machine, by its name (the face detector's file: `faces`); `allow_plugins` lets
    Python files in the bundle run.

    Raises:
        RunError: no bundle, or a damaged one.
        ConfigError: a plug-in that was not allowed to run.

    """
    from mer_ray.prediction.recogniser import open_bundle

    return open_bundle(folder, device, weights, allow_plugins)
