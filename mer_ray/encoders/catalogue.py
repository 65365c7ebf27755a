"""Which encoders there are, with the published weights that the recipes and the field use, and whether these are here."""

import re
import typing
from pathlib import Path

import huggingface_hub

from mer_ray.core.media_types import AudioFormat, FrameFormat, Modality, TextFormat
from mer_ray.core.table import Table
from mer_ray.encoders import AnyEncoder, EncoderConfig
from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._weights import CONFIG_FILE, weight_files

HUB = "https://huggingface.co"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODALITY_OF_FORMAT: dict[type, Modality] = {AudioFormat: "audio", FrameFormat: "vision", TextFormat: "text"}
COLUMNS = ("encoder", "reads", "weights", "million parameters", "dim", "layers", "licence", "source", "here")


def list_encoders() -> Table:
    """One row per encoder and published checkpoint; `here` tells whether the Hugging Face cache of this machine holds it."""
    rows: list[tuple[object, ...]] = []
    for config_class in encoder_classes():
        name, modality = config_class.model_fields["name"].default, _modality(config_class)
        rows += [(name, modality, *_row(checkpoint)) for checkpoint in config_class.checkpoints]
        if not config_class.checkpoints:
            rows.append((name, modality, "none needed", None, None, None, "Apache-2.0", "mer_ray", "yes"))
    order = list(MODALITY_OF_FORMAT.values())
    rows.sort(key=lambda row: order.index(row[1]))  # type: ignore[arg-type]
    notes = (
        "Other checkpoints of the same families work too.",
        "weights: FOLDER in a config takes files that lie elsewhere; `mer-ray encoders fetch JOB.yaml --to DIR` collects a job's.",
    )
    return Table("Encoders", COLUMNS, tuple(rows), notes)


def encoder_classes() -> tuple[type[EncoderConfig], ...]:
    """The members of the union, in its order."""
    return typing.get_args(typing.get_args(AnyEncoder)[0])


def is_cached(weights: str) -> bool:
    """Whether the Hugging Face cache of this machine has a checkpoint's tensors; nothing is contacted."""
    if not HUB_ID.fullmatch(weights):
        return False
    config = huggingface_hub.try_to_load_from_cache(weights, CONFIG_FILE)
    return isinstance(config, str) and bool(weight_files(Path(config).parent))


def _row(checkpoint: Checkpoint) -> tuple[object, ...]:
    # A file that some site offers has no place of its own on this machine.
    here = ("yes" if is_cached(checkpoint.weights) else "no") if HUB_ID.fullmatch(checkpoint.weights) else "a file"
    source = "the hub" if checkpoint.source == f"{HUB}/{checkpoint.weights}" else checkpoint.source
    millions = round(checkpoint.num_parameters / 1e6)
    return (checkpoint.weights, millions, checkpoint.dim, checkpoint.num_layers, checkpoint.licence, source, here)


def _modality(config_class: type[EncoderConfig]) -> Modality:
    getter = config_class.input_format.fget  # type: ignore[attr-defined]
    return MODALITY_OF_FORMAT[typing.get_type_hints(getter)["return"]]
