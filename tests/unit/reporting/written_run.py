"""Writes a small run folder by the run contract, scored by scikit-learn; `conftest.py` turns it into a fixture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from sklearn import metrics

from mer_ray.core.batch import TaskSpec
from mer_ray.core.predictions import predictions_schema

CLASSES = ("neutral", "angry", "happy", "sad")
# Options of a run that was scored on one clip, and got it right.
ONE_CLIP: dict[str, Any] = {"seeds": (4,), "folds": None, "values": (), "num_unlabelled": 59, "skill": 30.0}
RunMaker = Callable[..., Path]
MODALITY_OF = {"spectral": "audio", "gradient": "vision", "hashing": "text"}


def write_run(
    folder: Path,
    *,
    name: str = "fused",
    streams: tuple[str, ...] = ("spectral", "gradient", "hashing"),
    skill: float = 2.0,
    seeds: tuple[int, ...] = (0, 1, 2),
    folds: int | None = 5,
    values: tuple[str, ...] = ("valence",),
    attention: bool = True,
    num_unlabelled: int = 0,
    num_clips: int = 60,
    normalisation: str = "train",
    config: dict[str, Any] | None = None,
) -> Path:
    """Labels from one seed (equal for all runs), logits that point to them with `skill`."""
    task = TaskSpec(CLASSES, values)
    attention_names = streams if attention else ()
    label_random, random = np.random.default_rng(1), np.random.default_rng(sum(name.encode()))
    labels_N = label_random.integers(0, len(CLASSES), num_clips)
    valence_N = label_random.normal(labels_N - 1.5, 0.5)
    rows, per_seed = [], []
    for seed in seeds:
        logits_NC = random.normal(size=(num_clips, len(CLASSES))) + skill * np.eye(len(CLASSES))[labels_N]
        probabilities_NC = (np.exp(logits_NC) / np.exp(logits_NC).sum(1, keepdims=True)).astype(np.float32)
        predicted_N = probabilities_NC.argmax(1)
        predicted_valence_N = (valence_N + random.normal(size=num_clips)).astype(np.float32)
        for clip in range(num_clips):
            known = clip >= num_unlabelled
            row: dict[str, Any] = {"clip_id": f"clip_{clip:03d}", "split": "test", "seed": seed, "speaker_id": f"s{clip % 4}"}
            row["fold"] = None if folds is None else clip % folds
            row |= {f"prob_{kind}": probabilities_NC[clip, k] for k, kind in enumerate(CLASSES)}
            row["emotion"] = CLASSES[predicted_N[clip]]
            row["label_emotion"] = CLASSES[labels_N[clip]] if known else None
            for value in values:
                row |= {value: predicted_valence_N[clip], f"label_{value}": valence_N[clip] if known else None}
            weights = np.exp(random.normal(size=len(streams))) * (
                [0, *[1] * (len(streams) - 1)] if clip % 10 == 0 and len(streams) > 1 else 1
            )
            shares = [weight / weights.sum() if weight > 0 else None for weight in weights]
            row |= {f"attention_{stream}": weight for stream, weight in zip(attention_names, shares, strict=False)}
            rows.append(row)
        kept = slice(num_unlabelled, None)
        per_seed.append(
            {"seed": seed, **_scores(labels_N[kept], predicted_N[kept], valence_N[kept], predicted_valence_N[kept], bool(values))}
        )
    scored = [row for row in rows if row["label_emotion"] is not None]
    names = [name for name in per_seed[0] if name != "seed"]
    test = {
        "num_clips": num_clips - num_unlabelled,
        "per_seed": per_seed,
        "mean": {name: float(np.mean([one[name] for one in per_seed])) for name in names},
        "std": {name: float(np.std([one[name] for one in per_seed])) for name in names},
        "interval": {name: [float(np.mean([one[name] for one in per_seed])) + step for step in (-0.06, 0.05)] for name in names},
        **_class_scores([row["label_emotion"] for row in scored], [row["emotion"] for row in scored], len(seeds)),
    }
    facts = {
        "name": name,
        "identity": "0" * 64,
        "versions": {"python": "3.11", "mer-ray": "0.1.0"},
        "git_revision": None,
        "seeds": list(seeds),
        "folds": None if folds is None else list(range(folds)),
        "protocol": "hold-out" if folds is None else f"{folds} folds, speaker-disjoint, pooled",
        "corpus": "synthetic",
        "classes": list(CLASSES),
        "values": list(values),
        "streams": [
            {
                "name": stream,
                "modality": MODALITY_OF[stream],
                "dim": 8,
                "encoder": f"{stream}@01234567",
                "layers": ["a"],
                "statistics": ["mean"],
            }
            for stream in streams
        ],
        "normalisation": normalisation,
        "model": {"name": "attention"},
        "num_clips": {"train": 48, "test": num_clips},
        "seconds": 12.5,
        "hardware": {"processor": "test", "cores": 2},
    }
    history = [
        {
            "fold": fold,
            "seed": seed,
            "epoch": epoch,
            "train_loss": 1.8 / epoch + 0.05 * random.normal(),
            "learning_rate": 1e-3,
            "seconds": 0.1,
            "dev_weighted_f1": 0.8 - 0.5 / epoch + 0.03 * random.normal(),
        }
        for seed in seeds
        for fold in (range(folds) if folds else [None])
        for epoch in range(1, 11 + seed)
    ]
    (folder / "predictions").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, predictions_schema(task, attention_names)), folder / "predictions" / "test.parquet")
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "scores.json").write_text(json.dumps({"splits": {"test": test}}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": name, **(config or {})}))
    return folder


def _scores(label_N: Any, predicted_N: Any, value_label_N: Any, value_N: Any, with_value: bool) -> dict[str, float]:
    scores = {
        "weighted_f1": metrics.f1_score(label_N, predicted_N, average="weighted"),
        "uar": metrics.recall_score(label_N, predicted_N, average="macro"),
        "accuracy": metrics.accuracy_score(label_N, predicted_N),
    }
    if with_value:
        scores["valence_mse"] = metrics.mean_squared_error(value_label_N, value_N)
    return {name: float(score) for name, score in scores.items()}


def _class_scores(labels: list[str], predicted: list[str], num_seeds: int) -> dict[str, Any]:
    confusion = metrics.confusion_matrix(labels, predicted, labels=CLASSES) / num_seeds
    parts = metrics.precision_recall_fscore_support(labels, predicted, labels=CLASSES, zero_division=0)
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s) // num_seeds}
        for name, p, r, f, s in zip(CLASSES, *parts, strict=True)
    }
    return {"confusion": confusion.tolist(), "per_class": per_class}
