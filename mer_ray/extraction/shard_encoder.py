"""One shard from files to Parquet, without Ray: decode, encode, write. Faults of a clip become failure rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeVar

from mer_ray.core.media_types import Clip, EncoderInput, Features, InputFormat
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.plan import Shard, ShardClip
from mer_ray.store.layout import open_store
from mer_ray.store.writer import FailureRow, FeatureRow, check_representable, write_failures, write_features

Stage = Literal["decode", "encode"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Fault:
    """Why one clip failed, and where."""

    stage: Stage
    error_type: str
    message: str


DecodedClip = dict[InputFormat, EncoderInput | Fault | None]


@dataclass
class DecodedShard:
    """A shard's clips as arrays: per clip and format the input, None where the clip lacks it, or the fault that stopped it."""

    shard: Shard
    inputs: list[DecodedClip]
    decode_s: float
    started_at: float


@dataclass
class ShardReport:
    """What became of a shard: counts of clips per encoder key, failures as (key, clip_id, message), and seconds per stage."""

    num_clips: int
    media_s: float
    done: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0
    write_s: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0


def attempt(stage: Stage, work: Callable[[], Result]) -> Result | Fault:
    """The per-clip boundary of the extraction: whatever a clip's data provokes ends as that clip's fault."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - what broken media can raise cannot be listed; the clip is recorded with its reason
        return Fault(stage, type(error).__name__, str(error) or repr(error))


def decode_shard(shard: Shard, encoders: Mapping[str, EncoderConfig], limits: MediaLimits) -> DecodedShard:
    """Decode each clip once for all encoders that it lacks."""
    started_at, start_s = time.time(), time.perf_counter()
    inputs = [_decode_formats(item.clip, {encoders[key].input_format for key in item.input_hashes}, limits) for item in shard.clips]
    return DecodedShard(shard, inputs, time.perf_counter() - start_s, started_at)


def _decode_formats(clip: Clip, formats: set[InputFormat], limits: MediaLimits) -> DecodedClip:
    decoded = attempt("decode", lambda: decode_clip(clip, formats, limits))
    if not isinstance(decoded, Fault):
        return dict(decoded)
    if len(formats) == 1:
        return dict.fromkeys(formats, decoded)
    # A broken file must not take the sentence with it, nor a broken picture the sound.
    alone: DecodedClip = {}
    for wanted in formats:
        alone |= _decode_formats(clip, {wanted}, limits)
    return alone


class ShardEncoder:
    """Holds the built encoders of one worker and takes shards from decoded arrays to published parts."""

    def __init__(self, encoders: Sequence[EncoderConfig], store_url: str, corpus: str, device: str) -> None:
        self.configs = {encoder_key(config): config for config in encoders}
        self.encoders = {key: config.build(device) for key, config in self.configs.items()}
        self.records = {key: describe_encoder(self.configs[key], self.encoders[key]) for key in self.configs}
        self.store = open_store(store_url)
        self.corpus = corpus

    def process(self, decoded: DecodedShard) -> ShardReport:
        """Encode and write all that the shard's clips lack."""
        report = ShardReport(len(decoded.shard.clips), decoded.shard.media_s, decode_s=decoded.decode_s, started_at=decoded.started_at)
        for key in self.configs:
            pairs = [(item, inputs) for item, inputs in zip(decoded.shard.clips, decoded.inputs, strict=True) if key in item.input_hashes]
            if not pairs:
                continue
            start_s = time.perf_counter()
            outcomes = self._encode(key, [inputs[self.configs[key].input_format] for _, inputs in pairs])
            report.encode_s += time.perf_counter() - start_s
            start_s = time.perf_counter()
            features, failures = self._sort_outcomes(key, [item for item, _ in pairs], outcomes)
            if features:
                write_features(self.store, self.corpus, self.records[key], features)
            if failures:
                write_failures(self.store, self.corpus, key, failures)
            report.done[key] = len(features)
            report.failures += [(key, row.clip_id, row.message) for row in failures]
            report.write_s += time.perf_counter() - start_s
        report.ended_at = time.time()
        return report

    def _encode(self, key: str, inputs: Sequence[EncoderInput | Fault | None]) -> list[Features | Fault]:
        """One outcome per input, in order: all real inputs as one batch; each alone where the batch fails."""
        outcomes: list[Features | Fault] = [Features(0, 0.0) if item is None else Fault("decode", "", "") for item in inputs]
        real: dict[int, EncoderInput] = {}
        for index, item in enumerate(inputs):
            if isinstance(item, Fault):
                outcomes[index] = item
            elif item is not None:
                real[index] = item
        for index, outcome in zip(real, self._encode_batch(key, list(real.values())), strict=True):
            outcomes[index] = outcome
        return outcomes

    def _encode_batch(self, key: str, batch: list[EncoderInput]) -> list[Features | Fault]:
        if not batch:
            return []

        def encode_and_check() -> list[Features | Fault]:
            features = self.encoders[key].encode(batch)
            for item in features:
                check_representable(item, self.configs[key].dtype)
            return list(features)

        outcomes = attempt("encode", encode_and_check)
        if not isinstance(outcomes, Fault):
            return outcomes
        if len(batch) == 1:
            return [outcomes]
        return [outcome for item in batch for outcome in self._encode_batch(key, [item])]

    def _sort_outcomes(
        self, key: str, items: Sequence[ShardClip], outcomes: Sequence[Features | Fault]
    ) -> tuple[list[FeatureRow], list[FailureRow]]:
        features: list[FeatureRow] = []
        failures: list[FailureRow] = []
        for item, outcome in zip(items, outcomes, strict=True):
            clip_id, hash_ = item.clip.clip_id, item.input_hashes[key]
            if isinstance(outcome, Fault):
                failures.append(FailureRow(clip_id, hash_, outcome.stage, outcome.error_type, outcome.message, datetime.now(UTC)))
            else:
                features.append(FeatureRow(clip_id, hash_, outcome))
        return features, failures
