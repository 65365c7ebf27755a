"""A run on disk: what is finished, what goes on, and where everything lies.

<out>/config.yaml, run.json, metrics.jsonl, scores.json (last: its existence means the run is complete)
<out>/plugins/<sha8>-<name>.py                    the files of the user whose code it runs
<out>/predictions/<split>.parquet
<out>/bundle/                                    the trained models, ready to predict
<out>/selection/<partition>.json                 the candidate that an inner loop chose
<out>/checkpoints/<fit>/{last,best}.pt, predictions.parquet, finished.json (last: its existence means the fit is finished)
<out>/checkpoints/<fit>/best_epochs/epoch<n>.pt  where keep_best is above 1
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import dump_yaml, identity_fields
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.plugins import plugin_files
from mer_ray.training.best_epochs import BestEpochs
from mer_ray.training.checkpoint import read_checkpoint, write_checkpoint
from mer_ray.training.config import TrainConfig
from mer_ray.training.fitting import Learner
from mer_ray.training.predictions_table import write_table


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run, all absolute."""

    root: Path

    @property
    def facts_path(self) -> Path:
        """run.json."""
        return self.root / "run.json"

    @property
    def scores_path(self) -> Path:
        """scores.json."""
        return self.root / "scores.json"

    @property
    def is_complete(self) -> bool:
        """Whether all of the run is done."""
        return self.scores_path.is_file()

    def predictions_path(self, split: str) -> Path:
        """The pooled predictions of a split."""
        return self.root / "predictions" / f"{split}.parquet"

    def fit_folder(self, fold: int | None, seed: int) -> "FitFolder":
        """The folder of one fit."""
        return FitFolder(self.root / "checkpoints" / (f"seed{seed}" if fold is None else f"fold{fold}-seed{seed}"))

    def selection_path(self, fold: int | None) -> Path:
        """What the inner loop of a partition chose."""
        return self.root / "selection" / ("splits.json" if fold is None else f"fold{fold}.json")

    def open(self, config: TrainConfig, identity: str, facts: dict[str, Any]) -> None:
        """Start the run, or go on with the one that lies here.

        Raises:
            RunError: the folder holds another run, or something that is no run.

        """
        if self.facts_path.is_file():
            existing = self.read_facts().get("identity")
            if existing != identity:
                raise self._other_run(self._what_differs(config))
        else:
            self._refuse_no_run()
            write_json(self.facts_path, facts)
        if not (self.root / "config.yaml").is_file():
            write_text(self.root / "config.yaml", dump_yaml(config))
        for file in plugin_files(config):
            file.write_to(self.root / "plugins")

    def refuse_other(self, config: TrainConfig) -> None:
        """Refuse what `open` refuses, as far as it can be told without the data.

        Raises:
            RunError: the folder holds a run of another config, or something that is no run.

        """
        if not self.facts_path.is_file():
            self._refuse_no_run()
        keys = self.differing_keys(config)
        if keys:
            raise self._other_run(_say_differing(keys, (self._config_that_lies_here() or {}).get("precision"), config.precision))

    def differing_keys(self, config: TrainConfig) -> list[str] | None:
        """The keys by which the run that lies here is another one; None where it cannot be told without running a plug-in."""
        try:
            # Without plug-ins: nobody has allowed those that stand here.
            there = TrainConfig.model_validate({**(self._config_that_lies_here() or {}), "allow_plugins": False})
        except (ValidationError, ConfigError):
            return None
        here, known = identity_fields(config), identity_fields(there)
        other_precision = config.precision not in ("auto", there.precision)
        return [key for key in here if here[key] != known[key]] + (["precision"] if other_precision else [])

    def _refuse_no_run(self) -> None:
        if self.root.is_dir() and any(self.root.iterdir()):
            raise RunError(f"{self.root}: is not empty and holds no run.json; give another `out`, or empty it")

    def _config_that_lies_here(self) -> dict[str, Any] | None:
        try:
            there = yaml.safe_load((self.root / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return None
        return there if isinstance(there, dict) else None

    def _other_run(self, what_differs: str) -> RunError:
        return RunError(
            f"{self.root}: holds another run: {what_differs}; give another `out` (in a job: vars.out=... or steps.N.out=...), "
            "or delete the folder to train anew"
        )

    def _what_differs(self, config: TrainConfig) -> str:
        """The keys in which the run that lies here has other values."""
        there = self._config_that_lies_here()
        if there is None:
            return "its config.yaml cannot be read"
        here = yaml.safe_load(dump_yaml(config))
        keys = [key for key in (*identity_fields(config), "precision") if there.get(key) != here.get(key)]
        if not keys:
            return "its data (clips, labels, folds or features) differ"
        return _say_differing(keys, there.get("precision"), config.precision)

    def read_facts(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunError: not JSON.

        """
        return _read_json(self.facts_path)

    def read_scores(self) -> dict[str, Any]:
        """scores.json.

        Raises:
            RunError: not JSON.

        """
        return _read_json(self.scores_path)

    def read_selection(self, fold: int | None) -> dict[str, Any]:
        """What the inner loop of a partition chose.

        Raises:
            RunError: not JSON.

        """
        return _read_json(self.selection_path(fold))

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """metrics.jsonl, whole: a resumed run repeats no row."""
        write_text(self.root / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


@dataclass(frozen=True)
class FitFolder:
    """The folder of one partition and seed."""

    root: Path

    @property
    def last_path(self) -> Path:
        """The newest state; after the end, the last weights."""
        return self.root / "last.pt"

    @property
    def best_path(self) -> Path:
        """The weights that predict, with all that is needed to use them."""
        return self.root / "best.pt"

    @property
    def finished_path(self) -> Path:
        """The history of a finished fit."""
        return self.root / "finished.json"

    @property
    def is_finished(self) -> bool:
        """Whether this fit is done."""
        return self.finished_path.is_file()

    def history(self) -> list[dict[str, Any]]:
        """The rows of a finished fit.

        Raises:
            RunError: the file is damaged.

        """
        rows = self.summary().get("history")
        if not isinstance(rows, list):
            raise RunError(f"{self.finished_path}: holds no history of a fit; delete {self.root} to train this part anew")
        return rows

    def predictions(self) -> pa.Table:
        """All predictions of a finished fit.

        Raises:
            RunError: the file is missing or damaged.

        """
        path = self.root / "predictions.parquet"
        try:
            return pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{path}: missing, or no Parquet that can be read; delete {self.root} to train this part anew") from error

    def summary(self) -> dict[str, Any]:
        """What a finished fit says of itself: its history, what its model learnt, what it cost.

        Raises:
            RunError: the file is damaged.

        """
        return _read_json(self.finished_path)

    def write_best_epochs(self, best: BestEpochs) -> None:
        """The weights of the best epochs, each in a file of its own below `best_epochs`."""
        for epoch, score, weights in best.kept:
            state = {"epoch": epoch, "metric": best.metric, "score": score, "model": weights}
            write_checkpoint(self.root / "best_epochs" / f"epoch{epoch:04d}.pt", state)

    def finish_without_state(self, summary: dict[str, Any]) -> None:
        """Mark a fit as finished whose results lie elsewhere: its state is of no use any more."""
        self.last_path.unlink(missing_ok=True)
        write_json(self.finished_path, summary)

    def finish(self, last: dict[str, Any], best: dict[str, Any], predictions: pa.Table, summary: dict[str, Any]) -> None:
        """Write the results; the fit is finished when the summary is there."""
        write_checkpoint(self.best_path, best)
        # The state that a resume would need is of no use any more, and three times the weights.
        write_checkpoint(self.last_path, last)
        write_table(self.root / "predictions.parquet", predictions)
        write_json(self.finished_path, summary)


class CheckpointKeeper:
    """Writes a fit's state at most every `interval_s`; a resumed fit goes on from there. `curve` is told the fit's rows then."""

    def __init__(self, fit: FitFolder, curve: Callable[[list[dict[str, Any]]], None], interval_s: float) -> None:
        self._fit, self._curve, self._interval_s = fit, curve, interval_s
        self._written_s = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state, None for a new fit.

        Raises:
            RunError: the file is damaged, or holds something else.

        """
        state = read_checkpoint(self._fit.last_path) if self._fit.last_path.is_file() else {}
        # Bare weights are left by a kill in the middle of `finish`: that fit starts anew, and ends the same.
        if state and "optimisers" not in state and set(state) != {"model"}:
            raise RunError(f"{self._fit.last_path}: holds no state of a training; delete {self._fit.root} to train this part anew")
        return state if "optimisers" in state else None

    def keep(self, learner: Learner) -> None:
        """Write, where it is time to and this worker writes."""
        is_time = learner.communicator.is_preempted or time.monotonic() - self._written_s >= self._interval_s
        if not learner.communicator.is_main or not is_time:
            return
        write_checkpoint(self._fit.last_path, learner.state())
        self._curve(learner.history)
        self._written_s = time.monotonic()


class NoKeeper:
    """For fits of an inner loop: they are short, and only their choice is kept."""

    def load(self) -> None:
        """Nothing is kept."""

    def keep(self, learner: Learner) -> None:
        """Nothing is kept."""


def _say_differing(keys: list[str], precision_there: object, precision_here: str) -> str:
    if keys == ["precision"]:
        # `auto` is one on a CPU and another on a GPU, so that nobody has to have set it.
        return f"precision differs ({precision_there} there, {precision_here} here); set precision={precision_there} to go on"
    return f"{', '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON ({error}); delete the run folder to train anew") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: holds {type(value).__name__}, not a mapping; delete the run folder to train anew")
    return value
