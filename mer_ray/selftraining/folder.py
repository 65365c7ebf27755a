"""A self-training on disk.

<out>/config.yaml, state.json (whose it is), selftrain.json (last: its existence means that it is complete), selftrain.html
<out>/round<k>/<teacher>/                   the run folder of a teacher (round 0) or student
<out>/round<k>/pseudo_labels.parquet        what the students of round k learnt from: who voted what, thresholds, and the truth where known
<out>/round<k>/predictions/<split>.parquet  the vote of the round's models, one row per clip
<out>/equal_steps/<teacher>/                the teacher trained again for the students' steps
<out>/predictions/<split>.parquet           the vote of the best round
<out>/labels/<split>.parquet                what is known of a split, for `evaluate`
<out>/bundle/                               the best round's models
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import dump_yaml
from mer_ray.core.errors import RunError
from mer_ray.selftraining.committee import Labels
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.pseudo_labels import PseudoLabels
from mer_ray.training.predictions_table import write_table
from mer_ray.training.training_data import TrainingData


@dataclass(frozen=True)
class SelftrainFolder:
    """The paths of a self-training."""

    root: Path

    @property
    def facts_path(self) -> Path:
        """selftrain.json."""
        return self.root / "selftrain.json"

    @property
    def state_path(self) -> Path:
        """state.json."""
        return self.root / "state.json"

    @property
    def is_complete(self) -> bool:
        """Whether all of it is done."""
        return self.facts_path.is_file()

    def round_folder(self, number: int) -> Path:
        """What belongs to one round."""
        return self.root / f"round{number}"

    def run_folder(self, number: int, teacher: str) -> Path:
        """The run of a model of one round."""
        return self.round_folder(number) / teacher

    def pseudo_labels_path(self, number: int) -> Path:
        """What the students of a round learnt from."""
        return self.round_folder(number) / "pseudo_labels.parquet"

    def predictions_path(self, split: str, number: int | None = None) -> Path:
        """The vote of a round on a split; None: of the best one."""
        return (self.root if number is None else self.round_folder(number)) / "predictions" / f"{split}.parquet"

    def labels_path(self, split: str) -> Path:
        """What is known of a split."""
        return self.root / "labels" / f"{split}.parquet"

    def open(self, config: SelftrainConfig, identity: str) -> None:
        """Start, or go on with what lies here.

        Raises:
            RunError: the folder holds another self-training, or something else.

        """
        if self.state_path.is_file():
            if self.read(self.state_path).get("identity") != identity:
                raise RunError(
                    f"{self.root}: holds another self-training: its config, its data or the features differ; give another `out`, or delete "
                    "the folder"
                )
        elif self.root.is_dir() and any(self.root.iterdir()):
            raise RunError(f"{self.root}: is not empty and holds no state.json of a self-training; give another `out`, or empty it")
        else:
            write_json(self.state_path, {"identity": identity})
        write_text(self.root / "config.yaml", dump_yaml(config))

    def read(self, path: Path) -> dict[str, Any]:
        """One of the JSON files.

        Raises:
            RunError: it is damaged.

        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path}: not valid JSON ({error}); delete {self.root} to start anew") from error
        if not isinstance(value, dict):
            raise RunError(f"{path}: holds {type(value).__name__}, not a mapping; delete {self.root} to start anew")
        return value

    def write_pseudo_labels(self, number: int, pseudo: PseudoLabels, data: TrainingData, truth: Labels) -> None:
        """A row per unlabelled clip; `truth` goes nowhere else."""
        write_table(self.pseudo_labels_path(number), pseudo_label_table(pseudo, data, truth))


def pseudo_label_table(pseudo: PseudoLabels, data: TrainingData, truth: Labels) -> pa.Table:
    """A row per unlabelled clip: the chosen class, its probability and threshold, how many agree, whether it is selected.

    Per voter its vote and its probability of the chosen class; `prob_<class>` of the vote; `label_emotion`, null where it is not known.
    """
    classes, committee = data.task.classes, pseudo.committee
    chosen_U = pseudo.decision.class_N
    names = [f"{teacher}_seed{seed}" for teacher, seed in zip(committee.teachers, committee.seeds, strict=True)]
    threshold_U = pseudo.thresholds_C[chosen_U]
    columns: dict[str, Any] = {
        "clip_id": pa.array([data.clip_ids[row] for row in pseudo.rows], pa.string()),
        "split": pa.array([data.splits[row] for row in pseudo.rows], pa.string()),
        "emotion": pa.array([classes[number] for number in chosen_U], pa.string()),
        "confidence": pa.array(pseudo.decision.confidence_N, pa.float32()),
        "threshold": pa.array(threshold_U, pa.float32(), from_pandas=True),
        "agreement": pa.array(pseudo.decision.agreement_N, pa.int32()),
        "selected": pa.array(pseudo.selected_U, pa.bool_()),
    }
    for name, probs_UC in zip(names, pseudo.probs_VUC, strict=True):
        columns[f"vote_{name}"] = pa.array([classes[number] for number in probs_UC.argmax(axis=1)], pa.string())
        columns[f"confidence_{name}"] = pa.array(probs_UC[range(len(probs_UC)), chosen_U], pa.float32())
    columns |= {f"prob_{name}": pa.array(pseudo.decision.probs_NC[:, number], pa.float32()) for number, name in enumerate(classes)}
    columns["label_emotion"] = pa.array([classes[number] if number >= 0 else None for number in truth.emotion_N], pa.string())
    return pa.table(columns)
