"""Which Ray cluster is meant; without Ray itself, which takes seconds to load."""

import os

ADDRESS_VARIABLE = "RAY_ADDRESS"


def is_on_cluster() -> bool:
    """Whether work belongs to a cluster, and not to this process."""
    return bool(os.environ.get(ADDRESS_VARIABLE))
