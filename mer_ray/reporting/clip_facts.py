"""What is known of single clips beside their labels: sex, corpus, duration, signal to noise, and how often a face was seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_ray.core.errors import ManifestError, StoreError
from mer_ray.core.manifest import read_manifest
from mer_ray.reporting.runs import Run
from mer_ray.store.catalog import list_encoders
from mer_ray.store.face_shares import read_face_shares
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import find_record

QUALITY_ENCODER, SNR_LAYER = "sound_quality", "snr_db"
MANIFEST_COLUMNS = ("sex", "corpus", "duration_s")


@dataclass(frozen=True)
class ClipFacts:
    """Values by clip id, and in `note` why there are none."""

    by_clip: Mapping[str, Any]
    note: str | None = None


def read_manifest_facts(run: Run) -> dict[str, ClipFacts]:
    """`sex`, `corpus` and `duration_s` of the manifest that the run's config names; a clip without a corpus is of the manifest's own."""
    path = run.config.get("manifest")
    if not isinstance(path, str):
        return _nothing("the run's config names no manifest")
    try:
        manifest = read_manifest(Path(path))
    except ManifestError as error:
        return _nothing(str(error))
    clip_ids = manifest.table["clip_id"].to_pylist()
    found = {}
    for column in MANIFEST_COLUMNS:
        values = manifest.table[column].to_pylist()
        if column == "corpus":
            values = [manifest.facts.corpus if value is None else value for value in values]
        known = {clip_id: value for clip_id, value in zip(clip_ids, values, strict=True) if value is not None}
        found[column] = ClipFacts(known, None if known else "the manifest does not know it")
    return found


def _nothing(note: str) -> dict[str, ClipFacts]:
    return dict.fromkeys(MANIFEST_COLUMNS, ClipFacts({}, note))


def read_snr(run: Run) -> ClipFacts:
    """The signal to noise ratio (dB) by the encoder `sound_quality`, where the run's store holds it for the run's corpus."""
    url = run.config.get("store")
    if not isinstance(url, str):
        return ClipFacts({}, "the run's config names no store")
    corpus = run.facts["corpus"]
    try:
        store = open_store(url)
        records = [record for record in list_encoders(store, corpus) if record.name == QUALITY_ENCODER]
        if not records:
            return ClipFacts({}, f"extract the encoder {QUALITY_ENCODER} to see scores by it")
        if len(records) > 1:
            return ClipFacts({}, f"the store holds {' and '.join(record.key for record in records)}: remove all but one of them")
        features = read_pooled(store, corpus, records[0], [SNR_LAYER], ("mean",))
    except StoreError as error:
        return ClipFacts({}, str(error))
    values_N = features.columns[f"mean_{SNR_LAYER}"][:, 0].astype(float)
    return ClipFacts({features.clip_ids[clip]: float(values_N[clip]) for clip in features.present.nonzero()[0]})


def read_face_shares_of(run: Run) -> dict[str, ClipFacts]:
    """By encoder of the run that looks for faces: the share of a clip's frames in which there is one; empty where none does."""
    encoders = list(dict.fromkeys(stream["encoder"] for stream in run.facts["streams"] if stream["modality"] == "vision"))
    url = run.config.get("store")
    if not isinstance(url, str):
        return {}
    found: dict[str, ClipFacts] = {}
    for key in encoders:
        try:
            facts = _face_shares(url, run.facts["corpus"], key)
        except StoreError as error:
            found[key] = ClipFacts({}, str(error))
            continue
        # Encoders often share a detector, and then say the same.
        if facts is not None and all(facts.by_clip != other.by_clip for other in found.values()):
            found[key] = facts
    return found


def _face_shares(url: str, corpus: str, key: str) -> ClipFacts | None:
    store = open_store(url)
    record = find_record(store, corpus, key)
    if record is None or not record.detects_faces:
        return None
    shares = read_face_shares(store, corpus, record)
    known = {clip_id: 1 - float(share) for clip_id, share in zip(shares.clip_ids, shares.no_face_share, strict=True) if share == share}
    return ClipFacts(known, None if known else "no clip has pictures")
