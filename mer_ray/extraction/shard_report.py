"""What a worker tells of a shard: small, because a million clips make thousands of them."""

from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["fetch", "decode", "encode", "write"]
STAGES: tuple[Stage, ...] = ("fetch", "decode", "encode", "write")
# Of each shard; the store has all of them.
MAX_REPORTED_FAILURES = 20


@dataclass(frozen=True)
class Fault:
    """Why one clip failed, and where."""

    stage: Stage
    error_type: str
    message: str


@dataclass
class ShardReport:
    """What became of a shard: counts of clips per encoder key, some failures as (key, clip_id, message), seconds per stage.

    `lacking` counts those of `done` whose clip lacks the modality, or any face; `silent` those that were to get noise and are silent,
    so that they stay as they are.
    `encode_s` are the seconds of the stage `encode` per encoder key. `real_units` and `padded_units` count what went through the
    networks. `is_left` tells that the budget was spent before the shard was begun.
    """

    num_clips: int
    media_s: float
    done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    encode_s: dict[str, float] = field(default_factory=dict)
    real_units: int = 0
    padded_units: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    is_left: bool = False
