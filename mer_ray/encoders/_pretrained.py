"""What all encoders from transformers checkpoints share: where weights lie, adapters, and loading without running their code.

Shapes: B clips, T frames, D hidden size, L layers.
"""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

import pickle
import warnings
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import transformers
from pydantic import field_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mer_ray.core.config import PlaceOrName, digest_of, where_or_how_fast
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import EncoderInput, FloatArray
from mer_ray.encoders._base import Encoder, EncoderConfig
from mer_ray.encoders._compiled import compile_blocks
from mer_ray.encoders._cross_fit import (
    PEFT_PREFIX,
    CrossFittedWeights,
    changed_bytes,
    digest_cross_fit,
    is_cross_fit,
    read_cross_fit,
    refuse_other_encoder,
)
from mer_ray.encoders._weights import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG_FILE,
    digest_weights,
    find_weights,
    read_licence,
    weight_files,
)

Compute = Literal["float32", "bf16"]
COMPUTE_DTYPES: dict[Compute, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


class PretrainedEncoderConfig(EncoderConfig):
    """A transformers checkpoint: `weights` is a folder, or a hub id with an optional `revision`.

    `adapter` is a folder with a LoRA adapter as peft saves it, which is merged into the weights, or the folder `adapter` of a
    fine-tuning, whose adapters change places with the clip. `compute` is the type of the forward pass. `compile` has torch compile
    the network's blocks: minutes at first, worth it for long extractions on a GPU.
    """

    # What config.json must say in model_type, and the files that must (or, with `*`, may) lie beside the tensors.
    model_types: ClassVar[tuple[str, ...]]
    companions: ClassVar[tuple[str, ...]]

    weights: PlaceOrName = where_or_how_fast()
    revision: str | None = where_or_how_fast(None)
    adapter: Path | None = where_or_how_fast(None)
    compute: Compute = "float32"
    compile: bool = where_or_how_fast(False)

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: str) -> str:
        # Workers run in folders of their own.
        folder = Path(weights).expanduser()
        return str(folder.absolute()) if folder.is_dir() else weights

    @field_validator("adapter")
    @classmethod
    def _make_adapter_absolute(cls, adapter: Path | None) -> Path | None:
        return adapter.expanduser().absolute() if adapter else None

    @property
    def stored_name(self) -> str:
        """With a fine-tuning's adapters apart from the frozen network, so that a store may hold both."""
        return f"{self.name}_finetuned" if self.adapter is not None and is_cross_fit(self.adapter) else self.name

    @property
    def licence(self) -> str:
        """As the model card says."""
        return read_licence(self.folder())

    def folder(self) -> Path:
        """Where the files lie, downloaded if need be.

        Raises:
            EncoderError: there are none.

        """
        return find_weights(self.weights, self.revision, (CONFIG_FILE, *self.companions))

    def settings(self) -> dict[str, Any]:
        """config.json as it stands.

        Raises:
            EncoderError: the folder holds another kind of model.

        """
        settings = read_settings(self.folder(), self.weights)
        if settings.get("model_type") not in self.model_types:
            allowed = ", ".join(map(repr, self.model_types))
            raise EncoderError(
                f"weights {self.weights}: config.json says model_type {settings.get('model_type')!r}; encoder {self.name} reads {allowed}"
            )
        return settings

    @property
    def is_truncated(self) -> bool:
        """Whether parts of the network, and of an adapter, are left out on purpose."""
        return False

    @abstractmethod
    def architecture(self) -> transformers.PreTrainedConfig:
        """Sizes and kinds of all parts, from config.json.

        Raises:
            EncoderError: the folder holds another kind of model.

        """

    @abstractmethod
    def skeleton(self) -> nn.Module:
        """The network without weights, on no device: its parts and their names.

        Raises:
            EncoderError: only code beside the weights knows them.

        """

    def build(self, device: str) -> NetworkEncoder:
        """The encoder with its weights on `device`, those of `adapter` for clips that no fine-tuning knows.

        Raises:
            EncoderError: weights are missing or broken, or the adapter is one of another network.

        """
        encoder = self._build(device)
        if self.adapter is not None and is_cross_fit(self.adapter):
            facts = read_cross_fit(self.adapter)
            refuse_other_encoder(self.adapter, facts, self.trained_as())
            encoder.weight_choice = CrossFittedWeights(encoder.model, encoder.layers, self.adapter, facts)
        return encoder

    @abstractmethod
    def _build(self, device: str) -> NetworkEncoder:
        """The encoder with its weights and, where it is one of peft, its adapter."""

    def trained_as(self) -> dict[str, Any]:
        """What a fine-tuning remembers of its encoder, and asks of the one that reads its adapters."""
        return {"encoder": self.name, "num_layers": getattr(self, "num_layers", None), "weights_digest": self._base_digest()}

    def _base_digest(self) -> str:
        return digest_weights(self.folder(), (CONFIG_FILE, *self.companions))

    def weights_digest(self) -> str:
        """The sha256 over tensors, configs and the adapter's files."""
        digest = self._base_digest()
        if self.adapter is None:
            return digest
        adapter = digest_cross_fit(self.adapter) if is_cross_fit(self.adapter) else digest_weights(self.adapter, (ADAPTER_CONFIG,))
        return digest_of([digest, adapter])

    def held_out_folds(self) -> dict[str, int]:
        """As finetune.json says, where it followed the manifest's folds."""
        if self.adapter is None or not is_cross_fit(self.adapter):
            return {}
        return read_cross_fit(self.adapter).held_out_folds()

    def _adapter_bytes(self) -> int:
        is_resident = self.adapter is not None and is_cross_fit(self.adapter)
        return changed_bytes(self.adapter, COMPUTE_DTYPES[self.compute].itemsize) if self.adapter is not None and is_resident else 0

    def num_weight_bytes(self) -> int:
        """Of the whole checkpoint in the compute type; an adapter is merged into it, those of a fine-tuning keep what they change."""
        settings = self.settings()
        stored = str(settings.get("dtype") or settings.get("torch_dtype") or "float32")
        # Only an estimate: a type that torch does not know by this name counts as the smallest, so as the most values.
        stored_dtype = getattr(torch, stored, torch.float16)
        num_bytes = sum(file.stat().st_size for file in weight_files(self.folder()))
        return num_bytes // stored_dtype.itemsize * COMPUTE_DTYPES[self.compute].itemsize + self._adapter_bytes()


class NetworkEncoder(Encoder):
    """An encoder around one network of transformers, `model`."""

    model: Any

    def begin_training(self, in_bfloat16: bool) -> None:
        """Take out what training turns on in some networks by chance, so that a batch is the same on one worker and on several.

        `in_bfloat16`: matrix products will run in it.
        """
        for option in ("layerdrop", "encoder_layerdrop"):
            if hasattr(self.model.config, option):
                setattr(self.model.config, option, 0.0)
        if hasattr(self.model.config, "apply_spec_augment"):
            # Some checkpoints lack the vector that it puts in place of masked frames.
            self.model.config.apply_spec_augment = False

    @abstractmethod
    def trim(self, clip_input: EncoderInput, start: float, max_s: float) -> EncoderInput:
        """A part of an input that goes through the network in one piece: from the share `start` (0 to 1) of what can be left out.

        `max_s` bounds seconds of sound.
        """

    @abstractmethod
    def last_states(self, inputs: Sequence[EncoderInput]) -> tuple[Tensor, Tensor]:
        """The last hidden state of trimmed inputs with its gradient, (B, T, D), and which of its frames are real, bool (B, T)."""


def read_settings(folder: Path, weights: str) -> dict[str, Any]:
    """config.json of a folder.

    Raises:
        EncoderError: it is no JSON object.

    """
    try:
        settings, _ = transformers.PreTrainedConfig.get_config_dict(folder)
        return dict(settings)
    except (OSError, ValueError, TypeError) as error:
        raise EncoderError(f"weights {weights}: {CONFIG_FILE} cannot be read ({_in_short(error)}); download it again") from error


def load_pretrained(
    config: PretrainedEncoderConfig, model_class: Any, device: torch.device, unused: Collection[str] = (), /, **options: Any
) -> Any:
    """The frozen model of `config.folder()` in its compute type on `device`, the adapter merged; no code of the folder is run.

    `unused` are tensors that only training reads, and that may be missing; `options` go to `from_pretrained`.

    Raises:
        EncoderError: files are broken, tensors of the model are missing from them, or the adapter does not fit.

    """
    try:
        with _silent_loading():
            loaded: Any = model_class.from_pretrained(
                config.folder(),
                local_files_only=True,
                weights_only=True,
                dtype=COMPUTE_DTYPES[config.compute],
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise EncoderError(f"weights {config.weights}: cannot be loaded ({_in_short(error)}); download them again") from error
    model, found = loaded
    missing = sorted(set(found["missing_keys"]) - set(unused))
    if missing:
        raise EncoderError(
            f"weights {config.weights}: {len(missing)} tensors of the model are missing, e.g. {missing[0]}; download them again"
        )
    if config.adapter is not None and not is_cross_fit(config.adapter):
        model = merge_adapter(model, config.adapter, config.is_truncated)
    model = model.eval().requires_grad_(False)
    # A model that accelerate has spread over devices stays where it is.
    model = model if "device_map" in options else model.to(device)
    if config.compile:
        compile_blocks(model)
    return model


def merge_adapter(model: nn.Module, folder: Path, is_truncated: bool = False) -> nn.Module:
    """The model with a LoRA adapter added to its weights; one of a truncated model may have tensors for what is left out.

    Raises:
        EncoderError: no adapter there, or one of another model.

    """
    # peft takes 2 s to import, and few encoders have an adapter.
    from peft import PeftModel, get_peft_model_state_dict

    absent = [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (folder / name).is_file()]
    if absent:
        raise EncoderError(f"adapter {folder}: lacks {', '.join(absent)}; give a folder that peft's save_pretrained() wrote")
    try:
        with safe_open(folder / ADAPTER_WEIGHTS, "pt") as tensors:
            stored = set(tensors.keys())
        # Most are trained on a model with a head (AutoModelForCausalLM, HubertForCTC), in which the network has a name of its own.
        own_name: str = getattr(model, "base_model_prefix", "")
        with_head = f"{PEFT_PREFIX}{own_name}."
        has_head = not hasattr(model, own_name) and any(name.startswith(with_head) for name in stored)
        with warnings.catch_warnings():
            # peft only warns of tensors that the adapter lacks, and leaves those at random.
            warnings.simplefilter("error", UserWarning)
            # peft 0.21 asks transformers 5.23 by a name that is going away.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            adapted = PeftModel.from_pretrained(
                model, folder, is_trainable=False, key_mapping={rf"^{own_name}\.": ""} if has_head else None
            )
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, UserWarning, SafetensorError) as error:
        raise EncoderError(
            f"adapter {folder}: does not fit the model ({_in_short(error)}); give one that was trained on these weights"
        ) from error
    places = {name.replace(PEFT_PREFIX, with_head, 1) if has_head else name for name in get_peft_model_state_dict(adapted)}
    unread = sorted(name for name in stored - places if ".lora_" in name)
    if unread and not is_truncated:
        raise EncoderError(
            f"adapter {folder}: does not fit the model, which has no place for {len(unread)} of its tensors, e.g. {unread[0]}; "
            "give one that was trained on these weights"
        )
    merged: nn.Module = adapted.merge_and_unload()
    return merged


def to_device(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor on `device`; to a GPU through pinned memory, so that the copy overlaps what the GPU computes."""
    if device.type == "cuda":
        return values.pin_memory().to(device, dtype, non_blocking=True)
    return values.to(device, dtype)


def pool_states(states_LBTD: Sequence[Tensor], num_frames_B: Tensor, starts_B: Tensor | None = None) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation over each clip's `num_frames` frames from `starts` (0) on: two float32 (L, B, D), in one copy.

    All layers have the same D.
    """
    num_frames_B1 = num_frames_B[:, None]
    starts_B1 = torch.zeros_like(num_frames_B1) if starts_B is None else starts_B[:, None]
    times_T = torch.arange(states_LBTD[0].shape[1], device=num_frames_B.device)
    is_padding_BT1 = ((times_T < starts_B1) | (times_T >= starts_B1 + num_frames_B1))[:, :, None]
    statistics = []
    for state_BTD in states_LBTD:
        # Layers of a model that is spread over devices meet here.
        values_BTD = state_BTD.to(num_frames_B.device).float()
        mean_BD = values_BTD.masked_fill(is_padding_BT1, 0).sum(dim=1) / num_frames_B1
        centred_BTD = (values_BTD - mean_BD[:, None]).masked_fill(is_padding_BT1, 0)
        statistics.append(torch.stack([mean_BD, (centred_BTD.square().sum(dim=1) / num_frames_B1).sqrt()]))
    pooled_2LBD: FloatArray = torch.stack(statistics, dim=1).cpu().numpy()
    return np.ascontiguousarray(pooled_2LBD[0]), np.ascontiguousarray(pooled_2LBD[1])


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep TF32 out of convolutions: it is on by default and costs float32 features half of their digits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@contextmanager
def _silent_loading() -> Iterator[None]:
    """Without transformers' progress bar and its table of tensors that a smaller model leaves unread."""
    log: Any = transformers.utils.logging
    verbosity = log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
