"""The `causal_lm` encoder: the decoder of a causal language model (Llama, Qwen, Baichuan), chosen hidden states as layers."""

# Annotations stay text: transformers loads a model's code, 2 s of it, when its class is named.
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import transformers
from pydantic import field_validator
from rich.console import Console
from torch import nn

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._pretrained import Compute, load_pretrained, read_settings
from mer_ray.encoders._text import TOKENIZER_FILES, PretrainedTextConfig, PretrainedTextEncoder, load_tokenizer

# What config.json needs where the code beside the weights, not transformers, knows the model.
REMOTE_SIZES = ("hidden_size", "num_hidden_layers", "vocab_size")


class CausalLmConfig(PretrainedTextConfig):
    """A causal language model; a token's states know the tokens before it.

    `chosen_layers` are numbers of hidden states, 0 the input of the first block, negative ones counted from the last; None takes
    all, which is much for a large model. `device_map: auto` spreads a model over all GPUs that the process sees, and where these are too
    small over the memory and the disk (`offload_folder`); `max_memory` bounds each device, e.g. {0: 20GiB, cpu: 60GiB}.
    `trust_remote_code` runs the Python files that lie beside the weights with all rights of the user: read them first.
    """

    model_types = ("llama", "mistral", "qwen2", "qwen3")
    companions = (*TOKENIZER_FILES, "*.py")
    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint(
            "baichuan-inc/Baichuan-13B-Base",
            *(13_264_901_120, 5120, 40),
            "Baichuan-13B community licence; runs code of its own",
            "https://huggingface.co/baichuan-inc/Baichuan-13B-Base",
        ),
        Checkpoint("Qwen/Qwen2.5-7B", 7_615_616_512, 3584, 28, "apache-2.0", "https://huggingface.co/Qwen/Qwen2.5-7B"),
        Checkpoint("Qwen/Qwen3-0.6B-Base", 596_049_920, 1024, 28, "apache-2.0", "https://huggingface.co/Qwen/Qwen3-0.6B-Base"),
        Checkpoint("meta-llama/Llama-3.2-1B", 1_235_814_400, 2048, 16, "llama3.2", "https://huggingface.co/meta-llama/Llama-3.2-1B"),
    )

    name: Literal["causal_lm"] = "causal_lm"
    compute: Compute = "bf16"
    chosen_layers: tuple[int, ...] | None = None
    trust_remote_code: bool = False
    device_map: Literal["auto"] | None = where_or_how_fast(None)
    max_memory: dict[int | Literal["cpu"], str] | None = where_or_how_fast(None)
    offload_folder: Path | None = where_or_how_fast(None)

    @field_validator("offload_folder")
    @classmethod
    def _make_offload_absolute(cls, folder: Path | None) -> Path | None:
        return folder.expanduser().absolute() if folder else None

    @property
    def spreads_over_gpus(self) -> bool:
        """Where `device_map` says so."""
        return self.device_map is not None

    def check(self) -> None:
        """Refuse what `PretrainedTextConfig.check` refuses; say it loudly where code of the folder will run, before it does."""
        super().check()
        if self.runs_code():
            warning = f"mer-ray: warning: encoder {self.name} runs the Python code in {self.folder()} (trust_remote_code)"
            Console(stderr=True).print(warning, markup=False, highlight=False, soft_wrap=True)

    def settings(self) -> dict[str, Any]:
        """config.json as it stands.

        Raises:
            EncoderError: another kind of model, or one that needs code from its folder while `trust_remote_code` is off.

        """
        settings = read_settings(self.folder(), self.weights)
        if settings.get("model_type") in self.model_types:
            return settings
        if "auto_map" not in settings:
            return super().settings()
        if not self.trust_remote_code:
            raise EncoderError(
                f"weights {self.weights}: model_type {settings.get('model_type')!r} runs Python code that lies beside the weights; "
                f"read that code, then allow it with trust_remote_code: true, or take one of {', '.join(self.model_types)}"
            )
        absent = [name for name in REMOTE_SIZES if not isinstance(settings.get(name), int)]
        if absent:
            raise EncoderError(f"weights {self.weights}: config.json lacks {', '.join(absent)}")
        return settings

    def architecture(self) -> transformers.PreTrainedConfig:
        """Sizes and kinds of all parts, from config.json; no code of the folder is run for them."""
        return transformers.PreTrainedConfig.from_dict(self.settings()) if self.runs_code() else super().architecture()

    def skeleton(self) -> nn.Module:
        """The decoder without weights.

        Raises:
            EncoderError: the model is one that only the code in its folder knows.

        """
        if self.runs_code():
            raise EncoderError(f"weights {self.weights}: only the code beside them knows the network's parts")
        return super().skeleton()

    def runs_code(self) -> bool:
        """Whether the model is one that only the code in its folder knows."""
        return self.settings().get("model_type") not in self.model_types

    def layers(self) -> dict[str, int]:
        """The chosen of `layer_0` (input of the first block) to `layer_N` (output of the decoder, after its final norm)."""
        layers = super().layers()
        if self.chosen_layers is None:
            return layers
        last = len(layers) - 1
        wrong = [number for number in self.chosen_layers if not -last - 1 <= number <= last]
        if wrong:
            raise ConfigError(
                f"encoder {self.name}: chosen_layers: no layer {', '.join(map(str, wrong))}. Allowed: 0 to {last}, or -1 to {-last - 1}"
            )
        chosen = sorted({number % (last + 1) for number in self.chosen_layers})
        if len(chosen) < max(len(self.chosen_layers), 1):
            raise ConfigError(f"encoder {self.name}: chosen_layers: name each layer once, and at least one; they are {self.chosen_layers}")
        return {f"layer_{number}": layers[f"layer_{number}"] for number in chosen}

    def max_tokens(self) -> int | None:
        """The model's number of positions; None where it does not say."""
        architecture = self.architecture()
        for name in ("max_position_embeddings", "model_max_length"):
            limit = getattr(architecture, name, None)
            if isinstance(limit, int):
                return limit
        return None

    def _build(self, device: str) -> PretrainedTextEncoder:
        """The encoder with its weights on `device`, or on all devices where `device_map` says so."""
        # Before anything large is read, and before any code runs.
        self.check()
        runs_code = self.runs_code()
        tokenizer = load_tokenizer(self, self.architecture().vocab_size, trust_remote_code=runs_code)
        options: dict[str, Any] = {"trust_remote_code": runs_code}
        if self.device_map is not None:
            options |= {"device_map": self.device_map, "max_memory": self.max_memory, "offload_folder": self.offload_folder}
        load = self._load_with_code if runs_code else self._load
        model = load(torch.device(device), options)
        return PretrainedTextEncoder(self, model, tokenizer, _first_device(model, device))

    def _load(self, device: torch.device, options: dict[str, Any]) -> Any:
        return load_pretrained(self, transformers.AutoModel, device, **options)

    def _load_with_code(self, device: torch.device, options: dict[str, Any]) -> Any:
        # Most such folders map the model with its head only; the decoder is a part of it.
        has_decoder = "AutoModel" in self.settings()["auto_map"]
        model_class: Any = transformers.AutoModel if has_decoder else transformers.AutoModelForCausalLM
        try:
            model = load_pretrained(self, model_class, device, **options)
        except (ImportError, AttributeError, TypeError, KeyError, AssertionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise EncoderError(
                f"weights {self.weights}: their own code fails with transformers {transformers.__version__}: {reason}"
            ) from error
        return model if has_decoder else model.base_model


def _first_device(model: Any, device: str) -> torch.device:
    """Where a spread model takes its inputs: the first device that computes."""
    devices = [torch.device(place) for place in getattr(model, "hf_device_map", {}).values() if place != "disk"]
    return devices[0] if devices else torch.device(device)
