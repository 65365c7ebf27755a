"""Sentences from templates: what is spoken of is anyone's, how it is spoken of follows the expression."""

import numpy as np

from mer_ray.corpora.synthetic.config import CLASSES

LANGUAGE = "en"

TEMPLATES = (
    "{opening}, the {thing} {event}. I {feeling}.",
    "{opening}! The {thing} {event}, I {feeling}.",
    "The {thing} {event}, {opening}. I {feeling}.",
)
THINGS = ("meeting", "train", "dinner", "concert")
EVENTS = ("started at six", "was at noon", "came up again")

# Few phrases with words of their own: a few hundred clips are enough to learn them, so that what is hard is the confusion of classes.
OPENINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("as usual", "as planned"),
    "angry": ("how dare they", "damn, how dare you"),
    "happy": ("what a joy", "what joy, hooray"),
    "sad": ("alas, too late", "alas, what a loss"),
    "worried": ("oh dear, what if", "oh dear, careful"),
    "surprise": ("wow, no way", "wow, my goodness"),
}
FEELINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("took note of it", "simply took note", "took note and went on"),
    "angry": ("am furious", "scream, I am furious", "am furious and full of rage"),
    "happy": ("am so glad", "keep smiling, so glad", "feel cheerful and so glad"),
    "sad": ("keep crying", "am in tears, crying", "keep crying alone"),
    "worried": ("am anxious", "lie awake, anxious", "am nervous and anxious"),
    "surprise": ("am stunned", "stood there stunned", "am stunned and speechless"),
}


def write_sentence(expression: int, rng: np.random.Generator) -> str:
    """A sentence in the tone of class number `expression`."""
    tone = CLASSES[expression]
    sentence = _pick(TEMPLATES, rng).format(
        opening=_pick(OPENINGS[tone], rng),
        feeling=_pick(FEELINGS[tone], rng),
        thing=_pick(THINGS, rng),
        event=_pick(EVENTS, rng),
    )
    return sentence[0].upper() + sentence[1:]


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
