"""What was published of each year of the MER challenges: licence, and how many clips, by split and by class of train."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from mer_ray.corpora.mertools_labels import CLASSES
from mer_ray.corpora.published_counts import compare_counts


@dataclass(frozen=True)
class MerRelease:
    """One year: labelled clips by split, and the classes of train where they were published."""

    name: str
    licence: str
    splits: Mapping[str, int]
    train_classes: Mapping[str, int] = field(default_factory=dict)

    def note_counts(self, table: pa.Table, splits: Mapping[str, int], with_classes: bool = True) -> list[str]:
        """Notes on these splits, and on the classes of train, that differ from the published counts."""
        rows = table.select(["split", "emotion"]).to_pylist()
        found = Counter(str(row["split"]) for row in rows)
        found.update(f"train, {row['emotion']}" for row in rows if row["split"] == "train")
        classes = {f"train, {name}": count for name, count in self.train_classes.items()} if with_classes else {}
        return compare_counts(self.name, found, {**splits, **classes})


# Licence: the terms of huggingface.co/datasets/MERChallenge/MER2023. Counts: Lian et al., 2023.
MER2023 = MerRelease(
    "MER2023",
    "CC BY-NC 4.0 under the EULA of MER2023: academic research only, not to be handed on or changed",
    {"train": 3373, "test1": 411, "test2": 412, "test3": 834},
    dict(zip(CLASSES, (871, 822, 689, 383, 462, 146), strict=True)),
)
# Clips of MER2023's test3/ that carry no label, beside the labelled ones of MER-SEMI.
MER2023_NUM_UNLABELLED = 73148

# Licence: README of MERTools, MER2024. Count: `check sample` of its main-asr.py.
MER2024 = MerRelease("MER2024", "EULA of MER2024: academic research only, samples not to be edited or uploaded", {"train": 5030})

# Licence: the terms of huggingface.co/datasets/MERChallenge/MER2025. Counts: README.md and evaluation.py of MERTools, MER2025_Track1.
MER2025 = MerRelease(
    "MER2025",
    "CC BY-NC 4.0 under the EULA of MER2025: academic research only, not to be handed on or changed",
    {"train": 7369, "candidates": 20000},
)
# Labelled, candidates and all others.
MER2025_NUM_VIDEOS = 132171
