"""A corpus on disk or S3 becomes manifest rows; folds; validation; the synthetic corpus."""

from typing import Annotated

from pydantic import Field

from mer_ray.corpora._base import BaseCorpusConfig, Corpus, CorpusConfig, Scan, ValueRanges, manifest_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.joined import JoinedCorpusConfig
from mer_ray.corpora.single import SingleCorpusConfig

# New corpora are listed in `single`: they can be members of a joined one too.
AnyCorpus = Annotated[SingleCorpusConfig | JoinedCorpusConfig, Field(discriminator="name")]

__all__ = ["AnyCorpus", "BaseCorpusConfig", "Corpus", "CorpusConfig", "Fault", "Scan", "ValueRanges", "manifest_table"]
