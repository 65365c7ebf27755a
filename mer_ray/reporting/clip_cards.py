"""The clips of all runs that a person should look at, each once: what the cards of the error page show.

Shapes: K clips, C classes.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mer_ray.core.config import digest_of
from mer_ray.reporting.clip_groups import GROUPS
from mer_ray.reporting.clips import ClipMeans
from mer_ray.reporting.runs import Run


@dataclass(frozen=True)
class RunClips:
    """One run of the report, by its anchor there, and what it says of its clips."""

    run: Run
    slug: str
    means: ClipMeans

    @property
    def corpus(self) -> str:
        """The corpus that its clip ids belong to."""
        return str(self.run.facts["corpus"])


def clip_cards(runs: Sequence[RunClips], max_clips: Mapping[str, int]) -> dict[str, Any]:
    """JSON-able: `groups`, `cards` (most listed first) and `identity`, which is equal where runs, clips and labels are.

    `max_clips` by group bounds what each run lists. A card holds `slug`, `clip_id`, `corpus`, `speaker_id`, `label` (None = unknown; that
    of the first run that lists the clip), `classes` of its corpus in order, and a row of `verdicts` per run that predicted the clip:
    `run`, `name`, `predicted`, `probabilities` (of `classes`, None for a class that the run lacks), `ranks` by group.
    """
    classes_of = {one.corpus: _classes([other for other in runs if other.corpus == one.corpus]) for one in runs}
    ranks = [_ranks(one, max_clips) for one in runs]
    wanted = dict.fromkeys((one.corpus, clip_id) for one, of_run in zip(runs, ranks, strict=True) for clip_id in of_run)
    positions = [{str(clip_id): position for position, clip_id in enumerate(one.means.clip_ids_K)} for one in runs]
    cards = []
    for corpus, clip_id in wanted:
        sayings = [
            (one, of_clip[clip_id], of_run.get(clip_id, {}))
            for one, of_clip, of_run in zip(runs, positions, ranks, strict=True)
            if one.corpus == corpus and clip_id in of_clip
        ]
        cards.append(_card(corpus, clip_id, classes_of[corpus], sayings))
    cards.sort(key=_urgency)
    found = {key for card in cards for verdict in card["verdicts"] for key in verdict["ranks"]}
    return {
        "identity": digest_of(sorted(_identity(one) for one in runs)),
        "groups": [{"key": group.key, "title": group.title, "reason": group.reason} for group in GROUPS if group.key in found],
        "cards": cards,
    }


def _classes(runs: Sequence[RunClips]) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(one.run.classes for one in runs)))


def _ranks(one: RunClips, max_clips: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """By clip that the run lists: its place, from 0, in each group."""
    ranks: dict[str, dict[str, int]] = {}
    for group in GROUPS:
        for rank, position in enumerate(group.rank(one.run, one.means)[: max_clips[group.key]]):
            ranks.setdefault(str(one.means.clip_ids_K[position]), {})[group.key] = rank
    return ranks


def _card(corpus: str, clip_id: str, classes: list[str], sayings: Sequence[tuple[RunClips, int, dict[str, int]]]) -> dict[str, Any]:
    first, position, _ = next(saying for saying in sayings if saying[2])
    label = int(first.means.labels_K[position])
    return {
        "slug": _slug(corpus, clip_id),
        "clip_id": clip_id,
        "corpus": corpus,
        "speaker_id": first.means.speakers_K[position],
        "label": None if label < 0 else first.run.classes[label],
        "classes": classes,
        "verdicts": [_verdict(one, position, ranks, classes) for one, position, ranks in sayings],
    }


def _verdict(one: RunClips, position: int, ranks: dict[str, int], classes: list[str]) -> dict[str, Any]:
    by_class = dict(zip(one.run.classes, one.means.probabilities_KC[position].tolist(), strict=True))
    return {
        "run": one.slug,
        "name": one.run.name,
        "predicted": one.run.classes[int(one.means.predicted()[position])],
        "probabilities": [by_class.get(name) for name in classes],
        "ranks": ranks,
    }


def _urgency(card: dict[str, Any]) -> tuple[int, int, str]:
    """Clips that most runs list come first, then the first of a list."""
    places = [rank for verdict in card["verdicts"] for rank in verdict["ranks"].values()]
    return -len(places), min(places), card["clip_id"]


def _slug(corpus: str, clip_id: str) -> str:
    """Names an element of the page and a file: safe on every disk and in every address, another one for every clip."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", clip_id).strip("-")[:40]
    return f"clip-{readable}-{hashlib.sha256(f'{corpus}/{clip_id}'.encode()).hexdigest()[:8]}"


def _identity(one: RunClips) -> str:
    order_K = np.argsort(one.means.clip_ids_K)
    labels = [[str(one.means.clip_ids_K[clip]), int(one.means.labels_K[clip])] for clip in order_K]
    return digest_of([one.run.facts.get("identity"), one.run.name, one.corpus, labels])
