"""In which share of each clip's frames no face was found, of encoders that look for faces.

Shapes: N clips.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_ray.core.errors import StoreError
from mer_ray.store.clip_columns import read_clip_column
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord
from mer_ray.store.schemas import NO_FACE_SHARE


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
    found = read_clip_column(store, corpus, record, NO_FACE_SHARE)
    return FaceShares(found.clip_ids, found.values_N)
