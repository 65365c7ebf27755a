"""What a self-training is made of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mer_ray.core.config import Config, apply_overrides, parse_config, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.prediction.voting import AnyVote, MeanVote, check_vote
from mer_ray.training.config import SplitsProtocol, TrainConfig

# What teachers and students may not change: the data, the protocol, and what they are compared by.
FIXED = {"manifest", "out", "protocol", "values", "seeds", "candidates", "select_metric", "allow_plugins", "num_parallel_fits"}

Share = Annotated[float, Field(gt=0, lt=1)]


class TeacherConfig(Config):
    """One model of the committee: `changes` are dotted changes to the training, e.g. {model.name: audio_guided}."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    changes: dict[str, Any] = Field({})


class ThresholdsFromDev(Config):
    """The lowest confidence above which predictions are right at `precision`, as far as dev can tell.

    The lower end of the precision's one-sided interval at `level` must reach it (0.5: the precision on dev itself, which is too good,
    because the threshold was chosen there). `per: class` finds a threshold for each class that is predicted.
    """

    precision: Share = 0.9
    per: Literal["class", "all"] = "class"
    level: float = Field(0.8, ge=0.5, lt=1)


class SelectionConfig(Config):
    """Which predictions become pseudo-labels.

    `threshold`: the least probability of the chosen class, one for all or one per class (0.9 where nothing else is said, as 2409.05007);
    or `from_dev`. `min_agreement`: how many voters (each model with each seed is one) hold the class most probable. `temperature: dev`
    fits each voter's to dev first. `prior: em` corrects probabilities to the classes' shares in the unlabelled part, which expectation
    maximisation estimates, and weighs dev clips by them: the principled alternative to voting with prior knowledge.
    """

    threshold: float | dict[str, float] | None = None
    from_dev: ThresholdsFromDev | None = None
    min_agreement: int = Field(1, ge=1)
    temperature: Literal["none", "dev"] = "none"
    prior: Literal["train", "em"] = "train"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.threshold is not None and self.from_dev is not None:
            raise ValueError("threshold: is given, or found by from_dev; leave one of the two out")
        given = self.threshold.values() if isinstance(self.threshold, dict) else [] if self.threshold is None else [self.threshold]
        wrong = [value for value in given if not 0 <= value <= 1]
        if wrong:
            raise ValueError(f"threshold: {wrong[0]:g} is no probability; thresholds lie between 0 and 1")
        return self


class StudentConfig(Config):
    """How students learn: a pseudo-labelled clip counts `pseudo_weight` in the loss, a gold one 1; `soft` labels keep all probabilities."""

    changes: dict[str, Any] = Field({})
    pseudo_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    labels: Literal["hard", "soft"] = "hard"


class SelftrainConfig(Config):
    """Self-training into the folder `out`: round 0 trains the teachers, each later round students on gold and pseudo-labels.

    `train` are the keys of `train` (its `out` is chosen here); the protocol is splits, with dev. `unlabelled` are splits whose labels,
    where the manifest knows them, and those of the file `truth`, serve for reports only. `folds_as` makes splits of the training split's
    folds, e.g. {dev: [0], test: [1]}, where a corpus comes without them. The next round's teachers are the students.
    Rounds end at `max_rounds`, after `patience` rounds without a better dev score of the vote (`train.select_metric`), where a round
    begins later than `budget_s` after the start, or where nothing is selected. `compare_equal_steps` trains the teachers again for as
    many steps as the students of the best round after them take.
    """

    out: Path = where_or_how_fast()
    train: TrainConfig
    teachers: list[TeacherConfig] = Field([TeacherConfig(name="teacher")], min_length=1)
    unlabelled: list[str] = Field(["unlabelled"], min_length=1)
    truth: Path | None = where_or_how_fast(None)
    folds_as: dict[str, list[int]] = Field({})
    selection: SelectionConfig = SelectionConfig()
    vote: AnyVote = MeanVote()
    student: StudentConfig = StudentConfig()
    max_rounds: int = Field(3, ge=1, le=100)
    patience: int = Field(1, ge=1, le=100)
    budget_s: float | None = where_or_how_fast(None, gt=0)
    compare_equal_steps: bool = False

    @model_validator(mode="before")
    @classmethod
    def _runs_lie_below(cls, data: Any) -> Any:
        """The folder of the training is that of the self-training."""
        if not isinstance(data, Mapping) or not isinstance(data.get("train"), Mapping) or "out" not in data:
            return data
        train = data["train"]
        if "out" in train and str(train["out"]) != str(data["out"]):
            raise ValueError("train.out: runs lie below the self-training's own `out`; leave it out here")
        return {**data, "train": {**train, "out": data["out"]}}

    @property
    def protocol(self) -> SplitsProtocol:
        """That of all trainings: the unlabelled splits are predicted as tests are."""
        given = self.train.protocol
        assert isinstance(given, SplitsProtocol)
        more = [name for name in self.unlabelled if name not in given.test]
        return given.model_copy(update={"test": [*given.test, *more]})

    @property
    def num_voters(self) -> int:
        """Each model with each seed."""
        return len(self.teachers) * len(self.train.seeds)

    @model_validator(mode="after")
    def _check(self) -> Self:
        protocol = self.train.protocol
        if protocol.name == "folds":
            raise ValueError("train.protocol: self-training takes splits, not folds: set {name: splits, train: ..., dev: ..., test: [...]}")
        if protocol.dev is None:
            raise ValueError("train.protocol.dev: dev chooses thresholds and the round; name a labelled split")
        taken = [name for name in self.unlabelled if name in (protocol.train, protocol.dev)]
        if taken or len(set(self.unlabelled)) < len(self.unlabelled):
            what = f"{taken[0]!r} is the split of train or dev" if taken else "names a split twice"
            raise ValueError(f"unlabelled: {what}; name splits that are neither")
        used = [fold for folds in self.folds_as.values() for fold in folds]
        wrong = [name for name in self.folds_as if name not in (protocol.dev, *protocol.test)]
        if wrong or len(set(used)) < len(used):
            what = f"{wrong[0]!r} is neither train.protocol.dev nor in train.protocol.test" if wrong else "names a fold twice"
            raise ValueError(f"folds_as: {what}")
        if self.train.candidates:
            raise ValueError("train.candidates: choose hyper-parameters first, or search over the self-training; leave candidates out")
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError("teachers: two have the same name; each run's folder has the name of its teacher")
        if self.selection.min_agreement > self.num_voters:
            raise ValueError(
                f"selection.min_agreement: {self.selection.min_agreement} of {self.num_voters} voters (teachers times seeds) cannot agree; "
                "lower it, or add teachers or seeds"
            )
        self._check_changes()
        return self

    def _check_changes(self) -> None:
        listed = [(f"teachers.{number}.changes", teacher.changes) for number, teacher in enumerate(self.teachers)]
        for where, changes in [*listed, ("student.changes", self.student.changes)]:
            fixed = sorted({key.partition(".")[0] for key in changes} & FIXED)
            if fixed:
                raise ValueError(f"{where}: may not change {', '.join(fixed)}: all rounds share it")
        for teacher in self.teachers:
            self.training_of(teacher, is_student=False)
            self.training_of(teacher, is_student=True)

    def training_of(self, teacher: TeacherConfig, is_student: bool, out: Path | None = None) -> TrainConfig:
        """The training of a teacher, or of its student, into a folder.

        Raises:
            ConfigError: a change sets an unknown key or a wrong value.

        """
        changes = teacher.changes | (self.student.changes if is_student else {})
        base = self.train.model_dump(mode="json") | {"protocol": self.protocol.model_dump(mode="json")}
        if out is not None:
            base["out"] = str(out)
        overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
        with self.train.same_plugins():
            return parse_config(TrainConfig, apply_overrides(base, overrides), f"teacher {teacher.name}")

    def check_classes(self, classes: tuple[str, ...]) -> None:
        """Refuse names that the corpus does not have.

        Raises:
            ConfigError: an unknown class or teacher, or thresholds that lack a class.

        """
        check_vote(self.vote, [teacher.name for teacher in self.teachers], classes)
        threshold = self.selection.threshold
        if isinstance(threshold, dict):
            check_class_keys("selection.threshold", threshold, classes)


def check_class_keys(where: str, given: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Refuse a mapping that does not name every class of the corpus once."""
    if set(given) != set(classes):
        raise ConfigError(f"{where}: name every class once: {', '.join(classes)}; given: {', '.join(given)}")
