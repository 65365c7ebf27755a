"""The `plugin` model: one whose config is a class in a file of the user."""

from collections.abc import Sequence
from typing import ClassVar, cast

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.config import Config
from mer_ray.core.plugin_file import foreign_code
from mer_ray.core.plugins import PluginConfig
from mer_ray.models._base import FusionModel, FusionModelConfig


class PluginModelConfig(PluginConfig, FusionModelConfig):
    """`class` names a `FusionModelConfig` in `file`."""

    family: ClassVar[type[Config]] = FusionModelConfig

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> FusionModel:
        """The model that the loaded config builds.

        Raises:
            ConfigError: the file's code fails.

        """
        loaded = cast(FusionModelConfig, self.loaded)
        with foreign_code(self.plugin_file, f"{self.class_name}.build"):
            model = loaded.build(streams, task)
            if not isinstance(model, FusionModel):
                raise TypeError(f"it gives {type(model).__name__}, which is no mer_ray.models.FusionModel")
        return model

    def check_streams(self, streams: Sequence[StreamSpec]) -> None:
        """As the loaded config does.

        Raises:
            ConfigError: streams that it does not read.

        """
        cast(FusionModelConfig, self.loaded).check_streams(streams)
