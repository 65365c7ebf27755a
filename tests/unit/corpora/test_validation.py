import math
from dataclasses import dataclass

import pytest

from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Scan, manifest_table
from mer_ray.corpora.validation import check_media, check_rows

FACTS = ManifestFacts("tiny", ("sad", "happy"), "/data", {"valence": (-5.0, 5.0)})
ID = "letters, digits, signs and inner blanks"
SECONDS = "seconds from the file's start"
ORDER = "seconds, start_s < end_s"
SPLITS = "letters, digits and _ - ., e.g. train, dev, test, unlabelled"
SOURCE = "a path, or text for a clip without media"


@dataclass(frozen=True)
class Header:
    duration_s: float = 2.0
    has_audio: bool = True
    has_video: bool = True


def scan_of(**columns: list[object]) -> Scan:
    num_rows = len(next(iter(columns.values())))
    ids = {"clip_id": [f"c{index}" for index in range(num_rows)], "text": ["hello"] * num_rows}
    return Scan(manifest_table({**ids, **columns}, num_rows), range(2, num_rows + 2))


def test_valid_rows_have_no_faults():
    scan = scan_of(
        clip_id=["a", "ü/b c"],
        path=["x/a.wav", None],
        start_s=[0.0, None],
        end_s=[1.0, 0.5],
        emotion=["sad", None],
        valence=[-5.0, 5.0],
        arousal=[100.0, None],
        split=["train", "my test-1.b"],
        fold=[0, None],
    )
    assert check_rows(scan, FACTS) == []


@pytest.mark.parametrize(
    ("columns", "faults"),
    [
        ({"clip_id": [None, "a"]}, ["row 2, clip_id: is empty; allowed: one id per row"]),
        (
            {"clip_id": ["a", "b", "a"]},
            [
                "row 2, clip 'a', clip_id: is also the id of row 4; allowed: ids that differ",
                "row 4, clip 'a', clip_id: is also the id of row 2; allowed: ids that differ",
            ],
        ),
        ({"clip_id": ["a\nb"]}, [f"row 2, clip 'a\\nb', clip_id: holds a control character; allowed: {ID}"]),
        ({"clip_id": ["a\u2028b"]}, [f"row 2, clip 'a\\u2028b', clip_id: holds a control character; allowed: {ID}"]),
        ({"clip_id": [" a"]}, [f"row 2, clip ' a', clip_id: begins or ends with a blank; allowed: {ID}"]),
        ({"text": [None]}, [f"row 2, clip 'c0', path: the row has neither a file nor text; allowed: {SOURCE}"]),
        (
            {"path": ["../a.wav"], "audio_path": ["/else/a.wav"], "faces_path": ["s3://b/a.npy"]},
            [
                "row 2, clip 'c0', path: '../a.wav' leaves the root through '..'; allowed: paths below /data; "
                "set corpus.root to a folder above all files",
                "row 2, clip 'c0', audio_path: '/else/a.wav' is an absolute path outside the root; allowed: paths below /data; "
                "set corpus.root to a folder above all files",
                "row 2, clip 'c0', faces_path: 's3://b/a.npy' is a URL outside the root; allowed: paths below /data; "
                "set corpus.root to a folder above all files",
            ],
        ),
        ({"emotion": ["Hapy"]}, ["row 2, clip 'c0', emotion: unknown label 'Hapy'; did you mean 'happy'?; allowed: sad, happy"]),
        ({"valence": [-10.0, 5.5]}, [
            "row 2, clip 'c0', valence: -10 is out of range; allowed: -5 to 5, or empty for unknown",
            "row 3, clip 'c1', valence: 5.5 is out of range; allowed: -5 to 5, or empty for unknown",
        ]),
        ({"valence": [math.inf]}, ["row 2, clip 'c0', valence: inf is not finite; allowed: -5 to 5, or empty for unknown"]),
        ({"dominance": [-math.inf]}, ["row 2, clip 'c0', dominance: -inf is not finite; allowed: finite numbers, or empty for unknown"]),
        ({"start_s": [-1.0]}, [f"row 2, clip 'c0', start_s: -1.0 is negative; allowed: {SECONDS}"]),
        ({"end_s": [math.inf]}, [f"row 2, clip 'c0', end_s: inf is not finite; allowed: {SECONDS}"]),
        ({"start_s": [2.0], "end_s": [1.0]}, [f"row 2, clip 'c0', end_s: 1.0 is not after the start 2.0; allowed: {ORDER}"]),
        ({"end_s": [0.0]}, [f"row 2, clip 'c0', end_s: 0.0 is not after the start 0.0; allowed: {ORDER}"]),
        ({"split": ["a/b"]}, [f"row 2, clip 'c0', split: 'a/b' cannot name a file; allowed: {SPLITS}"]),
        ({"fold": [-1]}, ["row 2, clip 'c0', fold: -1 is negative; allowed: 0, 1, 2, ..."]),
    ],
)  # fmt: skip
def test_each_fault_says_where_what_and_what_is_allowed(columns: dict[str, list[object]], faults: list[str]):
    assert [str(fault) for fault in check_rows(scan_of(**columns), FACTS)] == faults


def test_all_faults_of_a_row_are_named_at_once():
    scan = scan_of(clip_id=["a", "a"], emotion=["x", "sad"], valence=[9.0, None], start_s=[-1.0, None])
    assert {(fault.row, fault.column) for fault in check_rows(scan, FACTS)} == {
        (2, "clip_id"), (3, "clip_id"), (2, "emotion"), (2, "valence"), (2, "start_s"),
    }  # fmt: skip


def test_labels_without_classes_are_unknown():
    (fault,) = check_rows(scan_of(emotion=["sad"]), ManifestFacts("tiny", (), "/data"))
    assert (fault.what, fault.allowed) == ("unknown label 'sad'", "no labels")


def test_media_that_fits_has_no_faults():
    scan = scan_of(path=["a.mp4", "b.wav"], start_s=[0.5, None], end_s=[2.05, None], audio_path=[None, "s.wav"], video_path=[None, "p.avi"])
    media = {"a.mp4": Header(), "s.wav": Header(has_video=False), "p.avi": Header(has_audio=False), "b.wav": Header()}
    assert check_media(scan, media) == []


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"path": ["a"], "end_s": [2.2]}, "row 2, clip 'c0', end_s: 2.2 lies beyond the end; allowed: at most 2.000, the file's duration"),
        (
            {"path": ["a"], "start_s": [2.0]},
            "row 2, clip 'c0', start_s: 2.0 lies beyond the end; allowed: at most 2.000, the file's duration",
        ),
        ({"audio_path": ["mute"]}, "row 2, clip 'c0', audio_path: 'mute' holds no sound; allowed: a file with sound"),
        ({"video_path": ["blind"]}, "row 2, clip 'c0', video_path: 'blind' holds no pictures; allowed: a file with pictures"),
    ],
)
def test_rows_that_do_not_fit_their_files(columns: dict[str, list[object]], fault: str):
    media = {"a": Header(), "mute": Header(has_audio=False), "blind": Header(has_video=False)}
    assert [str(found) for found in check_media(scan_of(**columns), media)] == [fault]


def test_files_without_headers_are_judged_elsewhere():
    assert check_media(scan_of(path=["broken"], end_s=[99.0]), {}) == []


def test_a_speaker_in_two_given_folds_is_a_fault_of_its_rows():
    scan = scan_of(speaker_id=["x", "y", "x", "x", None, None], fold=[0, 1, 1, None, 0, 1])
    assert [str(fault) for fault in check_rows(scan, FACTS)] == [
        "row 2, clip 'c0', fold: speaker 'x' is in fold 0 and, in row 4, in fold 1; allowed: one fold for one speaker",
        "row 4, clip 'c2', fold: speaker 'x' is in fold 1 and, in row 2, in fold 0; allowed: one fold for one speaker",
    ]
