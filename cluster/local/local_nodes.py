"""Nodes of a local cluster, each with a folder of its own for what jobs bring along."""

import secrets
from functools import partial
from typing import Any
from unittest import mock

from ray._private import parameter
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class LocalNodeProvider(FakeMultiNodeProvider):
    """Ray's nodes on one machine share their folders.

    A node that comes would unpack a job's files anew where workers of the others stand, and a process whose folder is gone cannot load
    oneMKL: it dies with "Cannot load libtorch_cpu.so".
    """

    def _create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        own = partial(parameter.RayParams, runtime_env_dir_name=f"runtime_resources_{secrets.token_hex(4)}")
        with self.lock, mock.patch.object(parameter, "RayParams", own):
            super()._create_node_with_resources_and_labels(*arguments)
