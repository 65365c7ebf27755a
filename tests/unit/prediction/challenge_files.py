"""Files as a challenge and its participants have them, written by tests."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
NUM_CLIPS = 90


def names(num_clips: int = NUM_CLIPS) -> list[str]:
    return [f"sample_{number:08d}" for number in range(num_clips)]


def truth(num_clips: int = NUM_CLIPS) -> tuple[list[str], list[float]]:
    """Emotions and valence."""
    random = np.random.default_rng(0)
    valence = [round(float(value), 3) for value in random.uniform(-5, 5, num_clips)]
    return [CLASSES[number] for number in random.integers(0, 6, num_clips)], valence


def guesses(seed: int, skill: float, num_clips: int = NUM_CLIPS) -> tuple[list[str], list[float]]:
    """What a model of some skill predicts."""
    random = np.random.default_rng(seed)
    emotions, valence = truth(num_clips)
    said = [emotion if random.random() < skill else CLASSES[random.integers(6)] for emotion in emotions]
    return said, [round(value + float(random.normal()), 3) for value in valence]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_labels(path: Path) -> Path:
    """As the release: a clip without a label, and one whose valence nobody knows, at the end."""
    rows = [*zip(names(), *truth(), strict=True), ("unlabelled", "", -10), ("no_valence", "sad", -10)]
    return write_csv(path, ("name", "discrete", "valence"), rows)


def write_submission(path: Path, seed: int = 1, skill: float = 0.7) -> Path:
    """In another order than the labels, and with a name more."""
    rows = [*zip(names(), *guesses(seed, skill), strict=True), ("no_valence", "angry", 0.5), ("candidate", "happy", 1.0)]
    return write_csv(path, ("name", "discrete", "valence"), list(reversed(rows)))
