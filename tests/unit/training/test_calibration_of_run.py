import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from mer_ray.core.batch import TaskSpec
from mer_ray.core.predictions import predictions_schema
from mer_ray.objectives import apply_temperature, calibration_error, fit_temperature
from mer_ray.training import train
from mer_ray.training.calibration import calibrate

TASK = TaskSpec(("angry", "happy", "sad"))
NUM_FOLDS = 3


def make_table(split, temperature_of_fold, *, num_clips=900, seeds=(0,), labelled=True, shift=0, seed=0):
    """Clip n lies in fold n % 3 + shift; a clip's model is as much too sure as its own fold's temperature, whichever model predicts."""
    random = np.random.default_rng(seed)
    logits_NC = 2 * random.normal(size=(num_clips, 3))
    chances_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    labels_N = [random.choice(3, p=chances_C) for chances_C in chances_NC]
    rows = []
    for model_seed in seeds:
        for clip in range(num_clips):
            own_fold = clip % NUM_FOLDS
            sure_C = np.exp(temperature_of_fold[own_fold] * logits_NC[clip])
            probabilities_C = (sure_C / sure_C.sum()).astype(np.float32)
            rows.append(
                {
                    "clip_id": f"clip{clip:04d}",
                    "split": split,
                    "fold": None if shift is None else (own_fold - shift) % NUM_FOLDS,
                    "seed": model_seed,
                    **{f"prob_{name}": probabilities_C[number] for number, name in enumerate(TASK.classes)},
                    "emotion": TASK.classes[int(probabilities_C.argmax())],
                    "label_emotion": TASK.classes[labels_N[clip]] if labelled else None,
                }
            )
    return pa.Table.from_pylist(rows, predictions_schema(TASK))


def arrays(table):
    rows = table.to_pylist()
    probabilities_NC = torch.tensor([[row[f"prob_{name}"] for name in TASK.classes] for row in rows])
    return probabilities_NC, torch.tensor([TASK.classes.index(row["label_emotion"]) for row in rows])


def test_folds_without_dev_are_cross_fitted_and_never_see_their_own_labels():
    # Fold 0 alone is ten times too sure: who looked at it would be tempted by it.
    found = calibrate({"test": make_table("test", (10, 1, 1))}, TASK, has_dev=False)
    assert found["fitted_on"] == "other folds" and found["num_clips"] == 900
    assert found["by_fold"]["0"] == pytest.approx(1, abs=0.12)
    assert min(found["by_fold"]["1"], found["by_fold"]["2"], found["temperature"]) > 1.7


def test_labels_of_a_fold_do_not_move_its_own_temperature():
    table = make_table("test", (2, 2, 2))
    before = calibrate({"test": table}, TASK, has_dev=False)
    rows = table.to_pylist()
    changed = [row | {"label_emotion": "sad"} if row["fold"] == 1 else row for row in rows]
    after = calibrate({"test": pa.Table.from_pylist(changed, table.schema)}, TASK, has_dev=False)
    assert after["by_fold"]["1"] == before["by_fold"]["1"]
    assert all(after["by_fold"][fold] != before["by_fold"][fold] for fold in ("0", "2"))
    assert after["temperature"] != before["temperature"]


def test_dev_of_folds_leaves_out_the_clips_that_the_fold_tests():
    # The next fold is dev: as dev clips of another fold's model, a fold's test clips are among the dev predictions.
    dev, test = make_table("dev", (10, 1, 1), shift=1), make_table("test", (10, 1, 1))
    found = calibrate({"dev": dev, "test": test}, TASK, has_dev=True)
    assert found["fitted_on"] == "dev"
    assert found["by_fold"]["0"] == pytest.approx(1, abs=0.12)
    assert found["temperature"] == fit_temperature(*arrays(dev))
    assert list(found["splits"]) == ["test"]


def test_dev_of_splits_gives_one_temperature_and_errors_of_every_labelled_test_split():
    dev = make_table("dev", (3, 3, 3), shift=None, seeds=(0, 1))
    tests = {
        "test1": make_table("test1", (3, 3, 3), shift=None, seed=1),
        "test2": make_table("test2", (3, 3, 3), shift=None, labelled=False),
    }
    found = calibrate({"dev": dev, **tests}, TASK, has_dev=True)
    assert found["by_fold"] is None and found["num_clips"] == 900 and list(found["splits"]) == ["test1"]
    assert found["temperature"] == pytest.approx(3, rel=0.1)
    probabilities_NC, label_N = arrays(tests["test1"])
    assert found["splits"]["test1"]["ece"] == calibration_error(probabilities_NC, label_N)
    assert found["splits"]["test1"]["ece_scaled"] == calibration_error(apply_temperature(probabilities_NC, found["temperature"]), label_N)
    assert found["splits"]["test1"]["ece_scaled"] < 0.06 < 0.1 < found["splits"]["test1"]["ece"]


def test_each_fold_is_scaled_by_its_own_temperature():
    table = make_table("test", (10, 1, 1))
    found = calibrate({"test": table}, TASK, has_dev=False)
    probabilities_NC, label_N = arrays(table)
    folds_N = torch.tensor(table["fold"].to_pylist())
    scaled_NC = torch.stack(
        [
            apply_temperature(row_C[None], found["by_fold"][str(fold)])[0]
            for row_C, fold in zip(probabilities_NC, folds_N.tolist(), strict=True)
        ]
    )
    assert found["splits"]["test"]["ece_scaled"] == pytest.approx(calibration_error(scaled_NC, label_N), abs=1e-4)


def test_without_dev_and_folds_or_labels_there_is_none():
    test = make_table("test", (1, 1, 1), shift=None)
    assert calibrate({"test": test}, TASK, has_dev=False) is None
    # A test split that happens to be named dev is no dev set.
    assert calibrate({"dev": test}, TASK, has_dev=False) is None
    assert calibrate({"test": make_table("test", (1, 1, 1), labelled=False)}, TASK, has_dev=False) is None
    assert calibrate({"dev": make_table("dev", (1, 1, 1), num_clips=9, shift=None), "test": test}, TASK, has_dev=True) is None
    # Two folds of ten labelled clips in all: none of them has ten others.
    assert calibrate({"test": make_table("test", (1, 1, 1), num_clips=12)}, TASK, has_dev=False) is None


@pytest.mark.parametrize(
    ("protocol", "fitted_on", "num_folds"),
    [({"name": "folds"}, "other folds", 4), ({"name": "folds", "dev": "next_fold"}, "dev", 4), ({"name": "splits"}, "dev", 0)],
)
def test_a_run_writes_its_calibration(corpus, protocol, fitted_on, num_folds):
    config = corpus.config(protocol=protocol)
    train(config)
    found = json.loads((config.out / "scores.json").read_text())["calibration"]
    assert list(found) == ["temperature", "fitted_on", "by_fold", "num_clips", "splits"]
    assert found["fitted_on"] == fitted_on and found["temperature"] > 0
    assert (found["by_fold"] is None) == (num_folds == 0)
    assert list(found["by_fold"] or {}) == [str(fold) for fold in range(num_folds)]
    assert set(found["splits"]["test"]) == {"ece", "ece_scaled"} and found["num_clips"] == (61 if num_folds else 15)


def test_a_run_of_splits_without_dev_has_none(corpus):
    config = corpus.config(protocol={"name": "splits", "dev": None})
    train(config)
    assert json.loads((config.out / "scores.json").read_text())["calibration"] is None
