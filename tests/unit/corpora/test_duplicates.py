import pytest

from mer_ray.corpora._base import Scan, manifest_table
from mer_ray.corpora.duplicates import find_repeats, number_media


def scan_of(**columns: list[object]) -> Scan:
    num_rows = len(next(iter(columns.values())))
    ids = {"clip_id": [f"c{index}" for index in range(num_rows)]}
    return Scan(manifest_table({**ids, **columns}, num_rows), range(2, num_rows + 2))


def faults_of(scan: Scan, **contents: int) -> list[str]:
    return [str(fault) for fault in find_repeats(scan, contents)[0]]


def test_the_same_media_in_two_splits_leaks():
    scan = scan_of(path=["a", "b", "c"], split=["train", "train", "test"])
    assert faults_of(scan, a=0, b=1, c=0) == [
        "row 4, clip 'c2', split: split 'test' shows the same media as row 2 (clip 'c0') in split 'train'; allowed: one split",
        "row 2, clip 'c0', split: split 'train' shows the same media as row 4 (clip 'c2') in split 'test'; allowed: one split",
    ]


def test_an_unknown_split_is_another_split():
    (first, _) = faults_of(scan_of(path=["a", "b"], split=[None, "test"]), a=0, b=0)
    assert first.endswith("split 'test' shows the same media as row 2 (clip 'c0') in no split; allowed: one split")


def test_media_is_compared_in_all_columns():
    scan = scan_of(path=["a", None], audio_path=[None, "b"], split=["train", "test"])
    assert len(faults_of(scan, a=5, b=5)) == 2


@pytest.mark.parametrize(
    ("first", "second", "num_faults"),
    [((0.0, 1.0), (1.0, 2.0), 0), ((0.0, 1.2), (1.0, 2.0), 2), ((None, None), (1.0, 2.0), 2), ((None, 1.0), (1.0, None), 0)],
)
def test_segments_of_one_file_leak_where_they_overlap(first: tuple[float, float], second: tuple[float, float], num_faults: int):
    scan = scan_of(path=["a", "a"], split=["train", "test"], start_s=[first[0], second[0]], end_s=[first[1], second[1]])
    assert len(faults_of(scan, a=0)) == num_faults


def test_a_long_segment_leaks_into_every_later_one():
    scan = scan_of(path=["a"] * 4, split=["train", "train", "test", "test"], start_s=[0.0, 1.0, 5.0, 11.0], end_s=[10.0, 2.0, 6.0, 12.0])
    assert {fault.row for fault in find_repeats(scan, {"a": 0})[0]} == {2, 4}


def test_the_same_media_within_a_split_is_counted_not_refused():
    scan = scan_of(path=["a", "b", "c", "a"], split=["train"] * 4, emotion=["sad", "sad", "sad", None], start_s=[None, None, None, 1.0])
    faults, numbers = find_repeats(scan, {"a": 7, "b": 8, "c": 7})
    assert faults == []
    assert numbers == [0, 1, 0, 3]


def test_the_same_media_with_other_labels_contradicts_itself():
    scan = scan_of(path=["a", "b", "c"], emotion=["sad", "happy", None], speaker_id=["1", "1", "2"])
    assert set(faults_of(scan, a=0, b=0, c=0)) == {
        "row 2, clip 'c0', emotion: 'sad', but row 3 (clip 'c1') shows the same media with 'happy'; allowed: one label for one media",
        "row 3, clip 'c1', emotion: 'happy', but row 2 (clip 'c0') shows the same media with 'sad'; allowed: one label for one media",
        "row 2, clip 'c0', speaker_id: '1', but row 4 (clip 'c2') shows the same media with '2'; allowed: one label for one media",
        "row 3, clip 'c1', speaker_id: '1', but row 4 (clip 'c2') shows the same media with '2'; allowed: one label for one media",
        "row 4, clip 'c2', speaker_id: '2', but row 2 (clip 'c0') shows the same media with '1'; allowed: one label for one media",
    }


def test_clips_without_readable_files_have_no_repeats():
    assert find_repeats(scan_of(path=["a", "a"], split=["train", "test"]), {}) == ([], [0, 1])


def test_media_of_unknown_speakers_in_two_folds_leaks():
    scan = scan_of(path=["a", "b", "a"], fold=[0, 0, 1], start_s=[0.0, None, 5.0], end_s=[1.0, None, 6.0])
    allowed = "allowed: one fold for one media where segments overlap or speakers are unknown"
    assert sorted(faults_of(scan, a=0, b=1)) == [
        f"row 2, clip 'c0', fold: fold 0 shows the same media as row 4 (clip 'c2') in fold 1; {allowed}",
        f"row 4, clip 'c2', fold: fold 1 shows the same media as row 2 (clip 'c0') in fold 0; {allowed}",
    ]


@pytest.mark.parametrize(("start_s", "rows"), [(5.0, set()), (0.5, {2, 3})])
def test_media_of_known_speakers_leaks_between_folds_where_it_overlaps(start_s: float, rows: set[int]):
    scan = scan_of(path=["a", "a"], speaker_id=["x", "y"], fold=[0, 1], start_s=[0.0, start_s], end_s=[1.0, 6.0])
    assert {fault.row for fault in find_repeats(scan, {"a": 0})[0]} == rows


def test_clips_without_a_fold_leak_into_none():
    assert faults_of(scan_of(path=["a", "a"], fold=[None, 1]), a=0) == []


def test_media_numbers_join_all_clips_of_one_content():
    scan = scan_of(path=["a", "a", "c", None, "d"], audio_path=[None, "b", None, "b", None], start_s=[0.0, 0.5, None, None, None])
    first, second, third, fourth, fifth = number_media(scan, {"a": 0, "b": 1, "c": 2})
    assert first == second == fourth
    assert len({first, third, fifth}) == 3
