"""Which encoders there are, with the published weights that the recipes and the field use, and whether these are here."""

import re
import typing
from pathlib import Path

import huggingface_hub

from mer_ray.core.media_types import MODALITIES, AudioFormat, FrameFormat, Modality, TextFormat
from mer_ray.core.table import Table
from mer_ray.encoders import AnyEncoder, EncoderConfig, PluginEncoderConfig
from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._weights import CONFIG_FILE, weight_files

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODALITY_OF_FORMAT: dict[type, Modality] = {AudioFormat: "audio", FrameFormat: "vision", TextFormat: "text"}
COLUMNS = ("encoder", "reads", "weights", "M params", "dim", "layers", "here")
LICENCE_COLUMNS = ("weights", "licence", "source")


def list_encoders() -> list[Table]:
    """A row per encoder and published checkpoint, and one on the licence and source of each.

    `here` tells whether the Hugging Face cache of this machine holds the weights; `dim` and `layers` are those of the network.
    """
    encoders: list[tuple[object, ...]] = []
    licences: list[tuple[object, ...]] = []
    by_modality = sorted(encoder_classes(), key=lambda config_class: MODALITIES.index(_modality(config_class)))
    for config_class in by_modality:
        name, modality = config_class.model_fields["name"].default, _modality(config_class)
        encoders += [(name, modality, *_sizes(checkpoint)) for checkpoint in config_class.checkpoints]
        licences += [(checkpoint.weights, checkpoint.licence, checkpoint.source) for checkpoint in config_class.checkpoints]
        if not config_class.checkpoints:
            encoders.append((name, modality, "none needed", None, None, None, "yes"))
    notes = (
        "Other checkpoints of the same families work too: `weights` in a config is a hub id, or a folder or file.",
        "`mer-ray encoders fetch JOB.yaml --to DIR` collects a job's; `mer-ray encoders convert FILE` makes safetensors of an old file.",
    )
    return [Table("Licences of the weights", LICENCE_COLUMNS, tuple(licences)), Table("Encoders", COLUMNS, tuple(encoders), notes)]


def encoder_classes() -> tuple[type[EncoderConfig], ...]:
    """The encoders of the package, in the order of the union."""
    members = typing.get_args(typing.get_args(AnyEncoder)[0])
    return tuple(member for member in members if not issubclass(member, PluginEncoderConfig))


def is_cached(weights: str) -> bool:
    """Whether the Hugging Face cache of this machine has a checkpoint's tensors; nothing is contacted."""
    if not HUB_ID.fullmatch(weights):
        return False
    config = huggingface_hub.try_to_load_from_cache(weights, CONFIG_FILE)
    return isinstance(config, str) and bool(weight_files(Path(config).parent))


def _sizes(checkpoint: Checkpoint) -> tuple[object, ...]:
    # A file that some site offers has no place of its own on this machine.
    here = ("yes" if is_cached(checkpoint.weights) else "no") if HUB_ID.fullmatch(checkpoint.weights) else "a file"
    return (checkpoint.weights, round(checkpoint.num_parameters / 1e6), checkpoint.dim, checkpoint.num_layers, here)


def _modality(config_class: type[EncoderConfig]) -> Modality:
    getter = typing.cast(property, config_class.input_format).fget
    return MODALITY_OF_FORMAT[typing.get_type_hints(getter)["return"]]
