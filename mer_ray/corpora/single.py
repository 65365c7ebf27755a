"""All corpora that stand alone, in contrast to joined ones; a new corpus is one file and one line here."""

from typing import Annotated

from pydantic import Field

from mer_ray.corpora.crema_d import CremaDCorpusConfig
from mer_ray.corpora.emodb import EmodbCorpusConfig
from mer_ray.corpora.files import FilesCorpusConfig
from mer_ray.corpora.iemocap import IemocapCorpusConfig
from mer_ray.corpora.meld import MeldCorpusConfig
from mer_ray.corpora.mer2023 import Mer2023CorpusConfig
from mer_ray.corpora.mer2024 import Mer2024CorpusConfig
from mer_ray.corpora.mer2025 import Mer2025CorpusConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.msp_improv import MspImprovCorpusConfig
from mer_ray.corpora.plugin import PluginCorpusConfig
from mer_ray.corpora.ravdess import RavdessCorpusConfig
from mer_ray.corpora.table import TableCorpusConfig

SingleCorpusConfig = (
    TableCorpusConfig
    | FilesCorpusConfig
    | EmodbCorpusConfig
    | MertoolsCorpusConfig
    | Mer2023CorpusConfig
    | Mer2024CorpusConfig
    | Mer2025CorpusConfig
    | CremaDCorpusConfig
    | RavdessCorpusConfig
    | MspImprovCorpusConfig
    | MeldCorpusConfig
    | IemocapCorpusConfig
    | PluginCorpusConfig
)
SingleCorpus = Annotated[SingleCorpusConfig, Field(discriminator="name")]
