"""What a store knows of an encoder: `_encoder.json` beside its parts."""

import re
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from mer_ray.core.config import Config
from mer_ray.core.errors import StoreError
from mer_ray.core.media_types import Modality
from mer_ray.store.layout import Store
from mer_ray.store.publishing import publish, read_if_there

StoredType = Literal["float16", "float32"]

# A dot in a column's name means a nested field to Parquet readers.
_LAYER = re.compile(r"[A-Za-z0-9_+-]+")

# What decides the values in the parts. The config is in there by its digest; versions and licence are notes.
_CONTENT = ("name", "key", "identity", "modality", "layers", "sequences", "rate_hz", "frame_s", "dtype", "detects_faces", "weights_digest")


def encoder_key(name: str, identity: str) -> str:
    """The name of an encoder's folder: `<name>@<first 8 hex of its identity>`."""
    return f"{name}@{identity[:8]}"


class EncoderRecord(Config):
    """One encoder as stored: `layers` name -> D in depth order, `sequences` the layers kept frame by frame.

    `identity` is a sha256 in hex and `key` follows from it; `config` holds the identity fields. `rate_hz` is the frame
    rate that sequences were pooled to, `frame_s` the seconds between frames; None where it differs from clip to clip.
    `degrade` in `config` says what the media suffered, `noise_digest` which noise that was: recordings by their content, and never by
    their folder. `detects_faces`: the parts say of each clip in which share of its frames no face was found.
    """

    name: str
    key: str
    identity: str = Field(pattern=r"^[0-9a-f]{64}$")
    config: dict[str, Any]
    modality: Modality
    layers: dict[str, PositiveInt] = Field(min_length=1)
    sequences: tuple[str, ...] = ()
    rate_hz: PositiveFloat | None = None
    frame_s: PositiveFloat | None = None
    dtype: StoredType = "float16"
    detects_faces: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    weights_digest: str | None = None
    noise_digest: str | None = None
    licence: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key != encoder_key(self.name, self.identity):
            raise ValueError(f"key {self.key!r} must be {encoder_key(self.name, self.identity)!r}")
        for layer in self.layers:
            if not _LAYER.fullmatch(layer):
                raise ValueError(f"layer {layer!r}: a layer's name is a column's name: letters, digits, _ + -")
        unknown = [layer for layer in self.sequences if layer not in self.layers]
        if unknown:
            raise ValueError(f"sequences name {', '.join(unknown)}, which are no layers; layers: {', '.join(self.layers)}")
        return self

    @property
    def degrade(self) -> dict[str, Any] | None:
        """What the media suffered before they were encoded; None: they are as they are."""
        found = self.config.get("degrade")
        return found if isinstance(found, dict) else None

    @property
    def adds_noise(self) -> bool:
        """Whether the parts say of each clip at which ratio noise was added to its sound."""
        degrade = self.degrade or {}
        return self.modality == "audio" and degrade.get("noise") is not None and "audio" not in degrade.get("without", ())


def write_record(store: Store, corpus: str, record: EncoderRecord) -> None:
    """Write `_encoder.json` whole, unless the same encoder is there already.

    Raises:
        StoreError: another encoder lies under this key, or the file cannot be written.

    """
    path = store.record_path(corpus, record.key)
    existing = find_record(store, corpus, record.key)
    if existing is not None:
        differing = [name for name in _CONTENT if _content(existing, name) != _content(record, name)]
        if differing:
            raise StoreError(
                f"{store.locate(path)}: describes another encoder under the same key: {', '.join(differing)} differ; "
                "write to another store, or remove this folder to extract anew"
            )
        return
    with publish(store, path) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def find_record(store: Store, corpus: str, key: str) -> EncoderRecord | None:
    """Read `_encoder.json`; None where there is none.

    Raises:
        StoreError: the file is not a record, or cannot be read.

    """
    path = store.record_path(corpus, key)
    text = read_if_there(store, path)
    if text is None:
        return None
    try:
        return EncoderRecord.model_validate_json(text)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False))
        raise StoreError(f"{store.locate(path)}: not a record of an encoder ({reasons}); remove the folder to extract anew") from error


def _content(record: EncoderRecord, name: str) -> Any:
    value = getattr(record, name)
    return list(value.items()) if isinstance(value, dict) else value
