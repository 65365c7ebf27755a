"""In which share of each clip's frames no face was found, of encoders that look for faces.

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
from mer_ray.store.schemas import NO_FACE_SHARE, feature_schema
from mer_ray.store.selection import all_clips, select_rows


@dataclass(frozen=True)
class FaceShares:
    """Per clip, by clip_id, the share of its frames without a face (N,), 0 to 1; NaN where it has no pictures at all."""

    clip_ids: tuple[str, ...]
    no_face_share: npt.NDArray[np.float32]


def read_face_shares(store: Store, corpus: str, record: EncoderRecord) -> FaceShares:
    """Read the shares of all clips of an encoder, each clip once.

    Raises:
        StoreError: the encoder looks for no faces, or a damaged or foreign part.

    """
    if not record.detects_faces:
        raise StoreError(f"{store.locate(store.record_path(corpus, record.key))}: this encoder looks for no faces")
    schema = feature_schema(record)

    def read() -> FaceShares:
        parts = scan_parts(store, corpus, record.key, "features")
        selection = select_rows(parts, all_clips(parts))
        share_N = np.full(len(selection.clip_ids), np.nan, np.float32)
        for chosen in selection.by_part():
            for fetched in fetch_rows(store, record.key, "features", schema, parts[chosen.part], chosen.rows, [NO_FACE_SHARE]):
                share_N[chosen.clips[fetched.which]] = fetched.table[NO_FACE_SHARE].to_numpy()[fetched.where]
        return FaceShares(tuple(selection.clip_ids.to_pylist()), share_N)

    return read_stable(store, store.part_folder(corpus, record.key, "features"), read)
