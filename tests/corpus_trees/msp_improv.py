"""A small MSP-IMPROV: six sessions of two speakers, sound and video apart, labels with those of single raters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media_factory import write_media, write_wave

from corpus_trees.acting import FPS, RATE_HZ, act_pictures, act_voice

NUM_IMAGES = 6
DURATION_S = NUM_IMAGES / FPS
LETTERS = "ASHN"
# Activation (inverse-coded), valence, dominance of a class.
VALUES = {
    "A": (1.5, 1.8, 4.2),
    "S": (4.2, 1.6, 2.0),
    "H": (1.8, 4.4, 3.4),
    "N": (3.4, 3.0, 3.0),
    "O": (3.0, 2.8, 2.8),
    "X": (3.2, 2.6, 3.1),
}
WORDS = {"A": "how can I not", "S": "I lost it all", "H": "we won the day", "N": "I have to read this for class"}
SCENARIOS = "PRST"


@dataclass(frozen=True)
class Turn:
    """One turn: who speaks in which session, the label's letter, and a number that no other turn of the tree has."""

    speaker: str
    letter: str
    number: int

    @property
    def scenario(self) -> str:
        return SCENARIOS[self.number % len(SCENARIOS)]

    @property
    def key(self) -> str:
        target = self.letter if self.letter in LETTERS else "N"
        partners = {"F": "FM", "M": "MF"}[self.speaker[0]]
        return f"S{self.number % 20 + 1:02d}{target}-{self.speaker}-{self.scenario}-{partners}{self.number:02d}"

    @property
    def folder(self) -> str:
        return f"session{int(self.speaker[1:])}/{self.key[:4]}/{self.scenario}"

    @property
    def label_line(self) -> str:
        """As the release writes it, with a blank before the semicolon after D; every seventh activation is NaN."""
        activation, valence, dominance = (value + 0.05 * (self.number % 4) for value in VALUES[self.letter])
        shown = "NaN" if self.number % 7 == 6 else f"{activation:.6f}"
        return f"UTD-IMPROV-{self.key}.avi; {self.letter}; A:{shown}; V:{valence:.6f}; D:{dominance:.6f} ; N:4.000000;"


def turns(num_sessions: int = 6) -> Iterator[Turn]:
    """In each session one turn of each class by each speaker, and one turn each without agreement and of another emotion."""
    number = 0
    for session in range(1, num_sessions + 1):
        for sex, letters in (("F", f"{LETTERS}X"), ("M", f"{LETTERS}O")):
            for letter in letters:
                yield Turn(f"{sex}{session:02d}", letter, number)
                number += 1


def make_tree(folder: Path, num_sessions: int = 6) -> Path:
    """The released layout with the name Evalution.txt, Windows line ends, a file that macOS left and a turn without a label."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for turn in turns(num_sessions):
        write_turn(folder, turn)
        rater = "Neutral; Neutral,Concerned; A:3.000000; V:3.000000; D:3.000000; N:4.000000;"
        lines += [turn.label_line, f"workerA; {rater}", f"workerB; {rater}", ""]
    (folder / "Evalution.txt").write_text("\r\n".join(lines), encoding="utf-8", newline="")
    write_turn(folder, Turn("F01", "N", 99))
    first = next(turns())
    (folder / first.folder / f"._MSP-IMPROV-{first.key}.wav").write_bytes(b"\x00\x05\x16\x07")
    return folder


def write_turn(folder: Path, turn: Turn) -> None:
    """Sound, video, and the words of turns with a class."""
    place = "ASHNOX".index(turn.letter)
    (folder / turn.folder).mkdir(parents=True, exist_ok=True)
    voice = act_voice(place, turn.number, DURATION_S)
    write_wave(folder / turn.folder / f"MSP-IMPROV-{turn.key}.wav", (voice.T * 32767).astype(np.int16), RATE_HZ)
    pictures = act_pictures(place, turn.number, NUM_IMAGES, num_places=6)
    write_media(folder / turn.folder / f"UTD-IMPROV-{turn.key}.avi", pictures, fps=FPS, video_codec="mpeg4")
    if turn.letter in WORDS:
        words = folder / "All_human_transcriptions" / f"MSP-IMPROV-{turn.key}.txt"
        words.parent.mkdir(exist_ok=True)
        words.write_text(f"{WORDS[turn.letter]}\n", encoding="utf-8")
