"""What `bundle.json` says: all that is needed to predict, beside the members' weights.

<bundle>/bundle.json, README.md (the model card), members/<name>.safetensors
<bundle>/plugins/<sha8>-<name>.py               the files of the user whose code it runs
<bundle>/adapters/<encoder key>/                what fine-tuned encoders read beside their published weights
<bundle>/train_clips.txt                        digests of the clips that any of its models was trained on, a line each
<bundle>/held_out.txt                           the clips that one run learnt from, each with the folds whose models never saw it
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from mer_ray.batching import Normalise, StreamConfig
from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.core.config import Config, digest_of
from mer_ray.core.errors import RunError
from mer_ray.core.media_types import Modality
from mer_ray.store.record import EncoderRecord

FACTS_NAME = "bundle.json"
CARD_NAME = "README.md"
MEMBERS_FOLDER = "members"
PLUGINS_FOLDER = "plugins"
ADAPTERS_FOLDER = "adapters"
TRAIN_CLIPS_NAME = "train_clips.txt"
# A bundle that was changed by hand, or by chance, must not predict NaN.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Of the tensors in a member's file.
MODEL_PREFIX, MEAN_PREFIX, SCALE_PREFIX = "model.", "mean/", "scale/"


class StreamFacts(Config):
    """A stream as models know it."""

    name: str
    modality: Modality
    dim: PositiveInt
    is_sequence: bool = False

    @property
    def spec(self) -> StreamSpec:
        """For building a model."""
        return StreamSpec(self.name, self.modality, self.dim, self.is_sequence)


class MemberFacts(Config):
    """One trained model: its file below `members/` with the file's sha256, its config, and which part of the run it is."""

    file: str
    sha256: str
    model: dict[str, Any]
    fold: int | None
    seed: int
    epoch: int


class GroupFacts(Config):
    """The members of one run: they read the same streams and are averaged before the groups are.

    `inputs` name encoders by key and layers by name. `scores` are the run's own, by split and metric (mean over seeds).
    `temperature` divides the members' logits; `calibrated_on` says which clips it was fitted on, None = none, so it is 1.
    `held_out` is the file of `read_held_out` below the bundle; None in bundles that do not tell.
    """

    run: str
    identity: str
    weight: Positive = 1.0
    inputs: tuple[StreamConfig, ...]
    streams: tuple[StreamFacts, ...]
    normalise: Normalise
    temperature: Positive = 1.0
    calibrated_on: str | None = None
    protocol: str
    num_trained: PositiveInt
    num_clips: dict[str, int]
    scores: dict[str, dict[str, float]]
    held_out: str | None = None
    members: tuple[MemberFacts, ...] = Field(min_length=1)


class BundleFacts(Config):
    """A bundle: `prior_probs` and `prior_values` are the training clips' class shares and mean values (None: none was labelled).

    They are what is said of clips without any input. Predicted values are held to `value_ranges`, the corpus's own (our choice).
    """

    format: Literal[1] = 1
    mer_ray: str
    created: str
    corpus: str
    corpus_licence: str | None
    classes: tuple[str, ...] = Field(min_length=2)
    values: tuple[str, ...] = ()
    value_ranges: dict[str, tuple[Finite, Finite]] = Field(default_factory=dict)
    prior_probs: tuple[Share, ...]
    prior_values: tuple[Finite | None, ...] = ()
    encoders: dict[str, EncoderRecord]
    groups: tuple[GroupFacts, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: one is named twice")
        if len(self.prior_probs) != len(self.classes) or len(self.prior_values) != len(self.values):
            raise ValueError("prior_probs and prior_values: one number per class and per value")
        if any(low > high for low, high in self.value_ranges.values()):
            raise ValueError("value_ranges: each is the lowest and the highest value")
        for stream in (stream for group in self.groups for stream in group.inputs):
            known = self.encoders[stream.encoder].layers if stream.encoder in self.encoders else {}
            if not stream.layers or any(layer not in known for layer in stream.layers):
                raise ValueError(f"inputs: {stream.encoder} with layers {stream.layers} is not among the bundle's encoders")
        return self

    @property
    def task(self) -> TaskSpec:
        """What all members predict."""
        return TaskSpec(self.classes, self.values)


def read_bundle_facts(folder: Path) -> BundleFacts:
    """Read `bundle.json`.

    Raises:
        RunError: no bundle, a damaged one, or one of a later version.

    """
    path = folder / FACTS_NAME
    if not path.is_file():
        of_run = folder / "bundle"
        advice = f"give its bundle, {of_run}" if (of_run / FACTS_NAME).is_file() else "give the folder `bundle` of a finished run"
        raise RunError(f"{folder}: no bundle: it has no {FACTS_NAME}; {advice}")
    try:
        return BundleFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(map(str, reason["loc"]))
        raise RunError(
            f"{path}: not a bundle that this version reads ({place}: {reason['msg']}); make it anew, or use the mer_ray that wrote it"
        ) from error


def clip_digest(corpus: str, clip_id: str) -> str:
    """What a bundle keeps of a training clip: enough to know it again, and not its name."""
    return digest_of([corpus, clip_id])[:16]


def read_train_clips(folder: Path) -> frozenset[str]:
    """The digests of the clips that any model of a bundle was trained on.

    Raises:
        RunError: the file is missing.

    """
    path = folder / TRAIN_CLIPS_NAME
    if not path.is_file():
        raise RunError(f"{path}: is missing; copy the bundle again, whole")
    return frozenset(path.read_text(encoding="ascii").split())


def write_train_clips(folder: Path, digests: Iterable[str]) -> None:
    """Write them, each once."""
    write_text(folder / TRAIN_CLIPS_NAME, "".join(f"{digest}\n" for digest in sorted(set(digests))))


def write_bundle_facts(folder: Path, facts: BundleFacts) -> None:
    """Write `bundle.json`, last of a bundle's files: its existence means that the bundle is whole."""
    write_json(folder / FACTS_NAME, facts.model_dump(mode="json"))
