"""Degraded copies of an encoder are told by what their media suffered."""

from pathlib import Path

import pytest
from store_samples import make_record

from mer_ray.core.config import digest_of
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import StoreError
from mer_ray.store.degraded_copies import find_copy
from mer_ray.store.layout import Store, open_store
from mer_ray.store.record import EncoderRecord, encoder_key, write_record


def record_of(store: Store, degrade: DegradationConfig | None, **more: object) -> EncoderRecord:
    """Write what an extraction leaves of a sound encoder."""
    identity = digest_of([None if degrade is None else [degrade.noise_digest(), degrade.snr_db]])
    written = {} if degrade is None else {"degrade": degrade.model_dump(mode="json")}
    digest = None if degrade is None else degrade.noise_digest()
    facts = {"name": "tone", "key": encoder_key("tone", identity), "identity": identity, "config": written, "modality": "audio"}
    record = make_record(**(facts | {"noise_digest": digest} | more))
    write_record(store, "corpus", record)
    return record


def recordings(folder: Path, content: bytes) -> DegradationConfig:
    folder.mkdir(exist_ok=True)
    (folder / "a.wav").write_bytes(content)
    return DegradationConfig(noise=str(folder))


def test_recordings_are_told_by_their_content_and_not_by_their_folder(tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    clean = record_of(store, None)
    street = record_of(store, recordings(tmp_path / "noise", b"street"))
    # Other recordings in the same folder.
    cafe = record_of(store, recordings(tmp_path / "noise", b"cafe"))
    assert find_copy(store, "corpus", clean, DegradationConfig(noise=str(tmp_path / "noise"))) == cafe
    assert find_copy(store, "corpus", clean, recordings(tmp_path / "moved", b"street")) == street
    with pytest.raises(StoreError, match=r"no copy of tone@.* run `mer-ray extract`"):
        find_copy(store, "corpus", clean, recordings(tmp_path / "moved", b"wind"))


def test_where_recordings_are_not_at_hand_their_folder_counts(tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    clean = record_of(store, None)
    noise = recordings(tmp_path / "noise", b"street")
    street = record_of(store, noise)
    (tmp_path / "noise" / "a.wav").unlink()
    (tmp_path / "noise").rmdir()
    assert find_copy(store, "corpus", clean, noise) == street
    with pytest.raises(StoreError, match="no copy"):
        find_copy(store, "corpus", clean, DegradationConfig(noise=str(tmp_path / "elsewhere")))
