"""The `plugin` corpus: one whose config is a class in a file of the user."""

from typing import ClassVar, cast

from mer_ray.core.config import Config
from mer_ray.core.plugin_file import foreign_code
from mer_ray.core.plugins import PluginConfig
from mer_ray.corpora._base import BaseCorpusConfig, Corpus


class PluginCorpusConfig(PluginConfig, BaseCorpusConfig):
    """`class` names a `CorpusConfig` in `file`."""

    family: ClassVar[type[Config]] = BaseCorpusConfig

    def build(self) -> Corpus:
        """The corpus that the loaded config builds.

        Raises:
            ConfigError: the file's code fails.

        """
        loaded = cast(BaseCorpusConfig, self.loaded)
        with foreign_code(self.plugin_file, f"{self.class_name}.build"):
            corpus = loaded.build()
            if not isinstance(corpus, Corpus):
                raise TypeError(f"it gives {type(corpus).__name__}, which is no mer_ray.corpora.Corpus")
        return corpus

    def places(self) -> tuple[str, ...]:
        """Those of the loaded config, and the file itself: another scan may find something else."""
        return (*cast(BaseCorpusConfig, self.loaded).places(), str(self.file))
