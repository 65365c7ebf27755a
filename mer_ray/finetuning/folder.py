"""A fine-tuning on disk: what is finished, what goes on, and where everything lies.

<out>/config.yaml, run.json, metrics.jsonl, failures.json, label_errors.csv, scores.json (last: its existence means all is done)
<out>/predictions/<split>.parquet                each clip by a network that was not trained on its label
<out>/adapter/finetune.json, <fit>/              what `extract` takes
<out>/checkpoints/<fit>/{last.pt, predictions.parquet, finished.json} (last: its existence means the fit is finished)
<out>/inputs/                                    decoded clips, while it is at work
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import dump_yaml, identity_fields, load_yaml
from mer_ray.core.errors import RunError
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.training.run_folder import FitFolder, RunFolder


@dataclass(frozen=True)
class FinetuneFolder:
    """The paths of a fine-tuning, all absolute."""

    root: Path

    @property
    def run(self) -> RunFolder:
        """The paths that it shares with a run of `train`."""
        return RunFolder(self.root)

    @property
    def inputs(self) -> Path:
        """The cache of decoded clips."""
        return self.root / "inputs"

    @property
    def adapter(self) -> Path:
        """What an encoder is given."""
        return self.root / "adapter"

    def fit(self, name: str) -> FitFolder:
        """The folder of a fit."""
        return FitFolder(self.root / "checkpoints" / name)

    def open(self, config: FinetuneConfig, identity: str, facts: dict[str, Any]) -> None:
        """Start, or go on with what lies here.

        Raises:
            RunError: the folder holds another fine-tuning, or something else.

        """
        self.refuse_other(config, identity)
        if not self.run.facts_path.is_file():
            write_json(self.run.facts_path, facts)
        write_text(self.root / "config.yaml", dump_yaml(config))

    def refuse_other(self, config: FinetuneConfig, identity: str) -> None:
        """Refuse what `open` refuses.

        Raises:
            RunError: the folder holds another fine-tuning, or something else.

        """
        if self.run.facts_path.is_file():
            if self.run.read_facts().get("identity") != identity:
                raise RunError(
                    f"{self.root}: holds another run: {self._what_differs(config)} differ; give another `out`, "
                    "or delete the folder to fine-tune anew"
                )
        elif self.root.is_dir() and any(entry.name != self.inputs.name for entry in self.root.iterdir()):
            raise RunError(f"{self.root}: is not empty and holds no run.json; give another `out`, or empty it")

    def _what_differs(self, config: FinetuneConfig) -> str:
        here = yaml.safe_load(dump_yaml(config))
        there = load_yaml(self.root / "config.yaml") if (self.root / "config.yaml").is_file() else here
        keys = [key for key in (*identity_fields(config), "precision") if there.get(key) != here.get(key)]
        return ", ".join(keys) or "its data (clips, labels, folds, media or weights)"

    def write_history(self, names: list[str], going_on: list[dict[str, Any]]) -> None:
        """metrics.jsonl, whole: the rows of finished fits and of the one that goes on."""
        rows = [row for name in names if self.fit(name).is_finished for row in self.fit(name).history()]
        write_text(self.root / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in [*rows, *going_on]))
