"""What the corpora of the MER challenges share, whatever a year's folders look like."""

from abc import abstractmethod
from collections.abc import Collection
from functools import cached_property

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Corpus, Scan
from mer_ray.corpora.mer_folder import list_names
from mer_ray.corpora.mer_releases import MerRelease
from mer_ray.corpora.mertools_labels import CLASSES, VALENCE_RANGE
from mer_ray.corpora.paths import absolute_root


class MerCorpus(Corpus):
    """Videos and labels joined by the whole name: six classes, valence from -5 to 5."""

    def __init__(self, path: str, release: MerRelease) -> None:
        self.root, self.release = absolute_root(path), release

    def facts(self) -> ManifestFacts:
        """The corpus is named as its release, in lower case."""
        return ManifestFacts(self.release.name.lower(), CLASSES, self.root, {"valence": VALENCE_RANGE}, licence=self.release.licence)

    def scan(self) -> Scan:
        """List the folders and read the labels; a label without a video is a fault."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        names = list_names(self.root)
        if names is None:
            raise ManifestError(f"{self.root}: no such folder; correct `path`")
        return self._read(names)

    @abstractmethod
    def _read(self, names: Collection[str]) -> Scan:
        """The scan of a root that holds these names.

        Raises:
            ManifestError: it is not this year's folder.

        """
