import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from written_run import CLASSES, RunMaker

from mer_ray.core.batch import TaskSpec
from mer_ray.objectives import apply_temperature, calibration_error
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.reporting.calibration import calibration_of
from mer_ray.reporting.runs import read_run
from mer_ray.training.calibration import calibrate

FITTED = {"temperature": 2.0, "fitted_on": "dev", "by_fold": None, "num_clips": 40, "splits": {"test": {"ece": 0.1, "ece_scaled": 0.05}}}


def with_calibration(folder: Path, calibration: dict[str, Any] | None) -> Path:
    scores = json.loads((folder / "scores.json").read_text())
    (folder / "scores.json").write_text(json.dumps({**scores, "calibration": calibration}))
    return folder


def found_of(folder: Path, split: str = "test") -> dict[str, Any]:
    run = read_run(folder)
    predictions = run.predictions("test")
    found = calibration_of(run, predictions.select(predictions.labels_N >= 0), split)
    assert found is not None
    return found


def arrays(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = pq.read_table(folder / "predictions/test.parquet").to_pylist()
    probabilities_NC = torch.tensor([[row[f"prob_{name}"] for name in CLASSES] for row in rows], dtype=torch.float64)
    return (
        probabilities_NC,
        torch.tensor([CLASSES.index(row["label_emotion"]) for row in rows]),
        torch.tensor([row["fold"] for row in rows]),
    )


def test_all_predictions_are_scaled_by_the_temperature(make_run: RunMaker) -> None:
    folder = with_calibration(make_run(), FITTED)
    found = found_of(folder)
    probabilities_NC, label_N, _ = arrays(folder)
    before, after = found["curves"]
    assert (before["label"], after["label"], found["num_predictions"]) == ("as it is", "scaled", 180)
    assert before["error"] == pytest.approx(calibration_error(probabilities_NC, label_N))
    assert after["error"] == pytest.approx(calibration_error(apply_temperature(probabilities_NC, 2.0), label_N))
    assert sum(one["count"] for one in after["bins"]) == 180
    assert found["note"] is None
    assert found["fit"] == {"temperature": 2.0, "fitted_on": "dev", "num_clips": 40, "lowest": None, "highest": None, "is_own": False}


def test_each_fold_is_scaled_by_its_own(make_run: RunMaker) -> None:
    by_fold = {str(fold): 0.5 + fold for fold in range(5)}
    folder = with_calibration(make_run(), FITTED | {"fitted_on": "other folds", "by_fold": by_fold})
    found = found_of(folder)
    probabilities_NC, label_N, fold_N = arrays(folder)
    scaled_NC = torch.stack(
        [apply_temperature(row_C[None], 0.5 + fold)[0] for row_C, fold in zip(probabilities_NC, fold_N.tolist(), strict=True)]
    )
    assert found["curves"][1]["error"] == pytest.approx(calibration_error(scaled_NC, label_N))
    assert (found["fit"]["lowest"], found["fit"]["highest"]) == (0.5, 4.5)


def test_the_errors_are_those_of_scores_json(make_run: RunMaker) -> None:
    folder = make_run()
    table = pq.read_table(folder / "predictions/test.parquet")
    calibration = calibrate({"test": table}, TaskSpec(CLASSES, ("valence",)), has_dev=False)
    assert calibration is not None
    curves = found_of(with_calibration(folder, calibration))["curves"]
    errors = calibration["splits"]["test"]
    assert [curve["error"] for curve in curves] == pytest.approx([errors["ece"], errors["ece_scaled"]], abs=1e-6)


def test_what_is_not_known_is_said(make_run: RunMaker) -> None:
    old = found_of(make_run("old"))
    assert len(old["curves"]) == 1
    assert "written before temperatures were kept" in old["note"]
    without = found_of(with_calibration(make_run("without"), None))
    assert "No temperature was fitted" in without["note"]
    assert without["fit"] is None
    dev = found_of(with_calibration(make_run("dev"), FITTED), split="dev")
    assert dev["fit"]["is_own"]


@pytest.mark.parametrize(("skill", "words"), [(0.5, "It is too sure of itself"), (30.0, "as sure as it is right")])
def test_the_verdict_compares_confidence_and_accuracy(make_run: RunMaker, skill: float, words: str) -> None:
    folder = make_run(skill=skill)
    probabilities_NC, label_N, _ = arrays(folder)
    confidence = float(np.mean(probabilities_NC.max(dim=1).values.numpy()))
    accuracy = float((probabilities_NC.argmax(dim=1) == label_N).double().mean())
    verdict = found_of(folder)["verdict"]
    assert words in verdict
    assert verdict.endswith(f": mean confidence {confidence:.3f}, accuracy {accuracy:.3f}.")


def test_the_page_shows_it(make_run: RunMaker, tmp_path: Path) -> None:
    by_fold = {"0": 1.8, "1": 2.1, "2": 2.0, "3": 2.0, "4": 2.0}
    folder = with_calibration(make_run(), FITTED | {"fitted_on": "other folds", "by_fold": by_fold})
    text = write_report(ReportConfig(runs=(folder,), out=tmp_path / "report.html")).path.read_text(encoding="utf-8")
    card = re.search(r"<h3>Does its confidence mean anything\?</h3>(.*?)<h3>", text, re.DOTALL)
    assert card is not None
    words = " ".join(card[1].split())
    assert "temperature of 2.00" in words
    assert (
        "on the 40 clips of all folds; here each fold is scaled by its own, fitted without the clips that it tests (1.80 to 2.10)." in words
    )
    found = found_of(folder)
    for curve in found["curves"]:
        assert f"{curve['label']}: expected calibration error <strong>{curve['error']:.3f}</strong>" in card[1]
    filled = [one for one in found["curves"][0]["bins"] if one["count"]]
    assert f'<td class="n">{filled[-1]["confidence"]:.3f}</td><td class="n">{filled[-1]["accuracy"]:.3f}</td>' in card[1]
