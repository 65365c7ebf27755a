"""A search on disk, beside its study.

<out>/config.yaml                    what was asked for
<out>/study.sqlite                   all trials, unless the storage is elsewhere
<out>/trials.parquet                 a row per trial: state, values, parameters as they acted, layers read, seconds, reason
<out>/finalists.json                 scores of the finalists with the final seeds, by the identity of their configs
<out>/best.yaml                      the best trial as a config of `train`
<out>/runs/trial<number>/            the run of the best, and of the first start, with the final seeds
<out>/search.json                    what came out (its existence means the search is complete)
<out>/report.html                    the page about it, made from search.json and trials.parquet
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import dump_plain, dump_yaml
from mer_ray.core.errors import RunError
from mer_ray.training.predictions_table import write_table
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.records import TrialRecord

WRITE_ANEW = "delete search.json and write it again with `mer-ray tune CONFIG --resume`"
# What readers of search.json rely on.
FACTS = ("name", "objectives", "counts", "best", "final", "start", "encoders", "dimensions", "importances", "spent")
TRIALS_SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("state", pa.string()),
        ("values", pa.string()),
        ("params", pa.string()),
        ("inputs", pa.string()),
        ("scores", pa.string()),
        ("curve", pa.string()),
        ("seconds", pa.float64()),
        ("reason", pa.string()),
        ("stands_for", pa.int32()),
    ]
)


def granted(config: TuneConfig) -> dict[str, Any]:
    """Trials, hours and money that a search may spend."""
    return {**config.budget.model_dump(), "price_per_gpu_hour": config.price_per_gpu_hour}


@dataclass(frozen=True)
class SearchFolder:
    """The paths of a search."""

    root: Path

    @property
    def facts_path(self) -> Path:
        """search.json."""
        return self.root / "search.json"

    def is_over(self, config: TuneConfig, identity: str) -> bool:
        """Whether this search ended with all its trials, or spent all that it is granted now, too."""
        if not self.facts_path.is_file():
            return False
        facts = self.read_facts()
        has_all = sum(facts["counts"].values()) >= config.budget.trials
        return facts["identity"] == identity and (has_all or facts.get("granted") == granted(config))

    @property
    def finalists_path(self) -> Path:
        """finalists.json."""
        return self.root / "finalists.json"

    @property
    def best_path(self) -> Path:
        """best.yaml."""
        return self.root / "best.yaml"

    @property
    def trials_path(self) -> Path:
        """trials.parquet."""
        return self.root / "trials.parquet"

    @property
    def page_path(self) -> Path:
        """report.html."""
        return self.root / "report.html"

    def write_config(self, config: TuneConfig) -> None:
        """config.yaml."""
        write_text(self.root / "config.yaml", dump_yaml(config))

    def write_best(self, best: dict[str, Any]) -> None:
        """best.yaml, ready for the verb that was searched."""
        write_text(self.best_path, dump_plain(best))

    def write_facts(self, facts: dict[str, Any]) -> None:
        """search.json."""
        write_json(self.facts_path, facts)

    def read_facts(self) -> dict[str, Any]:
        """search.json.

        Raises:
            RunError: the search is not complete, or the file is no JSON.

        """
        if not self.facts_path.is_file():
            raise RunError(f"{self.root}: holds no search.json; the search is not complete: go on with `mer-ray tune CONFIG --resume`")
        try:
            found: dict[str, Any] = json.loads(self.facts_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.facts_path}: not valid JSON ({error}); delete it and go on with --resume") from error
        lacking = [name for name in FACTS if not isinstance(found, dict) or name not in found]
        if lacking:
            raise RunError(f"{self.facts_path}: not of a search of this version, it lacks {lacking[0]!r}; {WRITE_ANEW}")
        return found

    def write_trials(self, records: Sequence[TrialRecord]) -> None:
        """trials.parquet: parameters, values and scores as JSON columns of their own, as trials have different ones."""
        rows = [
            {
                "number": record.number,
                "state": record.state,
                "values": json.dumps(record.values),
                "params": json.dumps(record.params),
                "inputs": json.dumps(record.inputs),
                "scores": json.dumps(record.scores),
                "curve": json.dumps(list(record.curve.items())),
                "seconds": record.seconds,
                "reason": record.reason,
                "stands_for": record.stands_for,
            }
            for record in records
        ]
        write_table(self.trials_path, pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA))

    def read_trials(self) -> list[TrialRecord]:
        """trials.parquet.

        Raises:
            RunError: the file is not there, or is no table of trials of this version.

        """
        try:
            table = pq.read_table(self.trials_path)
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self.trials_path}: cannot be read ({error}); {WRITE_ANEW}") from error
        if not table.schema.equals(TRIALS_SCHEMA):
            columns = ", ".join(table.column_names)
            raise RunError(f"{self.trials_path}: not a table of trials of this version (columns {columns}); {WRITE_ANEW}")
        return [_to_record(row) for row in table.to_pylist()]


def _to_record(row: dict[str, Any]) -> TrialRecord:
    parsed = {name: json.loads(row[name]) for name in ("values", "params", "inputs", "scores")}
    curve = {int(step): float(score) for step, score in json.loads(row["curve"])}
    plain = {name: row[name] for name in ("number", "state", "seconds", "reason", "stands_for")}
    return TrialRecord(curve=curve, **plain, **parsed)
