"""The degraded copies of an encoder in a store: the same encoder over noisy sound or blurred pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_ray.core.degradation import SPEECH_LIKE, DegradationConfig
from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import list_encoders
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord

# Where files lie: what is in them stands in the record's digests.
PLACES = ("weights", "file")


def find_copy(store: Store, corpus: str, clean: EncoderRecord, degrade: DegradationConfig) -> EncoderRecord:
    """The copy of `clean` whose media suffered exactly this; `degrade` is what concerns its modality.

    Recordings of noise are told by their content; where they are not at hand, or a store of before does not tell, by their folder.

    Raises:
        StoreError: there is none, or several; the message names the extraction that makes it.

    """
    copies = [record for record in list_encoders(store, corpus) if record.degrade is not None and _is_copy(record, clean)]
    found = [record for record in copies if _suffered_this(record, degrade)]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(record.key for record in found)
        raise StoreError(
            f"{store.url}: {len(found)} copies of {clean.key} have {degrade.describe()}: {keys}; remove the folders of all but one"
        )
    known = "; ".join(f"{record.key}: {DegradationConfig.model_validate(record.degrade).describe()}" for record in copies) or "none"
    written = json.dumps(degrade.model_dump(mode="json", exclude_defaults=True))
    raise StoreError(
        f"{store.url}: {corpus} has no copy of {clean.key} with {degrade.describe()}; run `mer-ray extract` with this manifest, store and "
        f"encoder, and degrade: {written}. Copies of it: {known}"
    )


def _is_copy(record: EncoderRecord, clean: EncoderRecord) -> bool:
    alike = all(getattr(record, name) == getattr(clean, name) for name in ("name", "layers", "sequences", "dtype", "weights_digest"))
    return alike and _settings(record.config) == _settings(clean.config)


def _suffered_this(record: EncoderRecord, degrade: DegradationConfig) -> bool:
    suffered = DegradationConfig.model_validate(record.degrade).of(record.modality)
    if suffered is None or degrade.noise is None or record.noise_digest is None or not _is_at_hand(degrade.noise):
        return suffered == degrade
    return suffered.model_copy(update={"noise": degrade.noise}) == degrade and record.noise_digest == degrade.noise_digest()


def _is_at_hand(noise: str) -> bool:
    return noise == SPEECH_LIKE or Path(noise).is_dir()


def _settings(config: Any) -> Any:
    """A config without what it degrades and where its files lie."""
    if isinstance(config, Mapping):
        return {key: _settings(value) for key, value in config.items() if key != "degrade" and key not in PLACES}
    return [_settings(item) for item in config] if isinstance(config, (list, tuple)) else config
