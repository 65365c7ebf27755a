import random
from collections import Counter, defaultdict

import pyarrow as pa
import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import manifest_table
from mer_ray.corpora.folds import BaseFoldsConfig, LeaveOneSpeakerOutConfig, StratifiedFoldsConfig, assign_folds

# MER2023's classes in its training part.
PRIORS = {"neutral": 871, "angry": 822, "happy": 689, "sad": 383, "worried": 462, "surprise": 146}


def labelled_clips(num_clips: int, num_speakers: int | None, seed: int = 1) -> pa.Table:
    draw = random.Random(seed)
    speakers = [f"s{draw.randrange(num_speakers)}" if num_speakers else None for _ in range(num_clips)]
    return clips(speaker_id=speakers, emotion=draw.choices(list(PRIORS), weights=list(PRIORS.values()), k=num_clips))


def clips(**columns: list[object]) -> pa.Table:
    num_clips = len(next(iter(columns.values())))
    return manifest_table({"clip_id": [f"c{index}" for index in range(num_clips)], **columns}, num_clips)


def folds_of(table: pa.Table, config: BaseFoldsConfig, contents: list[int] | None = None) -> list[int | None]:
    return list(assign_folds(table, config, contents)["fold"].to_pylist())


def test_no_speaker_is_in_two_folds_and_each_class_has_near_its_share():
    table = labelled_clips(1200, num_speakers=40)
    folds = folds_of(table, StratifiedFoldsConfig())
    folds_of_speaker = defaultdict(set)
    for speaker, fold in zip(table["speaker_id"].to_pylist(), folds, strict=True):
        folds_of_speaker[speaker].add(fold)
    assert len(folds_of_speaker) == 40
    assert all(len(found) == 1 for found in folds_of_speaker.values())
    counts = Counter(zip(folds, table["emotion"].to_pylist(), strict=True))
    sizes = Counter(folds)
    assert set(sizes) == {0, 1, 2, 3, 4}
    for emotion, total in Counter(table["emotion"].to_pylist()).items():
        for fold in range(5):
            assert counts[fold, emotion] / sizes[fold] == pytest.approx(total / 1200, abs=0.06)


def test_speakers_of_one_class_each_are_shared_out_by_class():
    speakers = [f"s{index:02d}" for index in range(20) for _ in range(10)]
    emotions = ["sad" if speaker < "s10" else "happy" for speaker in speakers]
    counts = Counter(zip(folds_of(clips(speaker_id=speakers, emotion=emotions), StratifiedFoldsConfig()), emotions, strict=True))
    assert counts == {(fold, emotion): 20 for fold in range(5) for emotion in ("sad", "happy")}


def test_without_speakers_classes_are_shared_out_evenly():
    table = labelled_clips(1000, num_speakers=None)
    counts = Counter(zip(folds_of(table, StratifiedFoldsConfig(num_folds=4)), table["emotion"].to_pylist(), strict=True))
    for emotion in PRIORS:
        shares = [counts[fold, emotion] for fold in range(4)]
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("num_speakers", [None, 30])
def test_the_seed_decides(num_speakers: int | None):
    table = labelled_clips(400, num_speakers)
    first = folds_of(table, StratifiedFoldsConfig(seed=3))
    assert folds_of(table, StratifiedFoldsConfig(seed=3)) == first
    assert folds_of(table, StratifiedFoldsConfig(seed=4)) != first


def test_clips_of_equal_content_share_a_fold_where_speakers_are_unknown():
    table = clips(emotion=["sad", "angry"] * 50, speaker_id=["s"] + [None] * 99)
    contents = [index // 4 for index in range(100)]
    found = defaultdict(set)
    for content, fold in zip(contents, folds_of(table, StratifiedFoldsConfig(num_folds=3), contents), strict=True):
        found[content].add(fold)
    assert all(len(folds) == 1 for folds in found.values())


def test_a_clip_of_an_unknown_speaker_binds_all_speakers_of_its_content():
    table = clips(emotion=["sad"] * 6, speaker_id=["x", "y", None, "x", "y", "z"])
    folds = folds_of(table, StratifiedFoldsConfig(num_folds=2), [0, 0, 0, 1, 2, 3])
    assert len(set(folds[:5])) == 1
    assert folds[5] != folds[0]


def test_only_labelled_clips_of_the_splits_get_a_fold():
    table = clips(
        emotion=["a", "b", "a", "b", None, "a", None],
        valence=[None] * 6 + [0.5],
        split=["train", "train", "train", "train", "train", "test", "test"],
    )
    folds = folds_of(table, StratifiedFoldsConfig(num_folds=2, splits=("train",)))
    assert sorted(fold for fold in folds[:4] if fold is not None) == [0, 0, 1, 1]
    assert folds[4:] == [None, None, None]


def test_a_known_value_is_a_label_too():
    assert None not in folds_of(clips(valence=[0.1, 0.2, 0.3]), StratifiedFoldsConfig(num_folds=3))


def test_one_fold_for_each_speaker_in_order():
    table = clips(emotion=["a", "b", "a", None], speaker_id=["11", "03", "11", "08"])
    assert folds_of(table, LeaveOneSpeakerOutConfig()) == [1, 0, 1, None]


@pytest.mark.parametrize(
    ("columns", "config", "message"),
    [
        ({"emotion": ["a"] * 6, "speaker_id": list("xyxyxy")}, StratifiedFoldsConfig(num_folds=3), "3 folds, but 2 speakers.*at most 2"),
        ({"emotion": ["a"] * 5 + ["b"] * 2}, StratifiedFoldsConfig(num_folds=3), "these have fewer: 'b' 2; set folds.num_folds=2"),
        ({"emotion": ["a", "b"], "speaker_id": ["x", None]}, LeaveOneSpeakerOutConfig(), "1 of 2 have none; fill the column"),
        ({"emotion": ["a", "b"], "speaker_id": ["x", "x"]}, LeaveOneSpeakerOutConfig(), "at least 2 speakers, all .* are of 'x'"),
        ({"text": ["x"]}, LeaveOneSpeakerOutConfig(), "no labelled clip to fold"),
        ({"emotion": ["a"], "split": ["dev"]}, StratifiedFoldsConfig(splits=("train",)), "no clip is in split 'train'; allowed: dev"),
        ({"emotion": ["a"]}, StratifiedFoldsConfig(splits=("train",)), "the corpus has no splits"),
        ({"emotion": ["a"], "fold": [0]}, StratifiedFoldsConfig(), "folds of its own.*`session_folds: false`.*`keep_folds: false`"),
    ],
)
def test_what_cannot_be_folded_says_why(columns: dict[str, list[object]], config: BaseFoldsConfig, message: str):
    with pytest.raises(ManifestError, match=message):
        assign_folds(clips(**columns), config)
