"""Labels of one corpus in the terms of another: emotions onto another class list, values onto another range."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from mer_ray.core.config import Config, nearest
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Scan, ValueRanges
from mer_ray.corpora.crema_d_names import EMOTIONS as CREMA_D_EMOTIONS
from mer_ray.corpora.emodb import EMOTIONS as EMODB_EMOTIONS
from mer_ray.corpora.iemocap import FOUR as IEMOCAP_CLASSES
from mer_ray.corpora.meld import CLASSES as MELD_CLASSES
from mer_ray.corpora.mertools_labels import CLASSES as MER2023_CLASSES
from mer_ray.corpora.msp_improv_labels import LETTERS as MSP_IMPROV_LETTERS
from mer_ray.corpora.ravdess import CLASSES as RAVDESS_CLASSES
from mer_ray.corpora.soft_labels import most_probable

KnownClasses = Literal["mer2023", "crema_d", "ravdess", "emodb", "msp_improv", "meld", "iemocap"]
# The class lists of corpora that we know, in the order and words of each corpus here.
KNOWN_CLASSES: dict[KnownClasses, tuple[str, ...]] = {
    "mer2023": MER2023_CLASSES,
    "crema_d": tuple(CREMA_D_EMOTIONS.values()),
    "ravdess": RAVDESS_CLASSES,
    "emodb": tuple(EMODB_EMOTIONS.values()),
    "meld": MELD_CLASSES,
    "msp_improv": tuple(MSP_IMPROV_LETTERS.values()),
    "iemocap": tuple(dict.fromkeys(IEMOCAP_CLASSES.values())),
}
# Noun and adjective of one emotion. Near ones (worried and fear, excited and happy, calm and neutral) are different labels.
_SYNONYMS = (
    ("anger", "angry"),
    ("happiness", "happy", "joy", "joyful"),
    ("sadness", "sad"),
    ("fear", "fearful", "afraid"),
    ("disgust", "disgusted"),
    ("surprise", "surprised"),
    ("neutral", "neutrality"),
    ("worry", "worried"),
    ("calm", "calmness"),
    ("boredom", "bored"),
    ("contempt", "contemptuous"),
    ("frustration", "frustrated"),
    ("excitement", "excited"),
)
_MEANING = {word: words[0] for words in _SYNONYMS for word in words}
# A soft label is kept while at most this share of it falls on classes that are not mapped (our choice).
MAX_UNMAPPED_SHARE = 0.5
# Probabilities are stored as float32: what differs by less is a tie.
_PLACES = 6


class LabelMapConfig(Config):
    """Which class of the corpus becomes which class of another list.

    Either `to`: the classes of a corpus that we know, matched by a table of true synonyms (anger and angry; happiness, happy and
    joy); a class without one becomes unknown, also where a near one exists: `worried` is not `fear`, `excited` not `happy`, `calm`
    not `neutral` (our choice). Or `classes` and `map`: each class of the corpus to one of `classes`, or to null for unknown.
    """

    to: KnownClasses | None = None
    classes: tuple[str, ...] | None = None
    map: dict[str, str | None] | None = None

    @model_validator(mode="after")
    def _is_one_of_two_forms(self) -> Self:
        if (self.to is None) == (self.classes is None) or (self.classes is None) != (self.map is None):
            raise ValueError("write `{to: mer2023}`, or `{classes: [happy, ...], map: {happiness: happy, boredom: null, ...}}`")
        if self.classes is not None and self.map is not None:
            if len(set(self.classes)) < len(self.classes):
                raise ValueError("classes: a class is listed twice")
            unknown = next((name for name in self.map.values() if name is not None and name not in self.classes), None)
            if unknown is not None:
                raise ValueError(f"map: {unknown!r} is not among classes{nearest(unknown, self.classes)}")
        return self

    @property
    def target_classes(self) -> tuple[str, ...]:
        """The classes after the mapping, in order."""
        return KNOWN_CLASSES[self.to] if self.to is not None else (self.classes or ())

    def match(self, facts: ManifestFacts) -> dict[str, str | None]:
        """Each class of the corpus with its class in the new list, None = unknown.

        Raises:
            ConfigError: the corpus has no classes, `map` names others than it has, or none would be mapped.

        """
        where = f"label_map of {facts.corpus}"
        if not facts.classes:
            raise ConfigError(f"{where}: the corpus has no emotions to map; leave label_map out")
        if self.map is None:
            matched = {name: _synonym_of(name, self.target_classes) for name in facts.classes}
        else:
            strange = next((name for name in self.map if name not in facts.classes), None)
            if strange is not None:
                raise ConfigError(f"{where}: map: the corpus has no class {strange!r}{nearest(strange, facts.classes)}")
            left = [name for name in facts.classes if name not in self.map]
            if left:
                raise ConfigError(f"{where}: map: names every class of the corpus, {', '.join(left)} missing; write null for unknown")
            matched = {name: self.map[name] for name in facts.classes}
        if all(target is None for target in matched.values()):
            have, want = ", ".join(facts.classes), ", ".join(self.target_classes)
            raise ConfigError(f"{where}: none of its classes ({have}) is mapped onto one of {want}; write `classes` and `map`")
        return matched


def change_labels(scan: Scan, facts: ManifestFacts, label_map: LabelMapConfig | None, values_to: ValueRanges) -> tuple[Scan, ManifestFacts]:
    """The corpus with its emotions in the new classes and its values in the new ranges; clips stay, labels may become unknown.

    Raises:
        ConfigError: the map does not fit the corpus's classes, or the range of a value is unknown.

    """
    if label_map is not None:
        scan, facts = _map_emotions(scan, facts, label_map)
    for name, target in values_to.items():
        scan, facts = _map_values(scan, facts, name, target)
    return scan, facts


def _synonym_of(name: str, classes: Sequence[str]) -> str | None:
    if name in classes:
        return name
    meaning = _meaning_of(name)
    return next((target for target in classes if _meaning_of(target) == meaning), None)


def _meaning_of(name: str) -> str:
    word = name.strip().casefold()
    return _MEANING.get(word, word)


def _map_emotions(scan: Scan, facts: ManifestFacts, config: LabelMapConfig) -> tuple[Scan, ManifestFacts]:
    matched, classes = config.match(facts), config.target_classes
    emotions = scan.table["emotion"].to_pylist()
    soft_labels = scan.table["emotion_probs"].to_pylist()
    new_emotions: list[str | None] = []
    new_soft_labels: list[list[float] | None] = []
    lost: Counter[str] = Counter()
    for emotion, soft_label in zip(emotions, soft_labels, strict=True):
        new_soft_label = None if soft_label is None else map_soft_label(soft_label, facts.classes, matched, classes)
        if soft_label is not None and emotion == _most_probable(soft_label, facts.classes):
            new_emotion = _most_probable(new_soft_label, classes)
        else:
            new_emotion = matched.get(emotion)
        if new_emotion is None and new_soft_label is None and (emotion in matched or soft_label is not None):
            lost[emotion if emotion is not None else "tied votes"] += 1
        new_emotions.append(new_emotion)
        new_soft_labels.append(new_soft_label)
    shown = ", ".join(f"{name} {count}" for name, count in sorted(lost.items()))
    notes = [f"label_map leaves clips without a label: {shown}"] if lost else []
    scan = scan.with_columns(emotion=new_emotions, emotion_probs=new_soft_labels)
    return (
        replace(scan, notes=[*scan.notes, *notes]),
        replace(facts, classes=classes, label_maps={**(facts.label_maps or {}), facts.corpus: matched}),
    )


def map_soft_label(
    soft_label: Sequence[float], old_classes: Sequence[str], matched: dict[str, str | None], new_classes: Sequence[str]
) -> list[float] | None:
    """Add up what falls on each new class and scale the sum to one; None where too much falls on classes that are not mapped."""
    masses = dict.fromkeys(new_classes, 0.0)
    for name, probability in zip(old_classes, soft_label, strict=True):
        target = matched[name]
        if target is not None:
            masses[target] += probability
    kept, total = math.fsum(masses.values()), math.fsum(soft_label)
    if kept <= 0 or round((total - kept) / total, _PLACES) > MAX_UNMAPPED_SHARE:
        return None
    return [mass / kept for mass in masses.values()]


def _most_probable(soft_label: Sequence[float] | None, classes: Sequence[str]) -> str | None:
    return None if soft_label is None else most_probable([round(value, _PLACES) for value in soft_label], classes)


def _map_values(scan: Scan, facts: ManifestFacts, name: str, target: tuple[float, float]) -> tuple[Scan, ManifestFacts]:
    if name not in facts.value_ranges:
        known = ", ".join(facts.value_ranges) or "none"
        raise ConfigError(
            f"values_to.{name} of {facts.corpus}: the range that the corpus's {name} has is unknown (known: {known}); "
            f"a table says it with `value_ranges: {{{name}: [lowest, highest]}}`"
        )
    (low, high), (new_low, new_high) = facts.value_ranges[name], target
    values_N = scan.table[name].to_numpy().astype(np.float64)
    mapped_N = np.clip(new_low + (values_N - low) * (new_high - new_low) / (high - low), new_low, new_high)
    scan = scan.with_columns(**{name: pa.array(mapped_N, from_pandas=True)})
    return scan, replace(facts, value_ranges={**facts.value_ranges, name: target})
