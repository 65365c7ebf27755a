"""What the parts of an encoder say of each clip beside its features.

Shapes: N clips.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord
from mer_ray.store.rows import fetch_rows
from mer_ray.store.scanning import read_stable, scan_parts
from mer_ray.store.schemas import SNR_DB, feature_schema
from mer_ray.store.selection import all_clips, select_rows


@dataclass(frozen=True)
class ClipColumn:
    """One number per clip (N,), by clip_id; NaN where the parts have none."""

    clip_ids: tuple[str, ...]
    values_N: npt.NDArray[np.float32]

    @property
    def by_clip(self) -> dict[str, float]:
        """The numbers by clip_id."""
        return dict(zip(self.clip_ids, self.values_N.tolist(), strict=True))


def read_clip_column(store: Store, corpus: str, record: EncoderRecord, column: str) -> ClipColumn:
    """Read a column of numbers of all clips of an encoder, each clip once.

    Raises:
        StoreError: a damaged or foreign part.

    """
    schema = feature_schema(record)

    def read() -> ClipColumn:
        parts = scan_parts(store, corpus, record.key, "features")
        selection = select_rows(parts, all_clips(parts))
        values_N = np.full(len(selection.clip_ids), np.nan, np.float32)
        for chosen in selection.by_part():
            for fetched in fetch_rows(store, record.key, "features", schema, parts[chosen.part], chosen.rows, [column]):
                values_N[chosen.clips[fetched.which]] = fetched.table[column].to_numpy()[fetched.where]
        return ClipColumn(tuple(selection.clip_ids.to_pylist()), values_N)

    return read_stable(store, store.part_folder(corpus, record.key, "features"), read)


def read_snr(store: Store, corpus: str, record: EncoderRecord) -> ClipColumn:
    """At which signal to noise ratio in dB noise was added; NaN where none was: the clip is silent, or has no sound.

    Raises:
        StoreError: the encoder adds no noise, or a damaged or foreign part.

    """
    if not record.adds_noise:
        raise StoreError(f"{store.locate(store.record_path(corpus, record.key))}: this encoder's sounds got no noise")
    return read_clip_column(store, corpus, record, SNR_DB)
