"""A search on disk, beside its study.

<out>/config.yaml                    what was asked for
<out>/study.sqlite                   all trials, unless the storage is elsewhere
<out>/trials.parquet                 a row per trial: state, values, parameters, seconds, reason
<out>/best.yaml                      the best trial as a config of `train`
<out>/best/, <out>/start/            the run of the best, and of the first start, with the final seeds
<out>/search.json                    what came out (last: its existence means the search is complete)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import dump_yaml
from mer_ray.core.errors import RunError
from mer_ray.training.config import TrainConfig
from mer_ray.training.predictions_table import write_table
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.records import TrialRecord


@dataclass(frozen=True)
class SearchFolder:
    """The paths of a search."""

    root: Path

    @property
    def facts_path(self) -> Path:
        """search.json."""
        return self.root / "search.json"

    @property
    def best_path(self) -> Path:
        """best.yaml."""
        return self.root / "best.yaml"

    @property
    def trials_path(self) -> Path:
        """trials.parquet."""
        return self.root / "trials.parquet"

    def write_config(self, config: TuneConfig) -> None:
        """config.yaml."""
        write_text(self.root / "config.yaml", dump_yaml(config))

    def write_best(self, best: TrainConfig) -> None:
        """best.yaml, ready for `mer-ray train`."""
        write_text(self.best_path, dump_yaml(best))

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
        return found

    def write_trials(self, records: Sequence[TrialRecord]) -> None:
        """trials.parquet: parameters, values and scores as JSON columns of their own, as trials have different ones."""
        rows = [
            {
                "number": record.number,
                "state": record.state,
                "values": json.dumps(record.values),
                "params": json.dumps(record.params),
                "scores": json.dumps(record.scores),
                "curve": json.dumps(list(record.curve.items())),
                "seconds": record.seconds,
                "reason": record.reason,
            }
            for record in records
        ]
        names = [(name, pa.string()) for name in ("state", "values", "params", "scores", "curve", "reason")]
        schema = pa.schema([("number", pa.int32()), *names[:5], ("seconds", pa.float64()), names[5]])
        write_table(self.trials_path, pa.Table.from_pylist(rows, schema=schema))
