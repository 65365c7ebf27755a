"""The `plugin` encoder: one whose config is a class in a file of the user."""

from typing import ClassVar, Literal, Self, cast

from pydantic import model_validator

from mer_ray.core.config import Config
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.manifest import CORPUS_NAME
from mer_ray.core.media_types import InputFormat
from mer_ray.core.plugin_file import foreign_code
from mer_ray.core.plugins import PluginConfig
from mer_ray.encoders._base import Encoder, EncoderConfig


class PluginEncoderConfig(PluginConfig, EncoderConfig):
    """`class` names an `EncoderConfig` in `file`; `sequences`, `rate_hz`, `dtype` and `degrade` stand beside it."""

    family: ClassVar[type[Config]] = EncoderConfig
    shared_fields: ClassVar[tuple[str, ...]] = ("sequences", "rate_hz", "dtype", "degrade")

    name: Literal["plugin"] = "plugin"

    @model_validator(mode="after")
    def _name_can_be_stored(self) -> Self:
        if CORPUS_NAME.fullmatch(self.stored_name) is None:
            raise ValueError(f"config.name: {self.stored_name!r} cannot name a folder of the store: letters, digits and . _ @ + -")
        return self

    @property
    def loaded_encoder(self) -> EncoderConfig:
        """The config in the file, which answers for this one."""
        return cast(EncoderConfig, self.loaded)

    @property
    def stored_name(self) -> str:
        """The loaded config's own name."""
        return self.loaded_encoder.name

    @property
    def input_format(self) -> InputFormat:
        """As the loaded config."""
        return self.loaded_encoder.input_format

    @property
    def frame_s(self) -> float | None:
        """As the loaded config."""
        return self.loaded_encoder.frame_s

    @property
    def licence(self) -> str:
        """As the loaded config."""
        return self.loaded_encoder.licence

    def degraded(self, degrade: DegradationConfig | None) -> Self:
        """The loaded config along with this one."""
        return self.model_copy(update={"degrade": degrade, "loaded": self.loaded_encoder.degraded(degrade)})

    def layers(self) -> dict[str, int]:
        """As the loaded config."""
        return self.loaded_encoder.layers()

    def sequence_layers(self) -> tuple[str, ...]:
        """As the loaded config."""
        return self.loaded_encoder.sequence_layers()

    def weights_digest(self) -> str | None:
        """As the loaded config."""
        return self.loaded_encoder.weights_digest()

    def num_weight_bytes(self) -> int:
        """As the loaded config."""
        return self.loaded_encoder.num_weight_bytes()

    @property
    def frames_are_independent(self) -> bool:
        """As the loaded config."""
        return self.loaded_encoder.frames_are_independent

    @property
    def spreads_over_gpus(self) -> bool:
        """As the loaded config."""
        return self.loaded_encoder.spreads_over_gpus

    def check(self) -> None:
        """As the loaded config."""
        self.loaded_encoder.check()

    def build(self, device: str) -> Encoder:
        """The encoder that the loaded config builds.

        Raises:
            ConfigError: the file's code fails, or as the loaded config.
            EncoderError: as the loaded config.

        """
        with foreign_code(self.plugin_file, f"{self.class_name}.build"):
            encoder = self.loaded_encoder.build(device)
            if not isinstance(encoder, Encoder):
                raise TypeError(f"it gives {type(encoder).__name__}, which is no mer_ray.encoders.Encoder")
        return encoder
