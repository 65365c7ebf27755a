"""How machines are used: encoder actors, their share of a GPU, and decode tasks of a stage of their own."""

import math
from dataclasses import dataclass

from mer_ray.core.errors import ClusterError
from mer_ray.extraction.config import ExtractConfig


@dataclass(frozen=True)
class Machines:
    """What there is to use: CPU cores, GPUs, bytes of memory, and bytes of one GPU's memory (None: not known)."""

    num_cpus: int
    num_gpus: float
    memory_bytes: float
    gpu_bytes: float | None = None


@dataclass(frozen=True)
class Layout:
    """`num_decode_tasks` 0: actors decode what they encode."""

    num_actors: int
    gpus_per_actor: float
    num_decode_tasks: int
    device: str

    @property
    def num_gpus(self) -> float:
        """GPUs that the actors hold."""
        return self.num_actors * self.gpus_per_actor


def choose_layout(config: ExtractConfig, machines: Machines) -> Layout:
    """One actor per GPU, else one per CPU core; a decode stage on the spare cores of GPU machines.

    Raises:
        ClusterError: the config asks for more GPUs or CPUs than there are.

    """
    num_cpus, num_gpus = machines.num_cpus, machines.num_gpus
    gpus_per_actor = config.gpus_per_actor if config.gpus_per_actor is not None else float(num_gpus > 0)
    if gpus_per_actor > num_gpus:
        raise ClusterError(
            f"gpus_per_actor: {gpus_per_actor:g} GPUs asked for, the cluster has {num_gpus:g}; set gpus_per_actor=0 for CPUs"
        )
    ahead = config.decode == "ahead" or (config.decode == "auto" and gpus_per_actor > 0)
    fitting = math.floor(num_gpus / gpus_per_actor) if gpus_per_actor > 0 else num_cpus - int(ahead)
    num_actors = config.num_actors or max(1, min(fitting, num_cpus - int(ahead)))
    num_decode_tasks = max(1, num_cpus - num_actors) if ahead else 0
    if num_actors + int(ahead) > num_cpus or num_actors > max(fitting, 1):
        raise ClusterError(
            f"num_actors: {num_actors} do not fit on {num_cpus} CPUs and {num_gpus:g} GPUs; set num_actors={max(1, fitting)} or less"
        )
    device = config.device if config.device != "auto" else "cuda" if gpus_per_actor else "cpu"
    return Layout(num_actors, gpus_per_actor, num_decode_tasks, device)


def actor_bytes(config: ExtractConfig, machines: Machines, layout: Layout) -> float:
    """The memory that the encoders of one actor may take.

    Raises:
        ClusterError: the GPU's memory is not known and not configured.

    """
    if config.actor_memory_gb is not None:
        return config.actor_memory_gb * 1e9
    if layout.device == "cpu":
        return machines.memory_bytes / layout.num_actors
    if machines.gpu_bytes is None:
        raise ClusterError("actor_memory_gb: the memory of the GPUs is not known here; set it to what one actor may use")
    return machines.gpu_bytes * min(layout.gpus_per_actor, 1.0)


def cap_decoding(layout: Layout, decode_s: float, encode_s: float) -> Layout:
    """As many decode tasks as keep the actors busy, by the measured seconds per clip of both stages; the rest of the cores stays free.

    More would only fill the memory with decoded shards.
    """
    if not layout.num_decode_tasks or encode_s <= 0:
        return layout
    needed = math.ceil(1.25 * layout.num_actors * decode_s / encode_s)
    return Layout(layout.num_actors, layout.gpus_per_actor, max(1, min(layout.num_decode_tasks, needed)), layout.device)
