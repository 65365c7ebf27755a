"""Whether rounds and votes help, split by split, with intervals of the paired bootstrap."""

from collections.abc import Mapping, Sequence
from typing import Any

from mer_ray.core.seeding import derive_seed
from mer_ray.objectives import Outcome, intervals, is_better, score
from mer_ray.objectives.pairing import difference
from mer_ray.prediction.voting import AnyVote, MajorityVote, MeanVote
from mer_ray.selftraining.committee import Committee, Labels
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.rounds import Round

# Enough to tell 0.05 from 0.01: each swap of each comparison is a score.
NUM_SWAPS = 999


def round_scores(config: SelftrainConfig, committee: Committee, labels: Mapping[str, Labels]) -> dict[str, Any]:
    """By split with labels: the vote's scores with intervals, and each model's mean over seeds."""
    found = {}
    for split, known in labels.items():
        vote = vote_outcome(config, committee, split, known)
        if not score(vote):
            continue
        models = {teacher.name: [score(one) for one in committee.outcomes_of(teacher.name, split, known)] for teacher in config.teachers}
        found[split] = {
            "vote": score(vote),
            "interval": {name: list(bounds) for name, bounds in intervals([vote], derive_seed("bootstrap", split)).items()},
            "models": {
                name: {"mean": {metric: sum(row[metric] for row in rows) / len(rows) for metric in rows[0]}, "per_seed": rows}
                for name, rows in models.items()
            },
        }
    return found


def vote_outcome(
    config: SelftrainConfig, committee: Committee, split: str, labels: Labels, rule: AnyVote | None = None, prior: str | None = None
) -> Outcome:
    """The config's vote on a split, or that of another rule or prior; with `em` the prior is that of the split itself."""
    prior_C = committee.prior_of(split) if (prior or config.selection.prior) == "em" else None
    return committee.outcome(committee.decide(rule or config.vote, split, prior_C), split, labels)


def compare_rounds(config: SelftrainConfig, rounds: Sequence[Round], labels: Mapping[str, Labels]) -> list[dict[str, Any]]:
    """Each later round minus round 0 and minus the round before it: of the vote, and of each model over its seeds."""
    found = []
    for later in rounds[1:]:
        for number in sorted({0, later.number - 1}):
            names = f"round {number}", f"round {later.number}"
            found += compare_committees(config, rounds[number].committee, later.committee, labels, *names)
    return found


def compare_committees(
    config: SelftrainConfig, first: Committee, other: Committee, labels: Mapping[str, Labels], first_name: str, other_name: str
) -> list[dict[str, Any]]:
    """`other` minus `first` on every split with labels."""
    rows = []
    for split, known in labels.items():
        pairs = {"vote": ([vote_outcome(config, first, split, known)], [vote_outcome(config, other, split, known)])}
        for teacher in config.teachers:
            pairs[teacher.name] = (first.outcomes_of(teacher.name, split, known), other.outcomes_of(teacher.name, split, known))
        for of, (one, two) in pairs.items():
            row = _row(config, one, two, split)
            if row:
                rows.append({"of": of, "first": first_name, "other": other_name, **row})
    return rows


def compare_votes(config: SelftrainConfig, committee: Committee, labels: Mapping[str, Labels]) -> list[dict[str, Any]]:
    """Rules on the same voters, with and without the estimated prior, each minus the plain mean."""
    rules: dict[str, AnyVote] = {"mean": MeanVote(), "majority": MajorityVote(name="majority"), config.vote.name: config.vote}
    rows = []
    for split, known in labels.items():
        plain = vote_outcome(config, committee, split, known, MeanVote(), "train")
        for name, rule in rules.items():
            for prior in ("train", "em"):
                outcome = vote_outcome(config, committee, split, known, rule, prior)
                row = _row(config, [plain], [outcome], split)
                if row:
                    rows.append({"rule": name, "prior": prior, "score": score(outcome)[config.train.select_metric], **row})
    return rows


def _row(config: SelftrainConfig, first: Sequence[Outcome], other: Sequence[Outcome], split: str) -> dict[str, Any] | None:
    metric = config.train.select_metric
    if any(metric not in score(one) for one in (*first, *other)):
        return None
    found = difference(first, other, metric, derive_seed("selftrain", split), num_swaps=NUM_SWAPS)
    return {
        "split": split,
        "metric": metric,
        "difference": found.mean,
        "interval": None if found.interval is None else list(found.interval),
        "p_value": found.p_value,
        "hurts": found.interval is not None and _is_worse(metric, found.interval),
    }


def _is_worse(metric: str, interval: tuple[float, float]) -> bool:
    """Whether the whole interval of a difference lies on the wrong side of 0."""
    return is_better(metric, 0.0, interval[0]) and is_better(metric, 0.0, interval[1])
