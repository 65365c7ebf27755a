"""Published scores, carried with their source: `reference_scores.csv` beside this file.

The file holds values as they were printed: F1, UAR and accuracy in percent; squared error, concordance and MER2023's combined
metric (`combined`) as they are.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.config import nearest
from mer_ray.core.errors import ConfigError
from mer_ray.objectives.metrics import EMOTION_METRICS

SCORES = Path(__file__).with_name("reference_scores.csv")
OUR_NAMES = {"combined": "mer2023"}
# Of a share such as F1: 77.57 % is 0.7757.
PERCENT_METRICS = EMOTION_METRICS


@dataclass(frozen=True)
class PublishedRow:
    """One published system on one split: `printed[metric]` as its source has it, under our names of the metrics."""

    corpus: str
    split: str
    system: str
    modalities: str
    source: str
    printed: dict[str, str]

    def score(self, metric: str) -> float | None:
        """The score on our scale (shares from 0 to 1); None where the source has none."""
        if metric not in self.printed:
            return None
        value = float(self.printed[metric])
        # Rounded: 77.57 / 100 is no short number in binary.
        return round(value / 100, 8) if metric in PERCENT_METRICS else value


def find_references(wanted: str) -> list[PublishedRow]:
    """The rows of a corpus, or of one split of it (`MER2023/MULTI`), in the file's order; case does not matter.

    Raises:
        ConfigError: nothing was published of it, as far as the file knows.

    """
    rows = read_references()
    corpus, slash, split = wanted.partition("/")
    corpora = list(dict.fromkeys(row.corpus for row in rows))
    of_corpus = [row for row in rows if row.corpus.lower() == corpus.lower()]
    if not of_corpus:
        raise ConfigError(f"reference: no published scores of {corpus!r}{nearest(corpus, corpora)}")
    found = [row for row in of_corpus if not slash or row.split.lower() == split.lower()]
    if not found:
        splits = list(dict.fromkeys(row.split for row in of_corpus))
        raise ConfigError(f"reference: no published scores of {corpus} on {split!r}{nearest(split, splits)}")
    return found


def read_references() -> list[PublishedRow]:
    """All published rows."""
    printed: dict[tuple[str, str, str, str, str], dict[str, str]] = {}
    with SCORES.open(encoding="utf-8", newline="") as opened:
        for cells in csv.DictReader(opened):
            key = cells["corpus"], cells["split"], cells["system"], cells["modalities"], cells["source"]
            printed.setdefault(key, {})[OUR_NAMES.get(cells["metric"], cells["metric"])] = cells["value"]
    return [PublishedRow(*key, scores) for key, scores in printed.items()]
