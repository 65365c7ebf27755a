"""The arithmetic of a bundle as one network: normalise, every member, temperature, averages, prior.

Shapes: B clips, T frames, D feature dimension, C classes, V values, G groups, M members of a group.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Batch
from mer_ray.models import FusionModel
from mer_ray.training.bundle_facts import BundleFacts, GroupFacts


@dataclass(frozen=True)
class GroupInputs:
    """Per stream (B, D), or frames (B, T, D) with their masks (B, T), and which clips have it (B,).

    `members_BM` says which members may speak of each clip; None: all.
    """

    streams: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    frame_masks: Mapping[str, Tensor] = field(default_factory=dict)
    members_BM: Tensor | None = None

    @property
    def is_heard(self) -> Tensor:
        """(B,): the clip has any stream, and a member that may speak of it."""
        present_B = torch.stack(list(self.present.values())).any(dim=0)
        return present_B if self.members_BM is None else present_B & self.members_BM.any(dim=1)


@dataclass(frozen=True)
class MemberOutput:
    """Logits (B, C), values (B, V), and the model's own numbers about clips, each (B,), NaN where there is none."""

    logits_BC: Tensor
    values_BV: Tensor
    facts: Mapping[str, Tensor]


@dataclass(frozen=True)
class GroupOutput:
    """The members' mean probabilities (B, C) and values (B, V), and each member's numbers about clips."""

    probs_BC: Tensor
    values_BV: Tensor
    facts: Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class NetworkOutput:
    """Probabilities (B, C), values (B, V), and the models' mean numbers about clips, each (B,), NaN where no model has one."""

    probs_BC: Tensor
    values_BV: Tensor
    facts: dict[str, Tensor]


class Member(nn.Module):
    """One trained model behind its own normalisation; `statistics[stream]` are mean and scale (D,), none where inputs come normalised."""

    def __init__(self, model: FusionModel, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.model = model
        self.normalised = tuple(statistics)
        for number, (mean_D, scale_D) in enumerate(statistics.values()):
            self.register_buffer(f"mean{number}", mean_D)
            self.register_buffer(f"scale{number}", scale_D)

    def forward(self, given: GroupInputs) -> MemberOutput:
        """What the model says of features as they are stored."""
        inputs = {}
        for name, x in given.streams.items():
            if name in self.normalised:
                number = self.normalised.index(name)
                x = (x - self.get_buffer(f"mean{number}")) / self.get_buffer(f"scale{number}")
            real = given.frame_masks[name][:, :, None] if name in given.frame_masks else given.present[name][:, None]
            inputs[name] = torch.where(real, x, 0.0)
        unknown_B = torch.full_like(next(iter(given.present.values())), -1, dtype=torch.int64)
        predictions = self.model(Batch(inputs, dict(given.present), unknown_B, {}, dict(given.frame_masks)))
        values = [predictions.values[name] for name in self.model.task.values]
        values_BV = torch.stack(values, dim=1) if values else predictions.logits[:, :0]
        return MemberOutput(predictions.logits, values_BV, predictions.facts)


class BundleNetwork(nn.Module):
    """Probabilities and values of a bundle from features as they are stored, built into streams.

    The members of a group: mean of softmax(logits / temperature). The groups: mean by their weights, over those whose streams a
    clip has; a clip without any stream gets the prior (our choices).
    """

    prior_probs_C: Tensor
    prior_values_V: Tensor
    ranges_V2: Tensor

    def __init__(self, facts: BundleFacts, groups: Sequence[Sequence[Member]]) -> None:
        super().__init__()
        self.groups = nn.ModuleList(Group(group, members) for group, members in zip(facts.groups, groups, strict=True))
        self.weights = [group.weight for group in facts.groups]
        self.predicts_values = bool(facts.values)
        self.register_buffer("prior_probs_C", torch.tensor(facts.prior_probs, dtype=torch.float32))
        # A value that no training clip had is nothing to fall back on: NaN, which files show as unknown.
        prior = [float("nan") if value is None else value for value in facts.prior_values]
        self.register_buffer("prior_values_V", torch.tensor(prior, dtype=torch.float32))
        ranges = [facts.value_ranges.get(name, (-math.inf, math.inf)) for name in facts.values]
        self.register_buffer("ranges_V2", torch.tensor(ranges, dtype=torch.float32).reshape(-1, 2))

    def forward(self, inputs: Sequence[GroupInputs]) -> tuple[Tensor, Tensor]:
        """Probabilities (B, C) and values (B, V); `inputs` has the streams of each group and which clips have them."""
        return self._join([group(given) for group, given in zip(self.groups, inputs, strict=True)], inputs)

    def explain(self, inputs: Sequence[GroupInputs]) -> NetworkOutput:
        """As `forward`, and what the models say of the clips themselves, such as a gate: the mean over those that speak."""
        found = [group(given) for group, given in zip(self.groups, inputs, strict=True)]
        said: dict[str, list[Tensor]] = {}
        for output, given in zip(found, inputs, strict=True):
            for number, facts in enumerate(output.facts):
                speaks_B = given.is_heard if given.members_BM is None else given.is_heard & given.members_BM[:, number]
                for name, value_B in facts.items():
                    said.setdefault(name, []).append(value_B.masked_fill(~speaks_B, torch.nan))
        means = {name: torch.stack(values).nanmean(dim=0) for name, values in said.items()}
        return NetworkOutput(*self._join(found, inputs), means)

    def _join(self, found: Sequence[GroupOutput], inputs: Sequence[GroupInputs]) -> tuple[Tensor, Tensor]:
        heard = [given.is_heard for given in inputs]
        shares_GB = torch.stack([weight * heard_B.float() for weight, heard_B in zip(self.weights, heard, strict=True)])
        # Divided by 1 where a clip has nothing: those rows are replaced.
        shares_GB1 = (shares_GB / shares_GB.sum(dim=0).where(torch.stack(heard).any(dim=0), 1.0))[:, :, None]
        has_input_B1 = torch.stack(heard).any(dim=0)[:, None]
        probs_BC = (torch.stack([one.probs_BC for one in found]) * shares_GB1).sum(dim=0)
        values_BV = (torch.stack([one.values_BV for one in found]) * shares_GB1).sum(dim=0)
        values_BV = torch.minimum(torch.maximum(values_BV, self.ranges_V2[:, 0]), self.ranges_V2[:, 1])
        return torch.where(has_input_B1, probs_BC, self.prior_probs_C), torch.where(has_input_B1, values_BV, self.prior_values_V)


class Group(nn.Module):
    """The members of one run, averaged."""

    def __init__(self, facts: GroupFacts, members: Sequence[Member]) -> None:
        super().__init__()
        self.temperature = facts.temperature
        self.members = nn.ModuleList(members)

    def forward(self, given: GroupInputs) -> GroupOutput:
        """The mean of the members that may speak; of a clip without any it means nothing."""
        found: list[MemberOutput] = [member(given) for member in self.members]
        probs_MBC = torch.stack([torch.softmax(one.logits_BC / self.temperature, dim=1) for one in found])
        values_MBV = torch.stack([one.values_BV for one in found])
        facts = [one.facts for one in found]
        if given.members_BM is None:
            return GroupOutput(probs_MBC.mean(dim=0), values_MBV.mean(dim=0), facts)
        speaks_MB1 = given.members_BM.T[:, :, None].to(probs_MBC.dtype)
        shares_MB1 = speaks_MB1 / speaks_MB1.sum(dim=0).clamp_min(1)
        return GroupOutput((probs_MBC * shares_MB1).sum(dim=0), (values_MBV * shares_MB1).sum(dim=0), facts)
