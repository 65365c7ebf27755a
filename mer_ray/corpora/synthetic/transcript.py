"""Sentences from templates: what is spoken of is anyone's, how it is spoken of follows the expression."""

import numpy as np

from mer_ray.corpora.synthetic.config import CLASSES

LANGUAGE = "en"

TEMPLATES = (
    "{opening}, the {thing} {event}. I {feeling}.",
    "{opening}! When the {thing} {event}, I {feeling}.",
    "The {thing} {event}, {opening}, and I {feeling}.",
    "I {feeling} since the {thing} {event}, {opening}.",
)
THINGS = ("meeting", "train", "letter", "dinner", "exam", "concert")
EVENTS = ("started at six", "moved to Monday", "came up again", "was over by noon")

# Few phrases with words of their own: a few hundred clips are enough to learn them, so that what is hard is the confusion of classes.
OPENINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("as usual", "as planned", "as agreed"),
    "angry": ("how dare they", "what an outrage", "damn them all"),
    "happy": ("what a joy", "how wonderful", "hooray for us"),
    "sad": ("what a loss", "alas, too late", "all alone now"),
    "worried": ("what if it fails", "oh dear, careful", "are we safe"),
    "surprise": ("oh my goodness", "wow, no way", "out of the blue"),
}
FEELINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("took note of it", "stay as informed as before", "have no opinion"),
    "angry": ("am furious", "am full of rage", "want to scream with fury"),
    "happy": ("am so glad", "keep smiling gladly", "feel cheerful and glad"),
    "sad": ("keep crying", "am in tears and cry", "feel heartbroken"),
    "worried": ("am anxious", "lie awake anxiously", "am nervous and fear the worst"),
    "surprise": ("am stunned", "am astonished", "stood there stunned and speechless"),
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
