"""On which clips published rows were scored, and on which ours: what must stand below a table that shows both."""

from collections.abc import Sequence
from dataclasses import dataclass

from mer_ray.core.counting import say_count
from mer_ray.corpora.mer_releases import MER2023
from mer_ray.reporting.references import PublishedRow

# Published on the clips that the challenge held back for its tracks.
CHALLENGES = ("MER2023", "MER2024")
# Where our manifests keep a track's clips (corpora/mer2023.py).
OUR_SPLITS = {("MER2023", "MULTI"): "test1", ("MER2023", "NOISE"): "test2", ("MER2023", "SEMI"): "test3"}


@dataclass(frozen=True)
class ScoredClips:
    """What one run was scored on; `num_folds` None without folds."""

    name: str
    corpus: str
    split: str
    num_clips: int
    num_folds: int | None
    protocol: str


def compare_clips(runs: Sequence[ScoredClips], published: Sequence[PublishedRow]) -> list[str]:
    """Sentences: what the published rows were scored on, what ours, and which runs are of another corpus; none without published rows."""
    if not published:
        return []
    places = list(dict.fromkeys((row.corpus, row.split) for row in published))
    ours = list(dict.fromkeys(map(_name_clips, runs)))
    if len(places) == 1 and all(_are_alike(run, places[0]) for run in runs):
        verdict = "as many as the official ones; check that they are the same"
    else:
        verdict = "not the same clips, compare with care"
    sentences = [f"Published rows were scored on {_name_places(places)}; ours on {'; '.join(ours)}: {verdict}."]
    references = list(dict.fromkeys(corpus for corpus, _ in places))
    strangers: dict[str, list[str]] = {}
    for run in runs:
        if not any(is_same_corpus(run.corpus, corpus) for corpus in references):
            strangers.setdefault(run.corpus, []).append(run.name)
    for corpus, names in strangers.items():
        sentences.append(f"{', '.join(names)}: of another corpus by its name, {corpus}, not {', '.join(references)}.")
    return sentences


def is_same_corpus(one: str, other: str) -> bool:
    """Whether two names mean one corpus: case and punctuation do not count, msp_improv is MSP-IMPROV."""
    return _letters(one) == _letters(other)


def _letters(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _name_places(places: Sequence[tuple[str, str]]) -> str:
    """`the official test clips of MER2023 MULTI`; corpora without official ones have the division of their source."""
    official = [f"{corpus} {split}" for corpus, split in places if corpus in CHALLENGES]
    own = [f"{corpus} ({split})" for corpus, split in places if corpus not in CHALLENGES]
    parts = [f"the official test clips of {', '.join(official)}"] if official else []
    return " and ".join([*parts, *([f"the clips that their source chose of {', '.join(own)}"] if own else [])])


def _name_clips(run: ScoredClips) -> str:
    clips = f"{say_count(run.num_clips, f'{run.split} clip')} of {run.corpus}"
    return f"{clips}, the test parts of {run.num_folds} folds together ({run.protocol})" if run.num_folds else f"{clips} ({run.protocol})"


def _are_alike(run: ScoredClips, place: tuple[str, str]) -> bool:
    """Whether a run was scored on the split of that track, and on as many clips as it has."""
    split = OUR_SPLITS.get(place)
    is_of_track = run.num_folds is None and is_same_corpus(run.corpus, place[0]) and run.split == split
    return is_of_track and run.num_clips == MER2023.splits[run.split]
