"""What groups of workers that died held of the cluster, given back.

Ray keeps the placement group of a dead actor until the driver ends. Ray Train's own cleaner asks the dashboard, which may not be there,
finds none where two Rays run on a machine, and knows of no group that died while it started.
"""

from contextlib import AbstractContextManager

import ray
from ray._private.state import state
from ray._raylet import ActorID, PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.util.placement_group import PlacementGroup, remove_placement_group

from mer_ray.core.repeating import repeated

WATCH_INTERVAL_S = 2.0


def leftovers_freed() -> AbstractContextManager[None]:
    """Free, every few seconds while the block runs."""
    return repeated(free_leftovers, WATCH_INTERVAL_S)


def free_leftovers() -> None:
    """Remove the placement groups of this driver's dead actors."""
    job = bytes.fromhex(ray.get_runtime_context().get_job_id())
    # Ray's public table does not say whose a group is.
    for line in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(line)
        # The driver's own, those of trials, count as of a dead actor without a name.
        is_of_dead = group.creator_actor_dead and not ActorID(group.creator_actor_id).is_nil()
        if group.creator_job_id == job and is_of_dead and group.state != PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
