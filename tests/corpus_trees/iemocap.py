"""A small IEMOCAP: in each session one dialogue of several seconds with both actors side by side, its labels, words and sentences."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media_factory import write_media, write_wave

from corpus_trees.acting import FPS, RATE_HZ, SIDE, act_pictures, act_voice

NUM_IMAGES = 7
DURATION_S = NUM_IMAGES / FPS
# Label, its name by a rater, valence, activation, dominance, words.
LABELS = {
    "ang": ("Anger", 1.5, 4.0, 4.5, "Clearly this is your fault."),
    "hap": ("Happiness", 4.5, 3.5, 3.0, "That is so good to hear."),
    "sad": ("Sadness", 1.5, 2.0, 2.0, "He is never coming back."),
    "neu": ("Neutral", 3.0, 2.5, 2.5, "Do you have your forms?"),
    "exc": ("Excited", 4.5, 4.5, 3.5, "I got the job, I got it!"),
    "fru": ("Frustration", 2.0, 3.5, 3.5, "I have been standing in line for hours."),
    "xxx": ("Neutral", 2.5, 3.0, 3.0, "Well."),
}
NUM_SESSIONS = 5


@dataclass(frozen=True)
class Sentence:
    """One labelled segment of a dialogue."""

    dialogue: str
    speaker: str
    label: str
    place: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.dialogue}_{self.speaker}{self.place:03d}"

    @property
    def start_s(self) -> float:
        return self.place * DURATION_S

    @property
    def end_s(self) -> float:
        return (self.place + 1) * DURATION_S

    def label_lines(self) -> list[str]:
        rater, valence, activation, dominance, _ = LABELS[self.label]
        head = f"[{self.start_s:.4f} - {self.end_s:.4f}]\t{self.name}\t{self.label}\t[{valence:.4f}, {activation:.4f}, {dominance:.4f}]"
        return [head, f"C-E2:\t{rater};\t()", f"A-E3:\tval {valence:.0f}; act {activation:.0f}; dom  {dominance:.0f};\t()", ""]

    def words_line(self) -> str:
        return f"{self.name} [{self.start_s:08.4f}-{self.end_s:08.4f}]: {LABELS[self.label][-1]}"


def sentences(session: int) -> Iterator[Sentence]:
    """The actors take turns; in odd sessions the woman wears the markers, whoever speaks."""
    dialogue = f"Ses0{session}{'F' if session % 2 else 'M'}_impro01"
    for place, label in enumerate(LABELS):
        yield Sentence(dialogue, "FM"[place % 2], label, place, 10 * session + place)


def make_tree(folder: Path) -> Path:
    """The released layout, with a file that macOS left, a subfolder of single raters, and lines between the words."""
    for session in range(1, NUM_SESSIONS + 1):
        write_session(folder / f"Session{session}", list(sentences(session)))
    evaluation = folder / "Session1" / "dialog" / "EmoEvaluation"
    (evaluation / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    (evaluation / "Categorical").mkdir()
    (evaluation / "Categorical" / "Ses01F_impro01_e2_cat.txt").write_text("Ses01F_impro01_F000 :Anger; ()\n", encoding="utf-8")
    return folder


def write_session(folder: Path, spoken: list[Sentence]) -> None:
    """Labels, words, the dialogue's video, and each sentence's sound."""
    dialogue = spoken[0].dialogue
    paths = {name: folder / "dialog" / name for name in ("EmoEvaluation", "transcriptions", "avi/DivX")}
    for path in (*paths.values(), folder / "sentences" / "wav" / dialogue):
        path.mkdir(parents=True)
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", "", *[line for one in spoken for line in one.label_lines()]]
    (paths["EmoEvaluation"] / f"{dialogue}.txt").write_text("\n".join(lines), encoding="utf-8")
    words = [*[one.words_line() for one in spoken], "M: (breathing)"]
    (paths["transcriptions"] / f"{dialogue}.txt").write_text("\n".join(words), encoding="utf-8")
    write_dialogue(paths["avi/DivX"] / f"{dialogue}.avi", spoken)
    for one in spoken:
        voice = act_voice(list(LABELS).index(one.label), one.number, DURATION_S)
        write_wave(folder / "sentences" / "wav" / dialogue / f"{one.name}.wav", (voice.T * 32767).astype(np.int16), RATE_HZ)


def write_dialogue(path: Path, spoken: list[Sentence]) -> Path:
    """One actor left, one right; the one who does not speak shows grey."""
    silent = np.full((SIDE, SIDE, 3), 128, np.uint8)
    images, voices = [], []
    for one in spoken:
        place = list(LABELS).index(one.label)
        for image in act_pictures(place, one.number, NUM_IMAGES, num_places=len(LABELS)):
            images.append(np.hstack([image, silent] if one.speaker == "F" else [silent, image]))
        voices.append(act_voice(place, one.number, DURATION_S))
    return write_media(path, images, np.hstack(voices), fps=FPS, rate_hz=RATE_HZ, video_codec="mpeg4", audio_codec="pcm_s16le")
