"""A corpus on disk or S3 becomes manifest rows; folds; validation; the synthetic corpus."""

from typing import Annotated

from pydantic import Field

from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.emodb import EmodbCorpusConfig
from mer_ray.corpora.files import FilesCorpusConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.table import TableCorpusConfig

AnyCorpus = Annotated[TableCorpusConfig | FilesCorpusConfig | EmodbCorpusConfig | MertoolsCorpusConfig, Field(discriminator="name")]

__all__ = ["AnyCorpus", "Corpus", "CorpusConfig", "Scan"]
