"""A bundle in memory: features in, predictions out. Without Ray.

Shapes: N clips, D feature dimension, C classes, V values.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from mer_ray.batching import EncoderFeatures, Stream, StreamConfig, build_streams, normalise_stream, pad_frames
from mer_ray.core.artefacts import digest_file
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.media_types import BoolArray, FloatArray, Modality
from mer_ray.core.plugins import TAG, plugins_allowed, with_copies
from mer_ray.models import AnyModel, FusionModel
from mer_ray.prediction.bundle_network import BundleNetwork, GroupInputs, Member
from mer_ray.store.schemas import STATISTICS
from mer_ray.training.bundle_facts import (
    MEAN_PREFIX,
    MODEL_PREFIX,
    PLUGINS_FOLDER,
    SCALE_PREFIX,
    BundleFacts,
    GroupFacts,
    MemberFacts,
    StreamFacts,
    read_bundle_facts,
    read_train_clips,
)
from mer_ray.training.encoder_features import WantedLayers

PREDICT_BATCH_SIZE = 2048
# Frames take more memory than pooled features.
PREDICT_FRAMES_BATCH_SIZE = 128
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class BundlePredictions:
    """`probs_NC`, `values[name]` (N,) (NaN = nothing to say), and per modality which clips had it, `used[modality]` (N,).

    `facts[name]` (N,): the models' own numbers about single clips, such as a gate; NaN where they have none.
    """

    probs_NC: FloatArray
    values: dict[str, FloatArray]
    used: dict[Modality, BoolArray]
    facts: dict[str, FloatArray] = field(default_factory=dict)


class Bundle:
    """Trained models ready to predict; `load_bundle` makes it."""

    def __init__(self, folder: Path, facts: BundleFacts, network: BundleNetwork, device: torch.device) -> None:
        self.folder, self.facts, self.device = folder, facts, device
        self.network = network.to(device).eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions, in the order of the probabilities."""
        return self.facts.classes

    @cached_property
    def wanted(self) -> dict[str, WantedLayers]:
        """Per encoder key what any group reads."""
        read: dict[str, WantedLayers] = {}
        for stream in itertools.chain.from_iterable(group.inputs for group in self.facts.groups):
            layers = tuple(map(str, stream.layers))
            # Both statistics: files give both, and a store's are read in one go.
            one = WantedLayers(frames=layers) if stream.frames else WantedLayers(layers, STATISTICS)
            read[stream.encoder] = read[stream.encoder].joined(one) if stream.encoder in read else one
        return read

    def streams_of(self, group: GroupFacts) -> list[tuple[StreamFacts, StreamConfig, tuple[str, ...]]]:
        """Each stream of a group with the input it comes from and the layers in it."""
        found = []
        streams = iter(group.streams)
        for config in group.inputs:
            layers = tuple(map(str, config.layers))
            for part in [(layer,) for layer in layers] if config.combine == "separate" else [layers]:
                found.append((next(streams), config, part))
        return found

    @cached_property
    def train_clips(self) -> frozenset[str]:
        """Digests of the clips that any of the models was trained on."""
        return read_train_clips(self.folder)

    @property
    def needs_speakers(self) -> bool:
        """Whether features are normalised by each speaker's own clips, so that it must be known who speaks."""
        return any(group.normalise == "speaker" for group in self.facts.groups)

    def predict_features(
        self,
        features: Mapping[str, EncoderFeatures],
        speaker_ids: Sequence[str | None],
        members: Sequence[BoolArray] | None = None,
    ) -> BundlePredictions:
        """Predict N clips from `features[encoder key]`, which hold at least what is `wanted`.

        `members` has per group (N, M) which of its members may speak of each clip; None: all.

        Raises:
            RunError: a clip has no speaker, and the bundle normalises by speaker.

        """
        found = [self._streams(group, features, speaker_ids) for group in self.facts.groups]
        num_clips, num_values = len(speaker_ids), len(self.facts.values)
        reads_frames = any(stream.spec.is_sequence for stream in itertools.chain.from_iterable(found))
        size = PREDICT_FRAMES_BATCH_SIZE if reads_frames else PREDICT_BATCH_SIZE
        probs, values = [np.zeros((0, len(self.classes)), np.float32)], [np.zeros((0, num_values), np.float32)]
        facts: dict[str, list[FloatArray]] = {}
        with torch.inference_mode():
            for start in range(0, num_clips, size):
                rows = slice(start, start + size)
                inputs = [self._inputs(streams, rows, None if members is None else members[number]) for number, streams in enumerate(found)]
                output = self.network.explain(inputs)
                probs.append(output.probs_BC.cpu().numpy())
                values.append(output.values_BV.cpu().numpy())
                for name, value_B in output.facts.items():
                    facts.setdefault(name, []).append(value_B.float().cpu().numpy())
        used: dict[Modality, BoolArray] = {}
        for stream in itertools.chain.from_iterable(found):
            used[stream.spec.modality] = used.get(stream.spec.modality, np.zeros(num_clips, bool)) | stream.present_N
        values_NV = np.concatenate(values)
        return BundlePredictions(
            np.concatenate(probs),
            {name: values_NV[:, number] for number, name in enumerate(self.facts.values)},
            used,
            {name: np.concatenate(parts) for name, parts in facts.items()},
        )

    def _inputs(self, streams: Sequence[Stream], rows: slice, members_NM: BoolArray | None) -> GroupInputs:
        present = {stream.spec.name: torch.tensor(stream.present_N[rows], device=self.device) for stream in streams}
        features, masks = {}, {}
        for stream in streams:
            name = stream.spec.name
            if stream.offsets_N1 is None:
                features[name] = torch.tensor(stream.x_RD[rows], device=self.device)
            else:
                padded_BTD, mask_BT = pad_frames(stream, rows)
                features[name], masks[name] = torch.tensor(padded_BTD, device=self.device), torch.tensor(mask_BT, device=self.device)
        members_BM = None if members_NM is None else torch.tensor(members_NM[rows], device=self.device)
        return GroupInputs(features, present, masks, members_BM)

    def _streams(self, group: GroupFacts, features: Mapping[str, EncoderFeatures], speaker_ids: Sequence[str | None]) -> list[Stream]:
        streams = build_streams(group.inputs, [_only_layers_of(stream, features[stream.encoder]) for stream in group.inputs])
        return [normalise_stream(stream, speaker_ids) for stream in streams] if group.normalise == "speaker" else streams


def _only_layers_of(stream: StreamConfig, features: EncoderFeatures) -> EncoderFeatures:
    """Streams take all layers that the features name."""
    return replace(features, layers=tuple(map(str, stream.layers)))


def load_bundle(folder: str | Path, device: str = "auto", allow_plugins: bool = False) -> Bundle:
    """Read a bundle: no Ray, no pickles, no encoders yet. `device` auto is a GPU where torch can use one.

    `allow_plugins` lets the Python files in the bundle run, where its models or encoders are plug-ins.

    Raises:
        RunError: no bundle, one of a later version, a member that is missing, changed or damaged, or no GPU where one is asked for.
        ConfigError: no such device; a plug-in that was not allowed to run, or whose code fails.

    """
    root = Path(folder)
    chosen = _choose_device(device)
    facts = read_bundle_facts(root)
    with plugins_allowed(allow_plugins):
        groups = [[_load_member(root, group, member, facts) for member in group.members] for group in facts.groups]
    return Bundle(root, facts, BundleNetwork(facts, groups), chosen)


def _choose_device(wanted: str) -> torch.device:
    if wanted not in DEVICES:
        raise ConfigError(f"device: {wanted!r} is not allowed. Allowed: {', '.join(DEVICES)}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RunError("device: cuda, but this machine has no GPU that torch can use; set device: auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _load_member(root: Path, group: GroupFacts, member: MemberFacts, facts: BundleFacts) -> Member:
    path = root / member.file
    if not path.is_file() or digest_file(path) != member.sha256:
        raise RunError(
            f"{path}: {'is not what the bundle was made with' if path.is_file() else 'is missing'}; copy the bundle again, whole"
        )
    tensors = safetensors.torch.load_file(path)
    try:
        config = TypeAdapter(AnyModel).validate_python(with_copies(member.model, root / PLUGINS_FOLDER))
        model: FusionModel = config.build([stream.spec for stream in group.streams], facts.task)
        model.load_state_dict(
            {name.removeprefix(MODEL_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(MODEL_PREFIX)}
        )
    except ValidationError as error:
        if member.model.get("name") == TAG:
            raise ConfigError(f"{root}: {error.errors(include_url=False)[0]['msg'].removeprefix('Value error, ')}") from error
        raise RunError(
            f"{path}: does not fit this version ({error.errors()[0]['msg']}); use the mer_ray that wrote the bundle, {facts.mer_ray}"
        ) from error
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise RunError(f"{path}: does not fit its model ({reason}); use the mer_ray that wrote the bundle, {facts.mer_ray}") from error
    statistics = {
        name.removeprefix(MEAN_PREFIX): (tensor, tensors[f"{SCALE_PREFIX}{name.removeprefix(MEAN_PREFIX)}"])
        for name, tensor in tensors.items()
        if name.startswith(MEAN_PREFIX)
    }
    return Member(model, statistics)
