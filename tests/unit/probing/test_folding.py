from pathlib import Path

import pyarrow as pa
import pytest

from mer_ray.core.errors import ManifestError, RunError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts
from mer_ray.corpora.folds import StratifiedFoldsConfig
from mer_ray.probing.folding import fold_clips

PATH = Path("m.parquet")


def manifest(num_clips: int = 40, **columns) -> Manifest:
    rows = [
        {"clip_id": f"c{number}", "emotion": ("sad", "happy")[number % 2], **{name: make(number) for name, make in columns.items()}}
        for number in range(num_clips)
    ]
    return Manifest(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), ManifestFacts("x", ("sad", "happy"), "/"))


def folds_by(folded, column: str) -> dict:
    found: dict = {}
    for row in folded.clips.to_pylist():
        found.setdefault(row[column], set()).add(row["fold"])
    return found


def test_folds_of_the_manifest_are_taken():
    given = manifest(fold=lambda number: None if number < 4 else number % 3, speaker_id=lambda number: f"s{number % 3}")
    folded = fold_clips(PATH, given, None, 0)
    assert not folded.are_new and folded.clips.num_rows == 36 and folded.manifest is given


def test_clips_without_a_label_are_left_out():
    folded = fold_clips(PATH, manifest(fold=lambda number: number % 3, emotion=lambda number: "sad" if number < 30 else None), None, 0)
    assert folded.clips.num_rows == 30


def test_new_folds_share_no_speaker():
    folded = fold_clips(PATH, manifest(speaker_id=lambda number: f"s{number % 8}"), None, 3)
    assert folded.are_new and all(len(folds) == 1 for folds in folds_by(folded, "speaker_id").values())
    assert len({row["fold"] for row in folded.clips.to_pylist()}) == 5 and "5 folds" in (folded.manifest.facts.folds or "")


def test_clips_of_one_media_file_stay_together_where_speakers_are_unknown():
    folded = fold_clips(PATH, manifest(path=lambda number: f"film{number % 10}.mp4"), None, 0)
    assert all(len(folds) == 1 for folds in folds_by(folded, "path").values())


def test_only_the_training_split_is_folded():
    folded = fold_clips(PATH, manifest(split=lambda number: "test" if number < 10 else "train"), None, 0)
    assert {row["split"] for row in folded.clips.to_pylist()} == {"train"}


def test_wanted_folds_replace_those_of_the_manifest():
    given = manifest(fold=lambda number: number % 3, speaker_id=lambda number: f"s{number % 20}")
    folded = fold_clips(PATH, given, StratifiedFoldsConfig(num_folds=4), 0)
    assert folded.are_new and {row["fold"] for row in folded.clips.to_pylist()} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"fold": lambda number: number % 3, "speaker_id": lambda number: "eve"}, RunError, "speaker 'eve' is in folds 0, 1, 2"),
        ({"split": lambda number: ("a", "b")[number % 2]}, RunError, "labelled clips of the splits a, b; name those"),
        ({"speaker_id": lambda number: f"s{number % 3}"}, ManifestError, "5 folds, but 3 speakers"),
        ({"emotion": lambda number: None}, ManifestError, "no labelled clip to fold"),
        ({"fold": lambda number: 0, "emotion": lambda number: None}, RunError, "no labelled clip is in a fold"),
    ],
)
def test_what_cannot_be_folded_is_told_in_one_line(given, error, message):
    with pytest.raises(error) as caught:
        fold_clips(PATH, manifest(**given), None, 0)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_folds_that_are_to_judge_take_no_part():
    given = manifest(fold=lambda number: number % 4, speaker_id=lambda number: f"s{number % 4}")
    folded = fold_clips(PATH, given, None, 0, left_out=[3])

    assert set(folded.clips["fold"].to_pylist()) == {0, 1, 2}
    with pytest.raises(RunError, match=r"test_folds: m.parquet has no fold 9; it has 0, 1, 2, 3"):
        fold_clips(PATH, given, None, 0, left_out=[9])
