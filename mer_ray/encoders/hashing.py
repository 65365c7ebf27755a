"""The `hashing` encoder: sentences without weights, n-grams of words and characters hashed to vectors.

Shapes: B clips, D feature dimension.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mer_ray.core.media_types import EncoderInput, Features, FloatArray, TextFormat
from mer_ray.encoders._base import Encoder, EncoderConfig
from mer_ray.encoders._pooling import pool_features

# A word is a run of letters and digits; where a script has no spaces (Chinese, Japanese) each character is one.
WORD_PATTERN = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
# Layer -> unit, shortest and longest n-gram, dimension. A small dimension suits small corpora, a large one keeps n-grams apart.
NGRAM_LAYERS = {
    "word_1_256": ("word", 1, 1, 256),
    "word_1_1024": ("word", 1, 1, 1024),
    "word_12_512": ("word", 1, 2, 512),
    "word_12_2048": ("word", 1, 2, 2048),
    "char_2_256": ("char", 2, 2, 256),
    "char_3_512": ("char", 3, 3, 512),
    "char_4_1024": ("char", 4, 4, 1024),
    "char_25_512": ("char", 2, 5, 512),
    "char_25_2048": ("char", 2, 5, 2048),
}
MARKS = ("!", "?", ".", ",", "…", "-", '"')
NUM_SURFACE = 5 + len(MARKS)


class HashingConfig(EncoderConfig):
    """The clip's sentence, whatever the language."""

    name: Literal["hashing"] = "hashing"

    @property
    def input_format(self) -> TextFormat:
        """The sentence of the manifest."""
        return TextFormat()

    @property
    def frame_s(self) -> None:
        """A sentence has no frames in time."""
        return

    def layers(self) -> dict[str, int]:
        """Nine layers of n-grams, named unit_lengths_dimension, and the sentence's surface."""
        return {name: dim for name, (_, _, _, dim) in NGRAM_LAYERS.items()} | {"surface": NUM_SURFACE}

    def sequence_layers(self) -> tuple[str, ...]:
        """None: a sentence is one frame."""
        return ()

    def build(self, device: str) -> "HashingEncoder":
        """The encoder; it computes on the CPU whatever the device."""
        return HashingEncoder(self)


class HashingEncoder(Encoder):
    """Signed feature hashing (Weinberger et al., 2009) of counts, each vector of length 1; an empty sentence is zero."""

    def __init__(self, config: HashingConfig) -> None:
        super().__init__(config)
        # scikit-learn takes a second to import, and every worker loads this module.
        from sklearn.feature_extraction.text import HashingVectorizer

        self.vectorizers = {
            layer: HashingVectorizer(
                analyzer=unit,
                ngram_range=(shortest, longest),
                n_features=dim,
                token_pattern=WORD_PATTERN,
                preprocessor=normalise_sentence,
                alternate_sign=True,
                norm="l2",
                dtype=np.float32,
            )
            for layer, (unit, shortest, longest, dim) in NGRAM_LAYERS.items()
        }

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        sentences = [clip_input for clip_input in inputs if isinstance(clip_input, str)]
        if not sentences:
            return []
        vectors_BD = {layer: vectorizer.transform(sentences).toarray() for layer, vectorizer in self.vectorizers.items()}
        vectors_BD["surface"] = np.stack([describe_surface(sentence) for sentence in sentences])
        return [
            pool_features({layer: vectors_BD[layer][row : row + 1] for layer in self.layers}, 1, 0.0, self.sequences, self.rate_hz)
            for row in range(len(sentences))
        ]


def normalise_sentence(sentence: str) -> str:
    """One form for what reads the same: compatible characters, case and spaces."""
    return " ".join(unicodedata.normalize("NFKC", sentence).casefold().split())


def describe_surface(sentence: str) -> FloatArray:
    """How the sentence is written: log lengths, long words, capitals, repeated letters, and marks, each per word; (12,)."""
    plain = unicodedata.normalize("NFKC", sentence)
    words = re.findall(WORD_PATTERN, plain)
    per_word = 1 / max(len(words), 1)
    values = [
        np.log1p(len(plain)),
        np.log1p(len(words)),
        sum(len(word) for word in words) * per_word,
        sum(word.isupper() and len(word) > 1 for word in words) * per_word,
        len(re.findall(r"(\w)\1\1", plain)) * per_word,
        # NFKC writes an ellipsis as three dots: it is counted in the sentence as it came.
        *(min((sentence if mark == "…" else plain).count(mark) * per_word, 4.0) for mark in MARKS),
    ]
    return np.array(values, dtype=np.float32)
