"""How machines are used: encoder actors, their share of a GPU, and decode tasks of a stage of their own."""

import math
from dataclasses import dataclass, replace

from mer_ray.core.errors import ClusterError
from mer_ray.extraction.config import ExtractConfig

GB = 1e9
# One call computes while another fetches its media or publishes its parts.
CALLS_PER_ACTOR = 2


@dataclass(frozen=True)
class Machines:
    """What there is to use: CPU cores, GPUs, bytes of memory, and bytes of one GPU's memory (None: not known).

    `largest_cpus`: the cores of the largest machine, as far as known; more of them one actor cannot have.
    """

    num_cpus: int
    num_gpus: float
    memory_bytes: float
    gpu_bytes: float | None = None
    largest_cpus: int | None = None


@dataclass(frozen=True)
class Layout:
    """`num_decode_tasks` 0: actors decode what they encode. `threads_per_actor` are the cores that one actor computes on."""

    num_actors: int
    gpus_per_actor: float
    num_decode_tasks: int
    device: str
    threads_per_actor: int = 1

    @property
    def num_gpus(self) -> float:
        """GPUs that the actors hold."""
        return self.num_actors * self.gpus_per_actor

    @property
    def num_fetchers(self) -> int:
        """Shards whose remote media may lie on the machines at once."""
        return self.num_decode_tasks or CALLS_PER_ACTOR * self.num_actors


def choose_layout(config: ExtractConfig, machines: Machines, actor_bytes: float = 0.0) -> Layout:
    """One actor per GPU, else one per CPU core or fewer, so that each has `actor_bytes` of memory; spare cores of GPU machines decode.

    Raises:
        ClusterError: the config asks for more GPUs or CPUs than there are, or for a device that is not there.

    """
    num_cpus, num_gpus = machines.num_cpus, machines.num_gpus
    gpus_per_actor = _gpus_per_actor(config, machines)
    if gpus_per_actor:
        # Shares of a GPU do not reach over two.
        fitting = math.floor(1 / gpus_per_actor) * math.floor(num_gpus) if gpus_per_actor < 1 else math.floor(num_gpus / gpus_per_actor)
    else:
        by_memory = math.floor(machines.memory_bytes / actor_bytes) if actor_bytes else num_cpus
        fitting = min(num_cpus, max(1, by_memory))
    wants_stage = config.decode == "ahead" or (config.decode == "auto" and gpus_per_actor > 0)
    if config.decode == "auto" and min(config.num_actors or fitting, fitting) >= num_cpus:
        # No core is left to decode ahead.
        wants_stage = False
    room = min(fitting, num_cpus - int(wants_stage))
    num_actors = config.num_actors or room
    if room < 1 or num_actors > room:
        needed = " beside a core that decodes ahead" if wants_stage else ""
        raise ClusterError(
            f"num_actors: {max(1, num_actors)} do not fit on {num_cpus} CPUs and {num_gpus:g} GPUs{needed}; "
            + (f"set num_actors={room} or less" if room >= 1 else "set decode=in_actor")
        )
    num_decode_tasks = num_cpus - num_actors if wants_stage else 0
    device = config.device if config.device != "auto" else "cuda" if gpus_per_actor else "cpu"
    threads = max(1, num_cpus // num_actors) if device == "cpu" and not num_decode_tasks else 1
    if machines.largest_cpus is not None:
        threads = min(threads, max(1, machines.largest_cpus))
    return Layout(num_actors, gpus_per_actor, num_decode_tasks, device, threads)


def _gpus_per_actor(config: ExtractConfig, machines: Machines) -> float:
    wanted = config.gpus_per_actor
    if wanted is None:
        wanted = float(machines.num_gpus > 0 and config.device != "cpu")
    if config.device == "cuda" and not wanted:
        raise ClusterError(f"device: cuda needs a GPU for each actor, the cluster has {machines.num_gpus:g}; set device=cpu, or add GPUs")
    if config.budget.usd is not None and not wanted:
        raise ClusterError(f"budget.usd: bounds what GPUs cost; there are {machines.num_gpus:g}, and the run uses none; set budget.hours")
    if wanted > machines.num_gpus:
        raise ClusterError(
            f"gpus_per_actor: {wanted:g} GPUs asked for, the cluster has {machines.num_gpus:g}; set gpus_per_actor=0 for CPUs"
        )
    if wanted > 1 and not wanted.is_integer():
        raise ClusterError(f"gpus_per_actor: {wanted:g} is neither a share of one GPU nor a whole number; set 0.5, 1 or 2, say")
    return wanted


def actor_bytes(config: ExtractConfig, machines: Machines, layout: Layout) -> float:
    """The memory that the encoders of one actor may take.

    Raises:
        ClusterError: the GPU's memory is not known and not configured.

    """
    if config.actor_memory_gb is not None:
        return config.actor_memory_gb * GB
    if layout.device == "cpu":
        return machines.memory_bytes / layout.num_actors
    if machines.gpu_bytes is None:
        raise ClusterError("actor_memory_gb: the memory of the GPUs is not known here; set it to what one actor may use")
    return machines.gpu_bytes * layout.gpus_per_actor


def cap_decoding(layout: Layout, decode_s: float, encode_s: float) -> Layout:
    """As many decode tasks as keep the actors busy, by the measured seconds per clip of both stages; the rest of the cores stays free.

    More would only fill the memory with decoded shards.
    """
    if not layout.num_decode_tasks or encode_s <= 0:
        return layout
    needed = math.ceil(1.25 * layout.num_actors * decode_s / encode_s)
    return replace(layout, num_decode_tasks=max(1, min(layout.num_decode_tasks, needed)))
