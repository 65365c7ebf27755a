"""Which weights of an encoder's network are trained, and how they become an adapter's files."""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from mer_ray.core.config import Config
from mer_ray.core.errors import ConfigError
from mer_ray.encoders._compiled import find_blocks
from mer_ray.encoders._cross_fit import LORA_A, PEFT_PREFIX
from mer_ray.encoders._weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS

# Queries and values of the attention, under the names that transformers and Baichuan's own code give them; the choice of Hu et al. (2021).
USUAL_TARGETS = ("q_proj", "v_proj", "query", "value", "W_pack")
# As transformers calls it in HuBERT, wav2vec 2.0 and WavLM.
WAVEFORM_PART = "feature_extractor."
MAX_NAMED = 12


class Method(Config, ABC):
    """A way to train a network."""

    name: str

    @abstractmethod
    def chosen(self, network: nn.Module) -> list[str]:
        """Names of the parameters that an adapter changes.

        Raises:
            ConfigError: the network has nothing of the kind.

        """

    @abstractmethod
    def num_trainable(self, network: nn.Module) -> int:
        """Parameters that are trained."""

    @abstractmethod
    def prepare(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Make the network ready to train where it stands; the trained parameters by the names that an adapter's file has."""

    @property
    def scale(self) -> float | None:
        """What LoRA's product is multiplied with; None where an adapter holds whole tensors."""
        return None

    def settings(self, weights: str, names: Iterable[str]) -> dict[str, Any]:
        """adapter_config.json; `names` are those of the adapter's tensors."""
        return {"mer_ray_method": self.model_dump(mode="json"), "base_model_name_or_path": weights}

    def save(self, folder: Path, trained: dict[str, Tensor], weights: str) -> None:
        """Write the two files of an adapter."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in trained.items()}, folder / ADAPTER_WEIGHTS, {"format": "pt"})
        (folder / ADAPTER_CONFIG).write_text(json.dumps(self.settings(weights, trained), indent=1) + "\n", encoding="utf-8")


class LoraConfig(Method):
    """Low-rank changes of linear layers (Hu et al., 2021, arXiv 2106.09685): W + `alpha` / `rank` B A.

    `targets` are names of linear layers or their ends (null: those that make queries and values of the attention).
    """

    name: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1, le=4096)
    alpha: float = Field(16.0, gt=0, allow_inf_nan=False)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] | None = Field(None, min_length=1)

    @property
    def scale(self) -> float:
        """`alpha` / `rank`."""
        return self.alpha / self.rank

    def chosen(self, network: nn.Module) -> list[str]:
        """The weights of the targets."""
        return [f"{name}.weight" for name in self._modules(network)]

    def num_trainable(self, network: nn.Module) -> int:
        """Both matrices of each target."""
        layers = [network.get_submodule(name) for name in self._modules(network)]
        return sum(self.rank * (layer.in_features + layer.out_features) for layer in layers if isinstance(layer, nn.Linear))

    def prepare(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Put peft's layers around the targets."""
        # peft takes 2 s to import.
        import peft

        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that is going away.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            peft.get_peft_model(network, peft.LoraConfig(**self._peft_options(self._modules(network))))
        trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        return {f"{PEFT_PREFIX}{name.replace('.default.', '.')}": weight for name, weight in trained.items()}

    def settings(self, weights: str, names: Iterable[str]) -> dict[str, Any]:
        """As peft writes it, so that peft reads the adapter, too."""
        import peft

        modules = [name.removeprefix(PEFT_PREFIX).removesuffix(LORA_A) for name in names if name.endswith(LORA_A)]
        config = peft.LoraConfig(**self._peft_options(modules), inference_mode=True)
        to_dict: Any = config.to_dict
        written = {**to_dict(), "base_model_name_or_path": weights}
        return {key: sorted(value) if isinstance(value, set) else value for key, value in written.items()}

    def _peft_options(self, modules: list[str]) -> dict[str, Any]:
        return {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout, "bias": "none", "target_modules": modules}

    def _modules(self, network: nn.Module) -> list[str]:
        linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        wanted = self.targets or USUAL_TARGETS
        found = {target: [name for name in linear if name == target or name.endswith(f".{target}")] for target in wanted}
        lacking = [target for target, names in found.items() if not names]
        if lacking and (self.targets is not None or len(lacking) == len(wanted)):
            ends = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise ConfigError(
                f"method.targets: the network has no linear layer {', '.join(map(repr, lacking))}. "
                f"Allowed: {', '.join(ends[:MAX_NAMED])}{', ...' if len(ends) > MAX_NAMED else ''}"
            )
        chosen = {name for names in found.values() for name in names}
        return [name for name in linear if name in chosen]


class WholeWeights(Method):
    """A way that trains weights of the network as they are."""

    def num_trainable(self, network: nn.Module) -> int:
        """All values of the chosen parameters."""
        chosen = set(self.chosen(network))
        return sum(weight.numel() for name, weight in network.named_parameters() if name in chosen)

    def prepare(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Free the chosen parameters."""
        chosen = set(self.chosen(network))
        found = {name: weight for name, weight in network.named_parameters() if name in chosen}
        for weight in found.values():
            weight.requires_grad_(True)
        return found


class LastLayersConfig(WholeWeights):
    """The last `count` blocks of the transformer."""

    name: Literal["last_layers"]
    count: int = Field(2, ge=1)

    def chosen(self, network: nn.Module) -> list[str]:
        """All parameters of these blocks."""
        blocks = find_blocks(network)
        if self.count > len(blocks):
            raise ConfigError(f"method.count: {self.count}, the network has {len(blocks)} blocks. Allowed: 1 to {len(blocks)}")
        prefix = next(name for name, module in network.named_modules() if module is blocks)
        starts = tuple(f"{prefix}.{number}." for number in range(len(blocks) - self.count, len(blocks)))
        return [name for name, _ in network.named_parameters() if name.startswith(starts)]


class AllWeightsConfig(WholeWeights):
    """Every weight of the network but those of convolutions over the waveform, which the authors of these networks leave as they are."""

    name: Literal["all"]

    def chosen(self, network: nn.Module) -> list[str]:
        """All of them."""
        return [name for name, _ in network.named_parameters() if not name.startswith(WAVEFORM_PART)]


AnyMethod = Annotated[LoraConfig | LastLayersConfig | AllWeightsConfig, Field(discriminator="name")]
