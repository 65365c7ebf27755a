"""A bundle's fusion as one ONNX file: features in, probabilities and values out; the encoders stay outside.

Shapes: B clips, D feature dimension, C classes, V values.
"""

import itertools
import json
import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from mer_ray.core.errors import ConfigError
from mer_ray.core.table import Table
from mer_ray.prediction.bundle import Bundle, load_bundle
from mer_ray.prediction.bundle_network import BundleNetwork, GroupInputs

OPSET = 20
METADATA_KEY, INPUTS_KEY = "mer_ray", "mer_ray_inputs"


@dataclass(frozen=True)
class OnnxInput:
    """One stream as the file takes it: `name` float32 (B, D), `name/present` bool (B,); what it is made of."""

    name: str
    dim: int
    encoder: str
    layers: tuple[str, ...]
    statistics: tuple[str, ...]
    combine: str


class FlatNetwork(nn.Module):
    """A bundle's network with its inputs side by side; `streams_of_groups` has (number of the input, the group's name of the stream)."""

    def __init__(self, network: BundleNetwork, streams_of_groups: Sequence[Sequence[tuple[int, str]]]) -> None:
        super().__init__()
        self.network = network
        self.streams_of_groups = streams_of_groups

    def forward(self, streams: list[Tensor], present: list[Tensor]) -> tuple[Tensor, ...]:
        """Probabilities (B, C) and, where there are any, values (B, V)."""
        probs_BC, values_BV = self.network(
            [
                GroupInputs({name: streams[number] for number, name in group}, {name: present[number] for number, name in group})
                for group in self.streams_of_groups
            ]
        )
        return (probs_BC, values_BV) if self.network.predicts_values else (probs_BC,)


def export_onnx(folder: Path, out: Path, allow_plugins: bool = False) -> list[Table]:
    """Write the fusion of a bundle as ONNX; `bundle.json` and the meaning of each input travel in the file's metadata.

    Raises:
        RunError: no bundle.
        ConfigError: it normalises by speaker, which no network of single clips can do; it reads frames; or `out` is no `.onnx` file.

    """
    if out.suffix != ".onnx":
        raise ConfigError(f"out: {out}: the network is written as .onnx; name the file so")
    bundle = load_bundle(folder, "cpu", allow_plugins)
    if bundle.needs_speakers:
        raise ConfigError(
            f"{folder}: normalises by each speaker's own clips, which one network over single clips cannot; export another run"
        )
    frames = [stream.name for group in bundle.facts.groups for stream in group.streams if stream.is_sequence]
    if frames:
        raise ConfigError(f"{folder}: reads frames ({', '.join(frames)}); only bundles of pooled streams are exported: export another run")
    inputs, streams_of_groups = _inputs(bundle)
    network = FlatNetwork(bundle.network, streams_of_groups).eval()
    # Two clips: a batch of one would be taken for a constant.
    streams = [torch.zeros(2, one.dim) for one in inputs]
    present = [torch.ones(2, dtype=torch.bool) for _ in inputs]
    clips = torch.export.Dim("clips")
    with warnings.catch_warnings():
        # Of the exporter's own workings.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (streams, present),
            dynamo=True,
            opset_version=OPSET,
            input_names=[*(one.name for one in inputs), *(f"{one.name}/present" for one in inputs)],
            output_names=["probabilities", "values"] if bundle.facts.values else ["probabilities"],
            dynamic_shapes={"streams": [{0: clips}] * len(inputs), "present": [{0: clips}] * len(inputs)},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    meaning = json.dumps([asdict(one) for one in inputs])
    onnx.helper.set_model_props(model, {METADATA_KEY: bundle.facts.model_dump_json(), INPUTS_KEY: meaning})
    onnx.checker.check_model(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        onnx.save_model(model, temporary)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    rows = tuple(
        (one.name, one.dim, one.encoder, f"{', '.join(one.statistics)} of {', '.join(one.layers)}, {one.combine}") for one in inputs
    )
    values = f"; values: {', '.join(bundle.facts.values)}" if bundle.facts.values else ""
    notes = (
        "each also as a bool `<input>/present` (clips,): False where the clip lacks it",
        f"outputs: probabilities of {', '.join(bundle.facts.classes)}{values}",
        f"network: {out}",
    )
    title = "Inputs of the network: float32 (clips, numbers), as the store has them"
    return [Table(title, ("input", "numbers", "encoder", "made of"), rows, notes)]


def _inputs(bundle: Bundle) -> tuple[list[OnnxInput], list[list[tuple[int, str]]]]:
    """All inputs, and per group (number of the input, its own name of the stream); groups that read the same stream share an input."""
    inputs: list[OnnxInput] = []
    streams_of_groups = []
    for group in bundle.facts.groups:
        pairs = []
        for stream, config, layers in bundle.streams_of(group):
            made_of = (stream.dim, config.encoder, layers, tuple(config.statistics), config.combine)
            same = next((one for one in inputs if (one.dim, one.encoder, one.layers, one.statistics, one.combine) == made_of), None)
            if same is None:
                same = OnnxInput(_free_name({one.name for one in inputs}, group.run, stream.name), *made_of)
                inputs.append(same)
            pairs.append((inputs.index(same), stream.name))
        streams_of_groups.append(pairs)
    return inputs, streams_of_groups


def _free_name(taken: Collection[str], run: str, stream: str) -> str:
    """The stream's name, its run's before it where that is taken, and a number where two runs have one name."""
    names = itertools.chain([stream, f"{run}/{stream}"], (f"{run}-{number}/{stream}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)
