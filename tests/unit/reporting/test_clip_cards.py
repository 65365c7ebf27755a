import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from written_run import CLASSES, RunMaker

from mer_ray.reporting.clip_groups import entropies
from mer_ray.reporting.runs import read_run
from mer_ray.reporting.tables import build_tables


def clips_of(*folders: Path, max_mistakes: int = 5, max_uncertain: int = 3) -> dict[str, Any]:
    runs = [read_run(folder) for folder in folders]
    tables = build_tables(runs, metric="weighted_f1", split=None, ceilings={}, max_mistakes=max_mistakes, max_uncertain=max_uncertain)
    clips: dict[str, Any] = tables["clips"]
    return clips


def means_of(folder: Path, split: str = "test") -> dict[str, np.ndarray]:
    by_clip: dict[str, list[list[float]]] = {}
    for row in pq.read_table(folder / f"predictions/{split}.parquet").to_pylist():
        by_clip.setdefault(row["clip_id"], []).append([row[f"prob_{name}"] for name in CLASSES])
    return {clip_id: np.mean(rows, axis=0) for clip_id, rows in by_clip.items()}


def listed(clips: dict[str, Any], group: str, run: str = "run-fused") -> list[str]:
    ranks = {
        card["clip_id"]: verdict["ranks"][group]
        for card in clips["cards"]
        for verdict in card["verdicts"]
        if verdict["run"] == run and group in verdict["ranks"]
    }
    assert sorted(ranks.values()) == list(range(len(ranks)))
    return sorted(ranks, key=ranks.__getitem__)


def test_entropy_equals_scipy() -> None:
    probabilities_KC = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    assert entropies(probabilities_KC) == pytest.approx(stats.entropy(probabilities_KC, axis=1))


def test_a_run_lists_its_surest_mistakes_and_closest_calls(make_run: RunMaker) -> None:
    folder = make_run(skill=0.7)
    clips, means = clips_of(folder), means_of(folder)
    labels = {row["clip_id"]: row["label_emotion"] for row in pq.read_table(folder / "predictions/test.parquet").to_pylist()}
    wrong = [clip_id for clip_id, mean in means.items() if CLASSES[mean.argmax()] != labels[clip_id]]
    assert listed(clips, "wrong") == sorted(wrong, key=lambda clip_id: -means[clip_id].max())[:5]
    assert listed(clips, "uncertain") == sorted(means, key=lambda clip_id: -stats.entropy(means[clip_id]))[:3]
    for card in clips["cards"]:
        (verdict,) = card["verdicts"]
        assert card["label"] == labels[card["clip_id"]]
        assert verdict["probabilities"] == pytest.approx(means[card["clip_id"]])
        assert verdict["predicted"] == CLASSES[means[card["clip_id"]].argmax()]


def test_unlabelled_clips_of_other_splits_are_close_calls_and_never_mistakes(make_run: RunMaker, tmp_path: Path) -> None:
    folder = make_run()
    flat = make_run("flat", skill=0.0, num_unlabelled=10)
    rows = [
        row | {"clip_id": f"new_{row['clip_id']}"} | {f"prob_{name}": 0.25 for name in CLASSES}
        for row in pq.read_table(flat / "predictions/test.parquet").to_pylist()
    ]
    schema = pq.read_schema(folder / "predictions/test.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "predictions/new.parquet")
    clips = clips_of(folder, max_mistakes=100, max_uncertain=60)
    unlabelled = [f"new_clip_{clip:03d}" for clip in range(10)]
    assert listed(clips, "uncertain")[:10] == unlabelled
    assert not {"new_clip_010", "new_clip_059"} & {card["clip_id"] for card in clips["cards"]}
    assert not set(unlabelled) & set(listed(clips, "wrong"))
    assert {card["label"] for card in clips["cards"] if card["clip_id"] in unlabelled} == {None}


def test_clips_of_several_runs_share_a_card(make_run: RunMaker) -> None:
    fused, audio = make_run(skill=0.7), make_run("audio", skill=0.2)
    clips = clips_of(fused, audio, max_mistakes=15)
    ids = [card["clip_id"] for card in clips["cards"]]
    assert len(ids) == len(set(ids)) < 36
    assert len({card["slug"] for card in clips["cards"]}) == len(ids)
    assert all([verdict["name"] for verdict in card["verdicts"]] == ["fused", "audio"] for card in clips["cards"])
    listings = [sum(len(verdict["ranks"]) for verdict in card["verdicts"]) for card in clips["cards"]]
    assert listings == sorted(listings, reverse=True)
    assert listings[0] > listings[-1] == 1


def test_clips_of_two_corpora_are_two_cards(make_run: RunMaker) -> None:
    first, second = make_run(skill=0.5), make_run("other", skill=0.5)
    facts = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps(facts | {"corpus": "elsewhere"}))
    clips = clips_of(first, second, max_mistakes=60, max_uncertain=60)
    assert len(clips["cards"]) == 120
    assert len({card["slug"] for card in clips["cards"]}) == 120
    assert all(len(card["verdicts"]) == 1 for card in clips["cards"])


def test_identity_follows_runs_and_labels_and_not_their_order(make_run: RunMaker, tmp_path: Path) -> None:
    fused, audio = make_run(), make_run("audio")
    identity = clips_of(fused, audio)["identity"]
    assert clips_of(audio, fused, max_mistakes=1)["identity"] == identity
    assert clips_of(fused)["identity"] != identity
    facts = json.loads((audio / "run.json").read_text())
    (audio / "run.json").write_text(json.dumps(facts | {"identity": "1" * 64}))
    assert clips_of(fused, audio)["identity"] != identity


def test_nothing_to_list(make_run: RunMaker) -> None:
    clips = clips_of(make_run(), max_mistakes=0, max_uncertain=0)
    assert (clips["groups"], clips["cards"]) == ([], [])
