"""What a synthetic corpus is made of: its classes, their statistics, and the knobs of its difficulty."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mer_ray.core.config import NOT_IDENTITY, Config, Place, where_or_how_fast
from mer_ray.core.media_types import MODALITIES, Modality

# MER2023's train split: classes in order, clips per class, valence mean and deviation per class.
CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
CLASS_COUNTS = (871, 822, 689, 383, 462, 146)
VALENCE_MEANS = (-0.08, -2.50, 1.77, -2.37, -1.01, -0.41)
VALENCE_STDS = (0.68, 0.95, 0.74, 1.03, 0.80, 1.29)
VALENCE_RANGE = (-5.0, 5.0)

# Our choice: three perfect matchings of the classes that share no pair, so that any two modalities tell partners apart.
# A voice shows arousal rather than pleasure, a face mistakes the frowns and the wide eyes, a sentence hides behind manners.
PARTNERS: dict[Modality, tuple[tuple[str, str], ...]] = {
    "audio": (("neutral", "sad"), ("angry", "happy"), ("worried", "surprise")),
    "vision": (("neutral", "worried"), ("angry", "sad"), ("happy", "surprise")),
    "text": (("neutral", "happy"), ("angry", "worried"), ("sad", "surprise")),
}

Share = Annotated[float, Field(ge=0.0, le=1.0)]
NumClips = Annotated[int, Field(ge=1)]


class ModalityConfig(Config):
    """How far one modality can be trusted.

    The expression shown is the class's partner with probability `confusion`, any of the six alike with `noise`, and
    the class itself otherwise. `missing` is the share of clips without this modality.
    """

    confusion: Share = 0.30
    noise: Share = 0.14
    missing: Share = 0.03

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.confusion + self.noise > 1.0:
            raise ValueError(f"confusion + noise is {self.confusion + self.noise:g}; together they are at most 1")
        return self


class PlantedConfig(Config):
    """Features instead of media: `num_layers` layers of `dim` per modality whose signal peaks at a known layer.

    `splits`: clips of each split of the labelled part, in the order drawn, instead of all in `train`; `unlabelled_splits` those of the
    other part, in which all but `unlabelled` are labelled, so that a test can have its shares of classes.

    Layer l, from 0, shows the expression by a direction of length `signal` * exp(-(l - peak)^2 / (2 * width^2)), in
    deviations of the noise of one dimension. `store` and `manifest`: by default in the corpus's folder; the manifest has
    `num_folds` speaker-disjoint folds of the labelled clips, or none.
    """

    store: Place | None = where_or_how_fast(None)
    manifest: Path | None = where_or_how_fast(None)
    num_folds: Annotated[int, Field(ge=2)] | None = 5
    num_layers: Annotated[int, Field(ge=1)] = 8
    dim: Annotated[int, Field(ge=8)] = 64
    peak_layers: dict[Modality, int] = Field({"audio": 5, "vision": 3, "text": 6})
    signal: Annotated[float, Field(ge=0.0)] = 4.0
    width: Annotated[float, Field(gt=0.0)] = 1.0
    splits: dict[str, NumClips] | None = where_or_how_fast(None)
    unlabelled_splits: dict[str, NumClips] | None = where_or_how_fast(None)

    @model_validator(mode="after")
    def _peak_inside(self) -> Self:
        lacking = [modality for modality in MODALITIES if modality not in self.peak_layers]
        if lacking:
            raise ValueError(f"peak_layers lacks {', '.join(lacking)}")
        outside = {name: layer for name, layer in self.peak_layers.items() if not 0 <= layer < self.num_layers}
        if outside:
            raise ValueError(f"peak_layers {outside}: layers count from 0 to {self.num_layers - 1}")
        return self


class SynthConfig(Config):
    """A synthetic corpus of `num_clips` labelled and `num_unlabelled` unlabelled clips in the folder `out`.

    `generator` is the version of the drawing code: other code, other media. `duration_s` are the shortest and the
    longest clip; `size` is the picture's side in pixels. `label_noise` is the share of labels moved to another class,
    `valence_noise` the deviation of what is added to labels of valence, and shown by no media [ours].
    With `features` the corpus is a feature store instead of media. `layout: mer2023` lays the clips out as MER2023 is released,
    too, in the folder `mer2023`. `networks` are families of encoders of which a small random network is written to `networks/<name>`, to
    rehearse jobs that read published weights. `num_processes` None: one per core.
    """

    out: Path = where_or_how_fast()
    generator: Literal[1] = 1
    seed: int = 0
    num_clips: Annotated[int, Field(ge=1)] = 360
    num_unlabelled: Annotated[int, Field(ge=0)] = 0
    num_speakers: Annotated[int, Field(ge=1)] = 30
    audio: ModalityConfig = ModalityConfig()
    vision: ModalityConfig = ModalityConfig()
    text: ModalityConfig = ModalityConfig()
    label_noise: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    class_priors: dict[str, float] = Field(dict(zip(CLASSES, CLASS_COUNTS, strict=True)))
    unlabelled_priors: dict[str, float] | None = None
    valence_noise: Annotated[float, Field(ge=0.0, allow_inf_nan=False, json_schema_extra=dict(NOT_IDENTITY))] = 0.0
    valence_follows_emotion: bool = True
    duration_s: tuple[float, float] = (2.0, 4.0)
    frame_rate_hz: Annotated[int, Field(ge=4, le=60)] = 12
    size: Annotated[int, Field(ge=64, le=1080, multiple_of=2)] = 160
    features: PlantedConfig | None = None
    layout: Literal["table", "mer2023"] = where_or_how_fast("table")
    networks: tuple[Literal["clip", "hubert"], ...] = where_or_how_fast(())
    num_processes: Annotated[int, Field(ge=1)] | None = where_or_how_fast(None)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, priors in (("class_priors", self.class_priors), ("unlabelled_priors", self.unlabelled_priors)):
            if priors is not None:
                _check_priors(name, priors)
        shortest_s, longest_s = self.duration_s
        if not 1.0 <= shortest_s <= longest_s <= 60.0:
            raise ValueError(f"duration_s {[shortest_s, longest_s]}: write the shortest, then the longest, from 1 to 60 seconds")
        if self.features is not None:
            _check_splits("splits", self.features.splits, self.num_clips, "num_clips")
            _check_splits("unlabelled_splits", self.features.unlabelled_splits, self.num_unlabelled, "num_unlabelled")
        if self.features is not None and self.layout != "table":
            raise ValueError(f"layout: {self.layout}: is a tree of media, and features make none; leave one of them out")
        return self

    def more_identity(self) -> dict[str, Any]:
        """The noise of valence, where there is any: corpora of before it was known keep their identity."""
        return {"valence_noise": self.valence_noise} if self.valence_noise else {}

    def modality(self, name: Modality) -> ModalityConfig:
        """The knobs of one modality."""
        return {"audio": self.audio, "vision": self.vision, "text": self.text}[name]


def _check_splits(name: str, splits: dict[str, int] | None, total: int, of: str) -> None:
    if splits is not None and sum(splits.values()) != total:
        raise ValueError(f"features.{name}: have {sum(splits.values())} clips, {of} is {total}; both are the same number")


def _check_priors(name: str, priors: dict[str, float]) -> None:
    if set(priors) != set(CLASSES):
        raise ValueError(f"{name} needs exactly the classes {', '.join(CLASSES)}")
    if min(priors.values()) < 0 or sum(priors.values()) <= 0:
        raise ValueError(f"{name}: weights are at least 0 and not all 0")
