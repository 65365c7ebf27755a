"""`mer-ray vote`: several files of predictions in, one file out.

Shapes: N clips, C classes, V voters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from mer_ray.core.batch import VALUE_NAMES, TaskSpec
from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, PredictionError
from mer_ray.core.table import Table
from mer_ray.corpora.cells import CellError, read_cell
from mer_ray.corpora.table_source import read_table
from mer_ray.prediction.clip_table import PROBABILITY, ClipTable, read_clip_table
from mer_ray.prediction.labels import read_label_table
from mer_ray.prediction.prediction_table import check_suffix, vote_table, write_predictions
from mer_ray.prediction.prior_shift import RealArray, correct_prior, estimate_prior
from mer_ray.prediction.submission import COLUMNS, read_candidates, to_submission
from mer_ray.prediction.voting import AnyVote, Ballots, Decision, MajorityVote, MeanVote, PriorAwareVote, check_vote, decide


class VoteConfig(Config):
    """Which files vote by which rule, into which file.

    A voter has the name of its file, or that of `names`; a file of a run, with a column `seed`, is a voter per seed of one name.
    `prior: em` corrects probabilities from the class shares in `train_labels` (its split `train`, where it has one) to those that
    expectation maximisation estimates for these clips; models that were trained with class weights learnt other shares.
    `candidates`: exactly these names, in their order; `format`: a challenge's file.
    """

    predictions: tuple[Path, ...] = where_or_how_fast(min_length=1)
    names: tuple[str, ...] | None = None
    rule: AnyVote = MeanVote()
    prior: Literal["train", "em"] = "train"
    train_labels: Path | None = where_or_how_fast(None)
    candidates: Path | None = where_or_how_fast(None)
    format: Literal["table", "mer2023", "mer2024", "mer2025"] = "table"
    out: Path = where_or_how_fast()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.names is not None and len(self.names) != len(self.predictions):
            raise ValueError(f"names: {len(self.names)} for {len(self.predictions)} files; give one per file")
        if (self.prior == "em") != (self.train_labels is not None):
            raise ValueError("train_labels: belong to prior: em, which needs the shares of the classes in training; give both, or neither")
        if self.format != "table" and self.out.suffix != ".csv":
            raise ValueError(f"out: {self.out}: a {self.format} file is a .csv")
        check_suffix(self.out)
        return self

    @property
    def voter_names(self) -> tuple[str, ...]:
        """Of each file."""
        return self.names or tuple(path.stem for path in self.predictions)


@dataclass(frozen=True)
class _Voter:
    """One file's, or one seed's, predictions of the clips by id."""

    name: str
    path: Path
    row_of: dict[str, int]
    table: ClipTable
    probs_NC: RealArray | None


def vote(config: VoteConfig) -> list[Table]:
    """Vote and write the file.

    Raises:
        ConfigError: a rule or a format that the files do not fit.
        ManifestError, PredictionError: a file cannot be read, or files have other clips or other classes than the first.

    """
    tables = [read_clip_table(path, False) for path in config.predictions]
    classes = _classes(tables)
    voters = [voter for name, table in zip(config.voter_names, tables, strict=True) for voter in _voters(name, table, classes)]
    _refuse_doubtful(config, tables, voters)
    check_vote(config.rule, config.voter_names, classes, "rule")
    clip_ids = _clip_ids(config, voters)
    rows = [[voter.row_of[clip_id] for clip_id in clip_ids] for voter in voters]
    probs_VNC = np.stack([_probs(voter, places, classes) for voter, places in zip(voters, rows, strict=True)])
    prior_C = None
    if config.train_labels is not None:
        train_C = _train_shares(config.train_labels, classes)
        prior_C = estimate_prior(probs_VNC.mean(axis=0), train_C)
        probs_VNC = np.stack([correct_prior(one, train_C, prior_C) for one in probs_VNC])
    decision = decide(config.rule, Ballots(tuple(voter.name for voter in voters), classes, probs_VNC))
    values = _values(voters, rows)
    table = vote_table(clip_ids, decision, values, TaskSpec(classes, tuple(values)))
    if config.format != "table":
        lacking = [name for name in COLUMNS[config.format] if name not in table.column_names]
        if lacking:
            raise ConfigError(f"format: {config.format}: its file has {lacking[0]}, which no file of predictions has")
        table = to_submission(table, config.format)
    write_predictions(table, config.out)
    return [_show(config, decision, classes, len(voters), prior_C)]


def _classes(tables: Sequence[ClipTable]) -> tuple[str, ...]:
    """Those of the `prob_` columns, which must be the same in all files that have some; else all emotions that occur."""
    found = {table.classes: table.path for table in tables if table.classes}
    if len(found) > 1:
        lists = "; ".join(f"{path}: {', '.join(classes or ())}" for classes, path in found.items())
        raise PredictionError(f"predictions have different prob_ columns ({lists}); vote over predictions of the same classes")
    named = sorted({emotion for table in tables for emotion in table.emotions or [] if emotion is not None})
    classes = next(iter(found), None) or tuple(named)
    unknown = [name for name in named if name not in classes]
    if unknown:
        raise PredictionError(f"predictions name {unknown[0]!r}, which is none of the prob_ columns {', '.join(classes)}; correct the file")
    return classes


def _voters(name: str, table: ClipTable, classes: tuple[str, ...]) -> list[_Voter]:
    columns = read_table(str(table.path), None).columns
    probs_NC = None if table.classes is None else _read_probs(table.path, columns, classes)
    seeds = list(columns["seed"]) if "seed" in columns else [None] * len(table.clip_ids)
    voters = []
    for seed in dict.fromkeys(seeds):
        rows = [row for row, one in enumerate(seeds) if one == seed]
        row_of = {table.clip_ids[row]: row for row in rows}
        if len(row_of) < len(rows):
            doubled = Counter(table.clip_ids[row] for row in rows).most_common(1)[0][0]
            raise PredictionError(f"{table.path}: {doubled!r} is predicted twice; a clip has one row{'' if seed is None else ' per seed'}")
        voters.append(_Voter(name, table.path, row_of, table, probs_NC))
    return voters


def _read_probs(path: Path, columns: Mapping[str, Sequence[Any]], classes: tuple[str, ...]) -> RealArray:
    try:
        cells = [[read_cell(cell, pa.float64()) for cell in columns[f"{PROBABILITY}{label}"]] for label in classes]
    except CellError as error:
        raise PredictionError(f"{path}: a prob_ column holds what is no number; allowed: {error}") from error
    probs_NC = np.array(cells, dtype=np.float64).T
    if not (np.isfinite(probs_NC) & (probs_NC >= 0)).all():
        raise PredictionError(f"{path}: some prob_ columns hold no probabilities (empty, negative or infinite)")
    return probs_NC


def _refuse_doubtful(config: VoteConfig, tables: Sequence[ClipTable], voters: Sequence[_Voter]) -> None:
    for table, name in zip(tables, config.voter_names, strict=True):
        if table.emotions is None or None in table.emotions:
            raise PredictionError(f"{table.path}: has no emotion for some clips; each voter votes for every clip")
        counts_votes = isinstance(config.rule, MajorityVote | PriorAwareVote)
        if table.classes is None and (not counts_votes or config.prior == "em"):
            raise ConfigError(f"rule: {name} ({table.path}) has no prob_ columns, which {config.rule.name} needs; take rule.name=majority")
    first = voters[0]
    for voter in voters[1:]:
        if voter.row_of.keys() != first.row_of.keys():
            only = sorted(voter.row_of.keys() ^ first.row_of.keys())
            raise PredictionError(
                f"{voter.path} and {first.path}: {say_count(len(only), 'clip')}, e.g. {only[0]!r}, only one of them predicts; "
                "give files of the same clips"
            )


def _clip_ids(config: VoteConfig, voters: Sequence[_Voter]) -> list[str]:
    if config.candidates is None:
        return list(voters[0].row_of)
    names = read_candidates(config.candidates)
    absent = [name for name in names if name not in voters[0].row_of]
    if absent:
        raise PredictionError(
            f"candidates: {config.candidates}: {say_count(len(absent), 'name')}, e.g. {absent[0]!r}, no file predicts; predict with the "
            "same candidates, so that clips without media are there, too"
        )
    return names


def _probs(voter: _Voter, rows: Sequence[int], classes: tuple[str, ...]) -> RealArray:
    """A file without probabilities is sure of what it says."""
    if voter.probs_NC is not None:
        return voter.probs_NC[rows]
    assert voter.table.emotions is not None
    named = np.array([classes.index(voter.table.emotions[row] or "") for row in rows])
    return np.asarray(np.eye(len(classes))[named])


def _values(voters: Sequence[_Voter], rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """The mean of each value that all voters predict."""
    shared = [name for name in VALUE_NAMES if all(name in voter.table.values for voter in voters)]
    return {
        name: np.mean([voter.table.values[name][list(places)] for voter, places in zip(voters, rows, strict=True)], axis=0)
        for name in shared
    }


def _train_shares(path: Path, classes: tuple[str, ...]) -> RealArray:
    table = read_label_table(path, None, False)
    if "train" in (table.splits or []):
        table = read_label_table(path, "train", False)
    counts_C = np.array([sum(emotion == name for emotion in table.emotions or []) for name in classes], dtype=np.float64)
    if not counts_C.any():
        raise PredictionError(f"train_labels: {path} has no emotion of {', '.join(classes)}; give the labels that the models learnt from")
    return np.asarray(counts_C / counts_C.sum())


def _show(config: VoteConfig, decision: Decision, classes: tuple[str, ...], num_voters: int, prior_C: RealArray | None) -> Table:
    total = len(decision.class_N)
    counts = Counter(decision.class_N.tolist())
    columns = ("emotion", "clips", "share", *(("estimated prior",) if prior_C is not None else ()))
    rows = tuple(
        (classes[number], count, f"{count / total:.1%}", *((f"{prior_C[number]:.1%}",) if prior_C is not None else ()))
        for number, count in counts.most_common()
    )
    agreed = int((decision.agreement_N == num_voters).sum())
    notes = (f"{agreed} of {total} clips: all {say_count(num_voters, 'voter')} agree with the vote", f"predictions: {config.out}")
    return Table(f"Vote: {config.rule.name}", columns, rows, notes)


def plan_vote(config: VoteConfig) -> list[Table]:
    """What would vote."""
    rows = (
        ("voters", ", ".join(f"{name} ({path})" for name, path in zip(config.voter_names, config.predictions, strict=True))),
        ("rule", config.rule.name),
        ("prior", config.prior),
        ("out", str(config.out)),
    )
    return [Table("Vote", ("what", "value"), rows)]
