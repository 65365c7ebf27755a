"""What is left to do, cut into shards: clips that are decoded, encoded and written together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from mer_ray.core.manifest import Manifest, read_manifest
from mer_ray.core.media_types import AudioFormat, Clip, FrameFormat, InputFormat
from mer_ray.core.table import Table
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.inputs import input_hash, source_path, stamp_files
from mer_ray.store.catalog import left_to_do
from mer_ray.store.layout import open_store

# A clip whose duration no header told is planned as a short utterance.
UNKNOWN_DURATION_S = 5.0
# Enough shards for each actor that the slowest one finishes soon after the others.
SHARDS_PER_ACTOR = 12


@dataclass(frozen=True)
class ShardClip:
    """A clip and, for each encoder key that it lacks, the hash of the input it is encoded from."""

    clip: Clip
    input_hashes: dict[str, str]


@dataclass(frozen=True)
class Shard:
    """Clips of similar length that travel, are encoded and are written together."""

    number: int
    clips: tuple[ShardClip, ...]

    @property
    def media_s(self) -> float:
        """Seconds of media, as the manifest knows them."""
        return sum(planned_duration_s(item.clip) for item in self.clips)


@dataclass(frozen=True)
class ExtractionPlan:
    """What is wanted per encoder key (clip_id, input_hash), the clips that lack some of it, and how many were done before."""

    manifest: Manifest
    keys: Mapping[str, EncoderConfig]
    wanted: Mapping[str, pa.Table]
    pending: tuple[ShardClip, ...]
    skipped: dict[str, int]

    @cached_property
    def left(self) -> dict[str, int]:
        """Clips left to do per encoder key."""
        return {key: sum(key in item.input_hashes for item in self.pending) for key in self.keys}

    @property
    def media_s(self) -> float:
        """Seconds of media to decode."""
        return sum(planned_duration_s(item.clip) for item in self.pending)

    def table(self) -> Table:
        """The plan as `--dry-run` shows it."""
        rows = tuple(
            (key, self.keys[key].modality, self.skipped[key] + self.left[key], self.skipped[key], self.left[key]) for key in self.keys
        )
        note = f"{len(self.pending)} clips, {self.media_s / 3600:.2f} h of media to decode"
        return Table("Extraction plan", ("encoder", "modality", "clips", "done before", "left"), rows, (note,))


def plan_extraction(config: ExtractConfig) -> ExtractionPlan:
    """Compare manifest and store: every (clip, encoder) pair without a feature or failure row of its current input is left to do."""
    manifest = read_manifest(config.manifest)
    clips = manifest.clips()
    keys = {encoder_key(encoder): encoder for encoder in config.encoders}
    modalities = {encoder.modality for encoder in keys.values()}
    paths = {path for clip in clips for modality in modalities if (path := source_path(clip, modality)) is not None}
    stamps = stamp_files(paths)
    store = open_store(config.store)

    hashes_by_clip: dict[str, dict[str, str]] = defaultdict(dict)
    skipped, wanted = {}, {}
    for key, encoder in keys.items():
        hashes = [input_hash(clip, encoder.modality, stamps) for clip in clips]
        wanted[key] = pa.table({"clip_id": [clip.clip_id for clip in clips], "input_hash": hashes})
        left = left_to_do(store, manifest.facts.corpus, key, wanted[key], retry_failed=config.retry_failed)
        for clip_id, hash_ in zip(left["clip_id"].to_pylist(), left["input_hash"].to_pylist(), strict=True):
            hashes_by_clip[clip_id][key] = hash_
        skipped[key] = len(clips) - left.num_rows
    pending = tuple(ShardClip(clip, hashes_by_clip[clip.clip_id]) for clip in clips if clip.clip_id in hashes_by_clip)
    return ExtractionPlan(manifest, keys, wanted, pending, skipped)


def planned_duration_s(clip: Clip) -> float:
    """The clip's duration, or a guess for planning where the manifest has none."""
    return clip.duration_s if clip.duration_s is not None else UNKNOWN_DURATION_S


def cut_shards(plan: ExtractionPlan, config: ExtractConfig, num_actors: int) -> list[Shard]:
    """Shards within the budgets of bytes and media time, of clips that lack the same encoders, longest clips first."""
    budget_bytes = config.shard_mb * 2**20
    groups: dict[tuple[str, ...], list[ShardClip]] = defaultdict(list)
    for item in plan.pending:
        groups[tuple(item.input_hashes)].append(item)
    total = {"bytes": 0.0, "media_s": plan.media_s}
    sizes: dict[str, float] = {}
    for keys, items in groups.items():
        formats = {plan.keys[key].input_format for key in keys}
        for item in items:
            sizes[item.clip.clip_id] = decoded_bytes(item.clip, formats)
    total["bytes"] = sum(sizes.values())
    share = 1 / (SHARDS_PER_ACTOR * num_actors)
    budget_bytes = min(budget_bytes, max(total["bytes"] * share, 1.0))
    budget_s = min(config.shard_media_s, max(total["media_s"] * share, 1e-3))

    shards: list[Shard] = []
    for items in groups.values():
        longest_first = sorted(items, key=lambda item: (-planned_duration_s(item.clip), item.clip.clip_id))
        for chosen in _fill(longest_first, sizes, budget_bytes, budget_s):
            shards.append(Shard(len(shards), tuple(chosen)))
    return shards


def _fill(items: Sequence[ShardClip], sizes: dict[str, float], budget_bytes: float, budget_s: float) -> list[list[ShardClip]]:
    bins: list[list[ShardClip]] = []
    bytes_used = seconds_used = 0.0
    for item in items:
        size, duration_s = sizes[item.clip.clip_id], planned_duration_s(item.clip)
        if not bins or bytes_used + size > budget_bytes or seconds_used + duration_s > budget_s:
            bins.append([])
            bytes_used = seconds_used = 0.0
        bins[-1].append(item)
        bytes_used += size
        seconds_used += duration_s
    return bins


def decoded_bytes(clip: Clip, formats: set[InputFormat]) -> float:
    """The size of a clip's decoded arrays in all wanted formats."""
    duration_s = planned_duration_s(clip)
    total = float(len(clip.text or ""))
    for wanted in formats:
        if isinstance(wanted, AudioFormat):
            total += 4 * wanted.sample_rate_hz * duration_s
        elif isinstance(wanted, FrameFormat):
            num_frames = wanted.num_frames if wanted.num_frames is not None else (wanted.rate_hz or 0.0) * duration_s
            total += 3 * wanted.size**2 * num_frames
    return total
