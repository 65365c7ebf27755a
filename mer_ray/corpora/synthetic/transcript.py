"""Sentences from templates: what is spoken of is anyone's, how it is spoken of follows the expression."""

import numpy as np

from mer_ray.corpora.synthetic.config import CLASSES

LANGUAGE = "en"

TEMPLATES = (
    "{opening}, the {thing} {event} and I {feeling} about it.",
    "I {feeling} about the {thing}. {opening}, it {event}.",
    "{opening}! My {person} said the {thing} {event}, I {feeling} about that.",
    "You know, {opening}, when the {thing} {event} I {feeling} about everything.",
    "So the {thing} {event}, {opening}, and my {person} knows I {feeling} about it.",
)
THINGS = ("meeting", "train", "letter", "dinner", "exam", "garden", "house", "journey", "phone", "shop", "report", "concert")
PERSONS = ("sister", "brother", "boss", "neighbour", "friend", "mother", "colleague", "teacher")
EVENTS = ("started at six", "moved to Monday", "was at the corner", "took an hour", "came up again", "was over by noon")

OPENINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("as planned", "as usual", "all in order", "just for the record", "fair enough"),
    "angry": ("how dare they", "this is outrageous", "enough of this", "what an insult", "shut up already"),
    "happy": ("what a joy", "this is wonderful", "hooray for us", "lovely news", "how delightful"),
    "sad": ("it hurts so much", "what a loss", "nothing matters now", "all alone again", "too late, sadly"),
    "worried": ("what if it fails", "I hope nothing happens", "oh dear, be careful", "something may go wrong", "are we safe"),
    "surprise": ("oh my goodness", "wow, unbelievable", "no way, really", "out of the blue", "who would have guessed"),
}
FEELINGS: dict[str, tuple[str, ...]] = {
    "neutral": ("have no opinion", "feel the same", "took a note", "stay informed"),
    "angry": ("am furious", "feel rage", "hate to hear", "want to scream"),
    "happy": ("am so glad", "feel cheerful", "love to hear", "keep smiling"),
    "sad": ("keep crying", "feel heartbroken", "am in tears", "grieve quietly"),
    "worried": ("am nervous", "feel anxious", "lie awake", "fear the worst"),
    "surprise": ("am stunned", "feel astonished", "stood speechless", "never expected to hear"),
}


def write_sentence(expression: int, rng: np.random.Generator) -> str:
    """A sentence in the tone of class number `expression`."""
    tone = CLASSES[expression]
    sentence = _pick(TEMPLATES, rng).format(
        opening=_pick(OPENINGS[tone], rng),
        feeling=_pick(FEELINGS[tone], rng),
        thing=_pick(THINGS, rng),
        person=_pick(PERSONS, rng),
        event=_pick(EVENTS, rng),
    )
    return sentence[0].upper() + sentence[1:]


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
