"""Which encoders share an actor: as many as fit into its memory; the rest follows in passes of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from mer_ray.core.errors import ClusterError
from mer_ray.encoders import EncoderConfig, network_key
from mer_ray.extraction.layout import GB

# What one forward pass of a full batch takes beside the weights: all hidden states of 240 s of sound in a network of 24 layers
# on a GPU, of 20 s on a CPU.
WORKING_BYTES = {"cuda": 3e9, "cpu": 0.4e9}
# A process with its libraries, and the arrays of decoded shards.
PROCESS_BYTES = 0.6e9


@dataclass(frozen=True)
class Pass:
    """Encoder keys that one actor holds together, and the memory they take in bytes."""

    keys: tuple[str, ...]
    num_bytes: float


def needed_bytes(encoders: Mapping[str, EncoderConfig], device: str) -> float:
    """The memory of an actor that holds all of these: their weights, and the largest forward pass; on a CPU also its process.

    Encoders that differ in their degradation alone share their weights.
    """
    networks = {network_key(encoder): encoder for encoder in encoders.values()}
    weights = [encoder.num_weight_bytes() for encoder in networks.values()]
    return sum(weights) + any(weights) * WORKING_BYTES[device] + (PROCESS_BYTES if device == "cpu" else 0.0)


def largest_bytes(encoders: Mapping[str, EncoderConfig]) -> float:
    """The memory of a CPU actor that can hold the largest encoder alone."""
    return max(needed_bytes({key: encoder}, "cpu") for key, encoder in encoders.items())


def choose_passes(encoders: Mapping[str, EncoderConfig], device: str, actor_bytes: float) -> list[Pass]:
    """The fewest passes that first-fit finds, large encoders first; each pass decodes the clips once.

    Raises:
        ClusterError: an encoder does not fit alone.

    """
    passes: list[dict[str, EncoderConfig]] = []
    for key in sorted(encoders, key=lambda key: -encoders[key].num_weight_bytes()):
        alone = needed_bytes({key: encoders[key]}, device)
        if alone > actor_bytes and not encoders[key].spreads_over_gpus:
            raise ClusterError(
                f"encoder {key}: needs about {alone / GB:.1f} GB, an actor has {actor_bytes / GB:.1f} GB; take machines with more memory, "
                "fewer actors (num_actors), or set actor_memory_gb if you know better"
            )
        fitting = (group for group in passes if needed_bytes(group | {key: encoders[key]}, device) <= actor_bytes)
        group = next(fitting, None)
        if group is None:
            group = {}
            passes.append(group)
        group[key] = encoders[key]
    # In the order of the job, so that a reader finds the encoders where they were written.
    order = list(encoders)
    return [Pass(tuple(sorted(group, key=order.index)), needed_bytes(group, device)) for group in passes]
