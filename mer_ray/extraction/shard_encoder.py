"""One shard from files to Parquet, without Ray: fetch, decode, encode, write. Faults of a clip become failure rows."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

import torch

from mer_ray.core.errors import ClusterError, MediaError
from mer_ray.core.media_types import Audio, Clip, EncoderInput, Features, Frames, InputFormat
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import is_remote
from mer_ray.encoders import Encoder, EncoderConfig, PluginEncoderConfig, encoder_key, network_key
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.inputs import source_path
from mer_ray.extraction.long_clips import LongClip, encode_pieces, piece_seconds
from mer_ray.extraction.media_cache import Copies, fetched, refuse_outage
from mer_ray.extraction.shard_report import MAX_REPORTED_FAILURES, Fault, ShardReport, Stage
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.layout import open_store
from mer_ray.store.plugin_source import write_plugin_source
from mer_ray.store.writer import FailureRow, FeatureRow, check_representable, write_failures, write_features

Result = TypeVar("Result")
DecodedInput = EncoderInput | LongClip | Fault | None
DecodedClip = dict[InputFormat, DecodedInput]
Outcome = Features | Fault


@dataclass
class DecodedShard:
    """A shard's clips as arrays: per clip and format the input, None where the clip lacks it, or the fault that stopped it.

    A `LongClip` stands for frames that are decoded piece by piece when they are encoded.
    """

    shard: Shard
    inputs: list[DecodedClip]
    report: ShardReport


@dataclass
class EncodedShard:
    """What is to be written of a shard: per encoder key its clips with their features or faults."""

    outcomes: dict[str, list[tuple[ShardClip, Outcome]]] = field(default_factory=dict)


def attempt(stage: Stage, work: Callable[[], Result]) -> Result | Fault:
    """The per-clip boundary of the extraction: whatever a clip's data provokes ends as that clip's fault."""
    try:
        return work()
    except ClusterError:
        # A fault of the machine would fail every clip: it ends the run, and no clip is blamed.
        raise
    except Exception as error:  # noqa: BLE001 - what broken media can raise cannot be listed; the clip is recorded with its reason
        return Fault(stage, type(error).__name__, str(error) or repr(error))


def on_sound_device(work: Callable[[], Result]) -> Result:
    """Do work on a device; after an error of the device itself nothing more can be done with it in this process.

    Raises:
        ClusterError: the device failed.

    """
    try:
        return work()
    except torch.OutOfMemoryError:
        raise
    except torch.AcceleratorError as error:
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(f"the GPU of a worker failed: {reason}; what is done is kept, run again; twice means a broken GPU") from error


class ShardDecoder:
    """Takes shards from files to arrays: each clip once for all encoders that it lacks."""

    def __init__(self, encoders: Mapping[str, EncoderConfig], limits: MediaLimits, piece_mb: float) -> None:
        self.formats = {key: encoder.wanted_format for key, encoder in encoders.items()}
        self.readers = {wanted: [encoders[key] for key in encoders if self.formats[key] == wanted] for wanted in self.formats.values()}
        self.limits = limits
        self.piece_bytes = piece_mb * 2**20

    @contextmanager
    def fetched(self, shard: Shard, report: ShardReport) -> Iterator[Copies]:
        """Local copies of the shard's remote media for the block."""
        wanted = dict.fromkeys(
            path
            for item in shard.clips
            for input_format in self._formats_of(item)
            if (path := source_path(item.clip, input_format)) is not None and is_remote(path)
        )
        with ExitStack() as stack:
            with _timed(report, "fetch"):
                copies = stack.enter_context(fetched(wanted, self.limits))
                refuse_outage(copies)
            yield copies

    def decode(self, shard: Shard, copies: Copies, report: ShardReport) -> DecodedShard:
        """All inputs that the shard's clips need."""
        with _timed(report, "decode"):
            return DecodedShard(shard, [self._decode(item.clip, self._formats_of(item), copies) for item in shard.clips], report)

    def _formats_of(self, item: ShardClip) -> set[InputFormat]:
        return {self.formats[key] for key in item.input_hashes}

    def _decode(self, clip: Clip, formats: Collection[InputFormat], copies: Copies) -> DecodedClip:
        lost = {wanted: fault for wanted in formats if isinstance(fault := copies.get(source_path(clip, wanted) or ""), Fault)}
        local = {path: copy for path, copy in copies.items() if isinstance(copy, str)}
        long = {wanted: piece_seconds(clip, wanted, self.readers[wanted], self.limits, self.piece_bytes, local) for wanted in formats}
        in_pieces = {wanted: long_clip for wanted, long_clip in long.items() if long_clip is not None}
        whole = [wanted for wanted in formats if wanted not in lost and wanted not in in_pieces]
        return {**in_pieces, **lost, **self._decode_formats(clip, whole, local)}

    def _decode_formats(self, clip: Clip, formats: Collection[InputFormat], local: Mapping[str, str]) -> DecodedClip:
        decoded = attempt("decode", lambda: decode_clip(clip, formats, self.limits, local))
        if not isinstance(decoded, Fault):
            return dict(decoded)
        if len(formats) == 1:
            return dict.fromkeys(formats, decoded)
        # A broken file must not take the sentence with it, nor a broken picture the sound.
        alone: DecodedClip = {}
        for wanted in formats:
            alone |= self._decode_formats(clip, [wanted], local)
        return alone


class ShardEncoder:
    """Holds the built encoders of one worker and takes shards from arrays to features.

    Encoders that differ in their degradation alone are one network.
    """

    def __init__(self, encoders: Sequence[EncoderConfig], device: str) -> None:
        self.configs = {encoder_key(config): config for config in encoders}
        networks: dict[str, Encoder] = {}
        self.encoders: dict[str, Encoder] = {}
        for key, config in self.configs.items():
            if (network := network_key(config)) not in networks:
                networks[network] = config.build(device)
            self.encoders[key] = networks[network]

    def encode(self, decoded: DecodedShard) -> EncodedShard:
        """Features or faults of all that the shard's clips lack."""
        encoded, report = EncodedShard(), decoded.report
        with _timed(report, "encode"):
            before = self.padding()
            for key in self.configs:
                pairs = [
                    (item, inputs) for item, inputs in zip(decoded.shard.clips, decoded.inputs, strict=True) if key in item.input_hashes
                ]
                if pairs:
                    start_s = time.perf_counter()
                    encoded.outcomes[key] = self._encode_pairs(
                        key, [(item, inputs[self.configs[key].wanted_format]) for item, inputs in pairs]
                    )
                    report.encode_s[key] = time.perf_counter() - start_s
            real, padded = self.padding()
            report.real_units, report.padded_units = real - before[0], padded - before[1]
        return encoded

    def padding(self) -> tuple[int, int]:
        """Units (samples, frames, tokens) that went through networks so far, without and with padding."""
        counts = [encoder.padding() for encoder in dict.fromkeys(self.encoders.values())]
        return sum(real for real, _ in counts), sum(padded for _, padded in counts)

    def _encode_pairs(self, key: str, pairs: Sequence[tuple[ShardClip, DecodedInput]]) -> list[tuple[ShardClip, Outcome]]:
        """Each clip's outcome, with the weights that are for it."""
        choice = self.encoders[key].weight_choice
        if choice is None:
            outcomes = self._encode(key, [decoded for _, decoded in pairs])
            return list(zip([item for item, _ in pairs], outcomes, strict=True))
        found: list[tuple[ShardClip, Outcome]] = []
        names = [choice.name_for(item.clip.clip_id) for item, _ in pairs]
        for name in sorted(set(names)):
            choice.use(name)
            own = [pair for pair, wanted in zip(pairs, names, strict=True) if wanted == name]
            found += zip([item for item, _ in own], self._encode(key, [decoded for _, decoded in own]), strict=True)
        return found

    def _encode(self, key: str, inputs: Sequence[DecodedInput]) -> list[Outcome]:
        """One outcome per input, in order: all real inputs as one batch; each alone where the batch fails."""
        outcomes: dict[int, Outcome] = {}
        real: dict[int, EncoderInput] = {}
        for index, item in enumerate(inputs):
            if item is None:
                outcomes[index] = Features(0, 0.0)
            elif isinstance(item, Fault):
                outcomes[index] = item
            elif isinstance(item, LongClip):
                outcomes[index] = self._encode_long(key, item)
            elif isinstance(item, Frames) and not len(item.images):
                # No face in any frame: the clip lacks what this encoder sees.
                outcomes[index] = Features(0, 0.0, no_face_share=item.no_face_share)
            else:
                real[index] = item
        outcomes.update(zip(real, self._encode_batch(key, list(real.values())), strict=True))
        return [outcomes[index] for index in range(len(inputs))]

    def _encode_long(self, key: str, long_clip: LongClip) -> Outcome:
        def encode_and_check() -> Features:
            features = on_sound_device(lambda: encode_pieces(self.encoders[key], long_clip))
            check_representable(features, self.configs[key].dtype)
            return features

        outcome = attempt("encode", encode_and_check)
        # Its pieces are decoded while they are encoded.
        if isinstance(outcome, Fault) and outcome.error_type == MediaError.__name__:
            return replace(outcome, stage="decode")
        return outcome

    def _encode_batch(self, key: str, batch: list[EncoderInput]) -> list[Outcome]:
        if not batch:
            return []

        def encode_and_check() -> list[Outcome]:
            features = on_sound_device(lambda: self.encoders[key].encode(batch))
            for item in features:
                check_representable(item, self.configs[key].dtype)
            return [_with_snr(*pair) for pair in zip(features, batch, strict=True)]

        outcomes = attempt("encode", encode_and_check)
        if not isinstance(outcomes, Fault):
            return outcomes
        if len(batch) == 1:
            return [outcomes]
        return [outcome for item in batch for outcome in self._encode_batch(key, [item])]


class ShardWriter:
    """Publishes the features and failures of shards."""

    def __init__(self, encoder: ShardEncoder, store_url: str, corpus: str) -> None:
        self.records = {key: describe_encoder(encoder.configs[key], encoder.encoders[key]) for key in encoder.configs}
        # Of encoders whose code is not in the store yet, as far as this worker knows.
        self.plugins = {key: config.plugin_file for key, config in encoder.configs.items() if isinstance(config, PluginEncoderConfig)}
        self.store = open_store(store_url)
        self.corpus = corpus

    def write(self, encoded: EncodedShard, report: ShardReport) -> None:
        """One part of features and one of failures per encoder, and the counts in the report.

        Raises:
            StoreError: the store cannot be written.

        """
        with _timed(report, "write"):
            for key, pairs in encoded.outcomes.items():
                features = [FeatureRow(item.clip.clip_id, item.input_hashes[key], got) for item, got in pairs if isinstance(got, Features)]
                failures = [_failure(item, key, got) for item, got in pairs if isinstance(got, Fault)]
                if features:
                    if (plugin := self.plugins.pop(key, None)) is not None:
                        write_plugin_source(self.store, self.corpus, key, plugin.text)
                    write_features(self.store, self.corpus, self.records[key], features)
                if failures:
                    write_failures(self.store, self.corpus, key, failures)
                report.done[key], report.failed[key] = len(features), len(failures)
                report.lacking[key] = sum(row.features.num_frames == 0 for row in features)
                if self.records[key].adds_noise:
                    report.silent[key] = sum(row.features.num_frames > 0 and row.features.snr_db is None for row in features)
                report.failures += [(key, row.clip_id, row.message) for row in failures]
        report.failures = report.failures[:MAX_REPORTED_FAILURES]


class ShardWorker:
    """All stages of one process. Several calls may run at once: one computes while others fetch and write.

    Frames of a clip beyond `piece_mb` MiB are decoded in pieces. After `stop_at` (seconds since the epoch) shards are left undone.
    """

    def __init__(
        self,
        encoders: Sequence[EncoderConfig],
        store_url: str,
        corpus: str,
        limits: MediaLimits,
        piece_mb: float,
        device: str,
        stop_at: float | None = None,
    ) -> None:
        self.encoder = ShardEncoder(encoders, device)
        self.decoder = ShardDecoder(self.encoder.configs, limits, piece_mb)
        self.writer = ShardWriter(self.encoder, store_url, corpus)
        self.stop_at = stop_at
        self.computing = threading.Lock()

    def process(self, item: Shard | DecodedShard) -> ShardReport:
        """A shard, decoded or not, to published parts."""
        report = item.report if isinstance(item, DecodedShard) else begin_report(item)
        if is_over(self.stop_at):
            report.is_left = True
            return report
        encoded = self._encode(item, report)
        self.writer.write(encoded, report)
        report.ended_at = time.time()
        return report

    def _encode(self, item: Shard | DecodedShard, report: ShardReport) -> EncodedShard:
        if isinstance(item, DecodedShard):
            with self.computing:
                return self.encoder.encode(item)
        with self.decoder.fetched(item, report) as copies, self.computing:
            return self.encoder.encode(self.decoder.decode(item, copies, report))


def begin_report(shard: Shard) -> ShardReport:
    """An empty report of a shard that begins now."""
    return ShardReport(len(shard.clips), shard.media_s, started_at=time.time())


def is_over(stop_at: float | None) -> bool:
    """Whether the time to stop has come."""
    return stop_at is not None and time.time() >= stop_at


@contextmanager
def _timed(report: ShardReport, stage: Stage) -> Iterator[None]:
    start_s = time.perf_counter()
    yield
    report.seconds[stage] += time.perf_counter() - start_s


def _with_snr(features: Features, encoded: EncoderInput) -> Features:
    """With the ratio at which noise was added."""
    return replace(features, snr_db=encoded.snr_db) if isinstance(encoded, Audio) and encoded.snr_db is not None else features


def _failure(item: ShardClip, key: str, fault: Fault) -> FailureRow:
    return FailureRow(item.clip.clip_id, item.input_hashes[key], fault.stage, fault.error_type, fault.message, datetime.now(UTC))
