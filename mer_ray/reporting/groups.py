"""Scores of parts of a split: by who speaks, where a clip comes from, how it was recorded, and what it lacks.

Shapes: N prediction rows (clip and seed).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.objectives.metrics import EMOTION_METRICS
from mer_ray.reporting.attention import heard_streams, stream_modalities
from mer_ray.reporting.clip_facts import ClipFacts, read_face_shares_of, read_manifest_facts, read_snr
from mer_ray.reporting.group_bins import face_bins, quantile_bins
from mer_ray.reporting.runs import Run, SplitPredictions
from mer_ray.reporting.scoring import MIN_CLIPS, GroupScore, find_gap, score_groups
from mer_ray.reporting.words import format_number, metric_title

ALL_PRESENT = "all present"
UNKNOWN = "unknown"
SHOWN_METRICS = ("weighted_f1", "uar", "accuracy")


# Values by clip -> group by clip, and the groups in their natural order (None: there is none, hardest first).
Parts = tuple[dict[str, str], list[str] | None]


@dataclass(frozen=True)
class Grouping:
    """One way to part the clips: its name in the JSON, the question that it answers, and `what` its groups are.

    `group_of_row` (N,); `order` lists the groups in their natural order, None = hardest first.
    """

    name: str
    title: str
    what: str
    group_of_row: npt.NDArray[Any]
    order: Sequence[str] | None = None


@dataclass(frozen=True)
class Source:
    """Facts of clips that become a `Grouping` by `part`."""

    name: str
    title: str
    what: str
    facts: ClipFacts
    part: Callable[[Mapping[str, Any]], Parts]


def groups_of(run: Run, labelled: SplitPredictions, metric: str) -> dict[str, Any]:
    """`metric` (an emotion metric) and `metrics`, the `tables` of the groupings with two groups or more, `notes` why others have none.

    A table holds `name`, `title`, `what`, `headline` (None unless a gap is more than chance) and `rows` of `GroupScore.row`.
    """
    shown = metric if metric in EMOTION_METRICS else SHOWN_METRICS[0]
    tables: list[dict[str, Any]] = []
    reasons: list[tuple[str, str]] = []
    if labelled.num_rows:
        sources = _sources(run)
        reasons += [(source.what, source.facts.note) for source in sources if source.facts.note is not None]
        presence = _by_presence(labelled, run)
        if not presence and len(run.facts["streams"]) > 1:
            reasons.append(("inputs", "the run stored no attention weights, which tell what a clip had"))
        groupings = [_by_speaker(labelled), *presence]
        groupings += [_by_facts(source, labelled) for source in sources if source.facts.note is None]
        for grouping in groupings:
            named = set(grouping.group_of_row) - {UNKNOWN}
            if len(named) > 1:
                tables.append(_table(grouping, labelled, run.classes, shown))
            else:
                reasons.append((grouping.what, _only(named)))
    metrics = list(dict.fromkeys([shown, *SHOWN_METRICS]))
    return {"metric": shown, "metrics": metrics, "min_clips": MIN_CLIPS, "tables": tables, "notes": _notes(reasons)}


def _notes(reasons: Sequence[tuple[str, str]]) -> list[str]:
    """A line per reason, with all that it keeps from view."""
    by_reason: dict[str, list[str]] = {}
    for what, reason in reasons:
        by_reason.setdefault(reason, []).append(what)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _only(named: set[str]) -> str:
    return f"one group only ({next(iter(named))})" if named else "unknown for these clips"


def _table(grouping: Grouping, labelled: SplitPredictions, classes: tuple[str, ...], metric: str) -> dict[str, Any]:
    scored = score_groups(labelled, grouping.group_of_row, classes)
    if grouping.order is None:
        # Small groups vary most, so they would lead any list of the worst.
        scored.sort(key=lambda one: (one.group == UNKNOWN, one.resampled is None, one.means[metric]))
    else:
        position = {name: number for number, name in enumerate((*grouping.order, UNKNOWN))}
        scored.sort(key=lambda one: position[one.group])
    return {
        "name": grouping.name,
        "title": grouping.title,
        "what": grouping.what,
        "headline": _headline(scored, metric),
        "rows": [one.row() for one in scored],
    }


def _headline(scored: Sequence[GroupScore], metric: str) -> str | None:
    gap = find_gap([one for one in scored if one.group != UNKNOWN], metric)
    if gap is None:
        return None
    title = metric_title(metric)
    widened = f", widened for {gap.num_comparisons} comparisons" if gap.num_comparisons > 1 else ""
    return (
        f"{title[0].upper()}{title[1:]} is {format_number(gap.difference)} lower for “{gap.lowest.group}” than for “{gap.highest.group}” "
        f"(95 % interval {format_number(gap.low)} to {format_number(gap.high)}{widened})."
    )


def _sources(run: Run) -> list[Source]:
    manifest = read_manifest_facts(run)
    shares = read_face_shares_of(run)
    return [
        Source("sex", "Does the sex of the speaker matter?", "sex", manifest["sex"], _as_they_are),
        Source("corpus", "Does it work on every corpus?", "corpus", manifest["corpus"], _as_they_are),
        Source("duration", "Does the length of a clip matter?", "duration", manifest["duration_s"], partial(quantile_bins, unit="s")),
        *(
            [Source("snr", "Does noise matter?", "signal to noise", read_snr(run), partial(quantile_bins, unit="dB"))]
            if "audio" in run.modalities
            else []
        ),
        *(
            Source(
                "faces", "Does it matter how often a face is seen?", f"face seen{f' ({key})' if len(shares) > 1 else ''}", facts, face_bins
            )
            for key, facts in shares.items()
        ),
    ]


def _as_they_are(values: Mapping[str, Any]) -> Parts:
    return {clip_id: str(value) for clip_id, value in values.items()}, None


def _by_facts(source: Source, labelled: SplitPredictions) -> Grouping:
    """Edges of bins are those of the clips that are scored."""
    known = source.facts.by_clip
    group_of_clip, order = source.part({clip_id: known[clip_id] for clip_id in dict.fromkeys(labelled.clip_ids_N) if clip_id in known})
    groups_N = np.asarray([group_of_clip.get(clip_id, UNKNOWN) for clip_id in labelled.clip_ids_N], dtype=object)
    return Grouping(source.name, source.title, source.what, groups_N, order)


def _by_speaker(labelled: SplitPredictions) -> Grouping:
    speakers_N = np.asarray([UNKNOWN if speaker is None else speaker for speaker in labelled.speakers_N], dtype=object)
    return Grouping("speaker", "Does it work for every speaker?", "speaker", speakers_N)


def _by_presence(labelled: SplitPredictions, run: Run) -> list[Grouping]:
    """By the modalities that a clip lacks; none where the run stored no attention weights."""
    if not np.isfinite(labelled.attention_NS).any():
        return []
    patterns_N = _patterns(labelled, run)
    counts = {pattern: int((patterns_N == pattern).sum()) for pattern in set(patterns_N)}
    order = sorted(counts, key=lambda pattern: (pattern != ALL_PRESENT, -counts[pattern], pattern))
    return [Grouping("presence", "What if an input is missing?", "inputs", patterns_N, tuple(order))]


def _patterns(labelled: SplitPredictions, run: Run) -> npt.NDArray[Any]:
    modality_S = np.asarray(stream_modalities(run, labelled.attention_names))
    heard = heard_streams(labelled)
    missing_N: list[list[str]] = [[] for _ in range(labelled.num_rows)]
    for modality in dict.fromkeys(modality_S):
        for row in np.flatnonzero(~heard[:, modality_S == modality].any(axis=1)):
            missing_N[row].append(str(modality))
    return np.asarray([f"without {' and '.join(missing)}" if missing else ALL_PRESENT for missing in missing_N], dtype=object)
