"""A small MELD: three tables, and the folders of the unpacked archives with the faults that the release has."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from media_factory import write_media

from corpus_trees.acting import FPS, RATE_HZ, act_pictures, act_voice

NUM_IMAGES = 6
DURATION_S = NUM_IMAGES / FPS
# Emotion, sentiment, words; one apostrophe as the release writes it.
EMOTIONS = {
    "anger": ("negative", "You had no right to do this!"),
    "disgust": ("negative", "Eww, what is this smell?"),
    "fear": ("negative", "Oh no, it’s coming closer."),
    "joy": ("positive", "We won, we won!"),
    "neutral": ("neutral", "Okay, see you at the coffee house."),
    "sadness": ("negative", "I miss her so much."),
    "surprise": ("positive", "Wait, what?!"),
}
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
NUM_ROUNDS = {"train": 3, "dev": 1, "test": 1}
SPEAKERS = ("Ross", "Rachel", "Joey", "Phoebe")
HEADER = (
    "Sr No.",
    "Utterance",
    "Speaker",
    "Emotion",
    "Sentiment",
    "Dialogue_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "StartTime",
    "EndTime",
)


@dataclass(frozen=True)
class Line:
    """One row of a table; names repeat in all splits."""

    split: str
    dialogue: int
    utterance: int
    emotion: str
    number: int

    @property
    def file(self) -> str:
        return f"dia{self.dialogue}_utt{self.utterance}.mp4"

    def cells(self) -> tuple[object, ...]:
        sentiment, words = EMOTIONS[self.emotion]
        who = SPEAKERS[self.number % len(SPEAKERS)]
        start = f"00:{self.number // 60:02d}:{self.number % 60:02d},000"
        return (self.number + 1, words, who, self.emotion, sentiment, self.dialogue, self.utterance, 1, 1, start, start)


def spoken_lines() -> Iterator[Line]:
    """Every class in every split."""
    number = 0
    for split, num_rounds in NUM_ROUNDS.items():
        for dialogue in range(num_rounds):
            for utterance, emotion in enumerate(EMOTIONS):
                yield Line(split, dialogue, utterance, emotion, number)
                number += 1


def make_tree(folder: Path) -> Path:
    """As released: one broken file in train, one missing in dev, clips without a row, second cuts, files that macOS left."""
    spoken = list(spoken_lines())
    broken, missing = Line("train", 125, 3, "neutral", 90), Line("dev", 110, 7, "neutral", 91)
    for split, name in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        rows = [line for line in [*spoken, broken, missing] if line.split == split]
        write_rows(folder / f"{split}_sent_emo.csv", [line.cells() for line in rows])
    for line in [*spoken, Line("dev", 66, 9, "joy", 92)]:
        write_video(folder / FOLDERS[line.split] / line.file, line)
    (folder / FOLDERS["train"] / broken.file).write_bytes(b"\x00\x00\x00\x18ftypmp42")
    write_video(folder / FOLDERS["test"] / "final_videos_testdia0_utt0.mp4", Line("test", 0, 0, "anger", 93))
    (folder / FOLDERS["test"] / "._dia0_utt0.mp4").write_bytes(b"\x00\x05\x16\x07")
    return folder


def write_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """A table with the header and line ends of the release."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(HEADER)
        writer.writerows(rows)


def write_video(path: Path, line: Line) -> Path:
    """Picture and sound of the class."""
    place = list(EMOTIONS).index(line.emotion)
    pictures = act_pictures(place, line.number, NUM_IMAGES, num_places=len(EMOTIONS))
    voice = act_voice(place, line.number, DURATION_S)
    return write_media(path, pictures, voice, fps=FPS, rate_hz=RATE_HZ, video_options={"preset": "ultrafast"})
