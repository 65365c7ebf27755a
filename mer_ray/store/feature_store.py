"""A store as people read it: which corpora and encoders it has, and their features as arrays."""

from collections.abc import Sequence

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import list_encoders, list_names, resolve_encoder
from mer_ray.store.layout import Store
from mer_ray.store.reader import PooledFeatures, SequenceFeatures, read_pooled, read_sequences
from mer_ray.store.record import EncoderRecord
from mer_ray.store.schemas import STATISTICS, Statistic


class FeatureStore:
    """Reads a store; nothing is written. `corpus` may be left out where there is only one."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def corpora(self) -> list[str]:
        """The corpora it holds features of.

        Raises:
            StoreError: the store cannot be listed.

        """
        return list(list_names(self.store, self.store.root))

    def encoders(self, corpus: str | None = None) -> list[EncoderRecord]:
        """The encoders of a corpus: layers, dimensions, licences.

        Raises:
            StoreError: no such corpus, or several and none named.

        """
        return list_encoders(self.store, self._corpus(corpus))

    def read(
        self,
        encoder: str,
        layers: Sequence[str] | None = None,
        statistics: Sequence[Statistic] = STATISTICS,
        clip_ids: Sequence[str] | None = None,
        corpus: str | None = None,
    ) -> PooledFeatures:
        """Pooled features: `columns["mean_<layer>"]` (N, D) of these layers and clips, all by default.

        Raises:
            StoreError: no such corpus, encoder or layer, or a damaged part.

        """
        name = self._corpus(corpus)
        return read_pooled(self.store, name, resolve_encoder(self.store, name, encoder), _listed(layers), statistics, clip_ids)

    def read_frames(
        self, encoder: str, layers: Sequence[str] | None = None, clip_ids: Sequence[str] | None = None, corpus: str | None = None
    ) -> SequenceFeatures:
        """Frames of the layers that were kept frame by frame (`sequences` of the encoder).

        Raises:
            StoreError: as `read`.

        """
        name = self._corpus(corpus)
        return read_sequences(self.store, name, resolve_encoder(self.store, name, encoder), _listed(layers), clip_ids)

    def _corpus(self, given: str | None) -> str:
        found = self.corpora
        if given is None and len(found) == 1:
            return found[0]
        if given not in found:
            if not found:
                raise StoreError(f"{self.store.url}: holds no features; give the folder that `mer-ray extract` wrote as `store`")
            what = "holds several corpora" if given is None else f"has no corpus {given!r}"
            raise StoreError(f"{self.store.url}: {what}; allowed: {', '.join(found)}")
        return str(given)


def _listed(layers: Sequence[str] | None) -> Sequence[str] | None:
    """One name is a list of one, and not of its letters."""
    return [layers] if isinstance(layers, str) else layers
