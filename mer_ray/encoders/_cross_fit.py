"""Adapters that `finetune` wrote: one per fold, so that no clip is encoded by weights that were trained on its label.

<folder>/finetune.json                       what was trained, and which adapter encodes which clip
<folder>/<adapter>/adapter_model.safetensors, adapter_config.json

<folder>/<adapter>/head.safetensors         the linear layer that was trained with it, whose outputs are the layer `head`

A LoRA adapter is peft's own; any other is the changed tensors, whole, under their names in the encoder's network.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from torch import Tensor, nn

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import Config, digest_of
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Features, FloatArray
from mer_ray.encoders._base import WeightChoice
from mer_ray.encoders._weights import ADAPTER_WEIGHTS

FACTS_FILE = "finetune.json"
# Trained on all labelled clips: for clips that fine-tuning did not know.
DEFAULT_ADAPTER = "all"
FOLD_PREFIX = "fold"
# Emotions in order, then values, before any softmax: axes that mean the same whichever adapter encoded a clip.
HEAD_FILE, HEAD_LAYER = "head.safetensors", "head"
LORA_A, LORA_B = ".lora_A.weight", ".lora_B.weight"
PEFT_PREFIX = "base_model.model."


class CrossFitFacts(Config):
    """finetune.json: `adapter_of` names the adapter of each clip that has one of its own; all others take `all`.

    `weights_digest` is that of the encoder before; `files` and `heads` have the sha256 of each adapter's tensors and of its
    head's, which read the mean of the layer `head_reads`. `lora_scale` multiplies the
    product of LoRA's matrices, None where adapters hold whole tensors. `follows_folds`: adapters are named after the manifest's folds.
    """

    format: Literal[1] = 1
    encoder: str
    weights_digest: str
    num_layers: int | None
    method: dict[str, Any]
    lora_scale: float | None
    corpus: str
    classes: tuple[str, ...]
    follows_folds: bool
    adapter_of: dict[str, str]
    files: dict[str, str] = Field(min_length=1)
    heads: dict[str, str]
    head_reads: str
    head_dim: int

    def held_out_folds(self) -> dict[str, int]:
        """By clip_id the manifest's fold of then; empty where folds were fine-tuning's own."""
        if not self.follows_folds:
            return {}
        return {clip_id: int(name.removeprefix(FOLD_PREFIX)) for clip_id, name in self.adapter_of.items()}


def is_cross_fit(folder: Path) -> bool:
    """Whether `finetune` wrote the folder."""
    return (folder / FACTS_FILE).is_file()


def fold_name(fold: int) -> str:
    """The adapter of the clips of a fold."""
    return f"{FOLD_PREFIX}{fold}"


def read_cross_fit(folder: Path) -> CrossFitFacts:
    """finetune.json, checked against the files that lie there.

    Raises:
        EncoderError: damaged, or adapters are missing or changed.

    """
    try:
        facts = CrossFitFacts.model_validate_json((folder / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise EncoderError(f"adapter {folder}: {FACTS_FILE} cannot be read; copy the folder again, or fine-tune anew") from error
    listed = [
        (name, file, sha256) for file, found in ((ADAPTER_WEIGHTS, facts.files), (HEAD_FILE, facts.heads)) for name, sha256 in found.items()
    ]
    for name, file, sha256 in listed:
        path = folder / name / file
        if not path.is_file() or digest_file(path) != sha256:
            what = f"{name}/{file} is {'not what was trained' if path.is_file() else 'missing'}"
            raise EncoderError(f"adapter {folder}: {what}; copy the folder again, or fine-tune anew")
    if unknown := sorted({*facts.adapter_of.values(), DEFAULT_ADAPTER} - (set(facts.files) & set(facts.heads))):
        raise EncoderError(f"adapter {folder}: {FACTS_FILE} names no file of {', '.join(unknown)}; fine-tune anew")
    return facts


def digest_cross_fit(folder: Path) -> str:
    """The sha256 of what decides the features: the tensors of all adapters and which clip takes which; never a path.

    Raises:
        EncoderError: as `read_cross_fit`.

    """
    facts = read_cross_fit(folder)
    return digest_of([facts.files, facts.heads, facts.adapter_of, facts.lora_scale, facts.weights_digest])


def changed_bytes(folder: Path, itemsize: int) -> int:
    """Memory for what lies beside the network so that adapters can change places: the tensors that LoRA changes, as they were.

    Raises:
        EncoderError: as `read_cross_fit`.

    """
    facts = read_cross_fit(folder)
    if facts.lora_scale is None:
        return 0
    with safe_open(folder / DEFAULT_ADAPTER / ADAPTER_WEIGHTS, "pt") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - a handle is no mapping
    pairs = [(name, name.replace(LORA_A, LORA_B)) for name in shapes if name.endswith(LORA_A)]
    return int(sum(shapes[first][1] * shapes[second][0] for first, second in pairs)) * itemsize


class CrossFittedWeights(WeightChoice):
    """A network whose weights change places with the clip: those of an adapter are the same bits, whatever was used before."""

    def __init__(self, network: nn.Module, layers: Collection[str], folder: Path, facts: CrossFitFacts) -> None:
        self._folder, self._facts = folder, facts
        self._parameters = dict(network.named_parameters())
        self._used: str | None = None
        self._heads = {name: load_file(folder / name / HEAD_FILE) for name in facts.heads} if facts.head_reads in layers else {}
        self._adapters = {name: self._load(name) for name in facts.files} if facts.lora_scale is not None else {}
        places = sorted({place for pairs in self._adapters.values() for place in pairs})
        self._refuse_unknown(places)
        self._as_they_were = {place: self._parameters[place].detach().clone() for place in places}
        self.use(DEFAULT_ADAPTER)

    def name_for(self, clip_id: str) -> str:
        """The adapter that was not trained on the clip's label."""
        return self._facts.adapter_of.get(clip_id, DEFAULT_ADAPTER)

    @torch.no_grad()
    def use(self, name: str) -> None:
        """Give the network the weights of an adapter."""
        if name == self._used:
            return
        for place, value in self._values(name):
            self._parameters[place].data.copy_(value)
        self._used = name

    def more_layers(self) -> dict[str, int]:
        """The head, where the encoder gives the layer that it reads."""
        return {HEAD_LAYER: self._facts.head_dim} if self._heads else {}

    def extended(self, features: Features) -> Features:
        """With the head's output for the clip's mean; it has no deviation."""
        if not self._heads or self._used is None:
            return features
        head = self._heads[self._used]
        output_D: FloatArray = head["weight"] @ features.mean[self._facts.head_reads] + head["bias"]
        mean = {HEAD_LAYER: output_D, **features.mean}
        return replace(features, mean=mean, std={HEAD_LAYER: np.zeros_like(output_D), **features.std})

    def _values(self, name: str) -> Iterator[tuple[str, Tensor]]:
        scale = self._facts.lora_scale
        if scale is None:
            with safe_open(self._folder / name / ADAPTER_WEIGHTS, "pt") as tensors:
                places = list(tensors.keys())
                self._refuse_unknown(places)
                for place in places:
                    yield place, tensors.get_tensor(place)
            return
        for place, (a_RI, b_OR) in self._adapters[name].items():
            before = self._as_they_were[place]
            # In float32 whatever the network computes in, as peft merges: the sum is rounded once.
            change_OI = b_OR.to(before.device).float() @ a_RI.to(before.device).float()
            yield place, before.float() + scale * change_OI

    def _load(self, name: str) -> dict[str, tuple[Tensor, Tensor]]:
        """By parameter, LoRA's two matrices."""
        try:
            with safe_open(self._folder / name / ADAPTER_WEIGHTS, "pt") as opened:
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - a handle is no mapping
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"adapter {self._folder}: {name}/{ADAPTER_WEIGHTS} cannot be read; copy the folder again") from error
        firsts = {key.removeprefix(PEFT_PREFIX).removesuffix(LORA_A): key for key in tensors if key.endswith(LORA_A)}
        return {f"{module}.weight": (tensors[key], tensors[key.replace(LORA_A, LORA_B)]) for module, key in firsts.items()}

    def _refuse_unknown(self, places: list[str]) -> None:
        unknown = [place for place in places if place not in self._parameters]
        if unknown:
            raise EncoderError(
                f"adapter {self._folder}: the network has no {unknown[0]}, nor {len(unknown) - 1} others that it changes; "
                "fine-tune again with this version"
            )


def refuse_other_encoder(folder: Path, facts: CrossFitFacts, own: Mapping[str, Any]) -> None:
    """Refuse adapters of another encoder, of other weights, or of another depth.

    Raises:
        EncoderError: what differs, and what it must be.

    """
    for key, wanted in (("encoder", facts.encoder), ("num_layers", facts.num_layers), ("weights_digest", facts.weights_digest)):
        if own[key] != wanted:
            what = "other weights" if key == "weights_digest" else f"{key} {wanted}"
            raise EncoderError(
                f"adapter {folder}: was trained on {what}, this encoder has {key} {own[key]}; give the encoder of the fine-tuning"
            )
