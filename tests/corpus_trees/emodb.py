"""A small EmoDB: three speakers, all emotions."""

from itertools import product
from pathlib import Path

import numpy as np
from media_factory import write_wave

from corpus_trees.acting import RATE_HZ, act_voice

SPEAKERS = ("03", "08", "09")
LETTERS = "WLEAFTN"
SENTENCES = ("a01", "b02")
DURATION_S = 0.6


def make_tree(folder: Path) -> Path:
    """`wav/` with two sentences of each speaker in each emotion."""
    (folder / "wav").mkdir(parents=True)
    for number, (speaker, letter, sentence) in enumerate(product(SPEAKERS, LETTERS, SENTENCES)):
        samples_T1 = act_voice(LETTERS.index(letter), number, DURATION_S).T * 32767
        write_wave(folder / "wav" / f"{speaker}{sentence}{letter}a.wav", samples_T1.astype(np.int16), RATE_HZ)
    return folder
