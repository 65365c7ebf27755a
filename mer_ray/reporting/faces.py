"""In how many frames no face was found, of the run's encoders that look for faces, read from its feature store."""

from typing import Any

import numpy as np

from mer_ray.core.errors import StoreError
from mer_ray.reporting.runs import Run
from mer_ray.store.face_shares import read_face_shares
from mer_ray.store.layout import open_store
from mer_ray.store.record import find_record

MAX_WORST = 20


def faces_of(run: Run) -> dict[str, Any]:
    """Per encoder that looks for faces its counts and the clips with fewest faces; `note` says why nothing is known.

    A row of `encoders` holds `encoder`, `num_clips` (with pictures), `share` (of frames without a face, mean over these clips),
    `num_without` (clips without any face), `num_mostly_without` (without a face in more than half of their frames).
    """
    encoders = list(dict.fromkeys(stream["encoder"] for stream in run.facts["streams"] if stream["modality"] == "vision"))
    url = run.config.get("store")
    found: dict[str, Any] = {"note": None, "encoders": [], "worst": []}
    if not encoders:
        return found
    if not isinstance(url, str):
        return {**found, "note": "The run's config names no store, so in how many frames there was a face is not known."}
    try:
        for key in encoders:
            _add(found, url, run.facts["corpus"], key)
    except StoreError as error:
        return {"note": f"In how many frames there was a face is not known: {error}", "encoders": [], "worst": []}
    found["worst"] = sorted(found["worst"], key=lambda row: (-row["share"], row["encoder"], row["clip_id"]))[:MAX_WORST]
    return found


def _add(found: dict[str, Any], url: str, corpus: str, key: str) -> None:
    store = open_store(url)
    record = find_record(store, corpus, key)
    if record is None:
        raise StoreError(f"{url}: holds no encoder {key} of corpus {corpus} any more")
    if not record.detects_faces:
        return
    shares = read_face_shares(store, corpus, record)
    has_pictures_N = np.isfinite(shares.no_face_share)
    known_N = shares.no_face_share[has_pictures_N].astype(float)
    found["encoders"].append(
        {
            "encoder": key,
            "num_clips": len(known_N),
            "share": float(known_N.mean()) if len(known_N) else None,
            "num_without": int((known_N == 1).sum()),
            "num_mostly_without": int((known_N > 0.5).sum()),
        }
    )
    found["worst"] += [
        {"encoder": key, "clip_id": shares.clip_ids[clip], "share": float(shares.no_face_share[clip])}
        for clip in np.flatnonzero(has_pictures_N & (shares.no_face_share > 0))
    ]
