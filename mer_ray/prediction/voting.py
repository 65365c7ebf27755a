"""Several predictions of the same clips -> one, by a rule.

A voter is one model's predictions; voters of one name (the seeds of a teacher) belong together.

Shapes: V voters, N clips, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mer_ray.core.config import Config, nearest
from mer_ray.core.errors import ConfigError

# Sums of weights that differ by less are equal.
TIE = 1e-9

RealArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class MeanVote(Config):
    """The class of the highest mean probability; all voters alike."""

    name: Literal["mean"] = "mean"


class WeightedVote(Config):
    """As the mean; `weights` by name of a voter, 1 where it is not named. Voters of one name share its weight."""

    name: Literal["weighted"]
    weights: dict[str, Weight] = Field(min_length=1)


class MajorityVote(Config):
    """The class that most voters hold most probable; of equals the one of the highest mean probability."""

    name: Literal["majority"]


class PriorAwareVote(Config):
    """As the majority, where a vote of one of `voters` for one of `classes` counts `weight`: voting with prior knowledge, 2409.05007.

    The paper lets the votes of its HuBERT models count more for worried and sad, which are rarer in training than in the test; the
    number is our choice.
    """

    name: Literal["prior_aware"]
    classes: list[str] = Field(min_length=1)
    voters: list[str] = Field(min_length=1)
    weight: Weight = 2.0


AnyVote = Annotated[MeanVote | WeightedVote | MajorityVote | PriorAwareVote, Field(discriminator="name")]


@dataclass(frozen=True)
class Ballots:
    """The probabilities (V, N, C) of the voters, whose names may repeat, over the classes in order."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probs_VNC: RealArray

    @property
    def votes(self) -> IntArray:
        """Each voter's most probable class (V, N)."""
        return np.asarray(self.probs_VNC.argmax(axis=2), dtype=np.int64)


@dataclass(frozen=True)
class Decision:
    """The class of each clip (N,), the combined probabilities (N, C), that of the class, and how many voters hold it most probable.

    With majorities the class need not be that of the highest combined probability.
    """

    class_N: IntArray
    probs_NC: RealArray
    confidence_N: RealArray
    agreement_N: IntArray


def check_vote(rule: AnyVote, names: Sequence[str], classes: Sequence[str], where: str = "vote") -> None:
    """Refuse a rule that names voters or classes that are not there.

    Raises:
        ConfigError: an unknown name, with those that are known.

    """
    voters = list(rule.weights) if isinstance(rule, WeightedVote) else rule.voters if isinstance(rule, PriorAwareVote) else []
    for kind, asked, known in (
        ("voter", voters, list(dict.fromkeys(names))),
        ("class", rule.classes if isinstance(rule, PriorAwareVote) else [], list(classes)),
    ):
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ConfigError(f"{where}: no {kind} {unknown[0]!r}{nearest(unknown[0], known)}")


def decide(rule: AnyVote, ballots: Ballots) -> Decision:
    """What the voters decide of each clip."""
    probs_NC = np.average(ballots.probs_VNC, axis=0, weights=_mean_weights(rule, ballots))
    if isinstance(rule, MajorityVote | PriorAwareVote):
        weights_VC = _vote_weights(rule, ballots)
        if isinstance(rule, PriorAwareVote):
            probs_NC = np.einsum("vnc,vc->nc", ballots.probs_VNC, weights_VC / weights_VC.sum(axis=0))
            probs_NC = probs_NC / probs_NC.sum(axis=1, keepdims=True)
        counts_NC = np.einsum("vnc,vc->nc", _one_hot(ballots), weights_VC)
        is_top_NC = counts_NC >= counts_NC.max(axis=1, keepdims=True) - TIE
        class_N = np.where(is_top_NC, probs_NC, -1.0).argmax(axis=1)
    else:
        class_N = probs_NC.argmax(axis=1)
    confidence_N = np.take_along_axis(probs_NC, class_N[:, None], axis=1)[:, 0]
    return Decision(class_N, probs_NC, confidence_N, (ballots.votes == class_N).sum(axis=0))


def _mean_weights(rule: AnyVote, ballots: Ballots) -> RealArray:
    weights = rule.weights if isinstance(rule, WeightedVote) else {}
    return np.array([weights.get(name, 1.0) / (ballots.names.count(name) if weights else 1) for name in ballots.names])


def _vote_weights(rule: MajorityVote | PriorAwareVote, ballots: Ballots) -> RealArray:
    """How much each voter's vote for each class counts (V, C)."""
    weights_VC = np.ones((len(ballots.names), len(ballots.classes)))
    if isinstance(rule, PriorAwareVote):
        is_chosen_V, is_chosen_C = np.isin(ballots.names, rule.voters), np.isin(ballots.classes, rule.classes)
        weights_VC[np.ix_(is_chosen_V, is_chosen_C)] = rule.weight
    return weights_VC


def _one_hot(ballots: Ballots) -> RealArray:
    return np.asarray(ballots.votes[:, :, None] == np.arange(len(ballots.classes)), dtype=np.float64)
