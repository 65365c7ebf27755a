import numpy as np
import pytest

from mer_ray.decoders.face_choice import carry_faces, choose_faces, overlap
from mer_ray.decoders.face_detector import Face


def face(left: float, top: float = 0.0, side: float = 10.0) -> Face:
    box = np.array([left, top, side, side], np.float32)
    return Face(box, np.tile(box[:2], (5, 1)))


def lefts(faces: list[Face | None]) -> list[float | None]:
    return [None if one is None else float(one.box[0]) for one in faces]


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(face(0), face(0)) == pytest.approx(1)
    assert overlap(face(0), face(5)) == pytest.approx(50 / 150)
    assert overlap(face(0), face(20)) == 0


def test_the_largest_face_of_each_frame() -> None:
    assert lefts(choose_faces([[face(0, side=10), face(50, side=20)], [face(1, side=30), face(50, side=20)], []], "largest")) == [
        50,
        1,
        None,
    ]


def test_the_face_that_stays_beats_the_larger_one_that_passes() -> None:
    frames = [[face(0), face(60, side=40)], [face(1)], [face(200, side=30), face(2)], [face(3)]]
    assert lefts(choose_faces(frames, "continuous")) == [0, 1, 2, 3]
    assert lefts(choose_faces(frames, "largest")) == [60, 1, 200, 3]


def test_after_a_cut_the_other_face_is_taken() -> None:
    frames = [[face(0)], [face(1)], [face(2)], [face(80)], [], [face(81)]]
    assert lefts(choose_faces(frames, "continuous")) == [0, 1, 2, 80, None, 81]


def test_a_missed_frame_does_not_end_a_face() -> None:
    stays = [face(0), None, face(1), None, None, face(2)]
    other = [None, face(80), face(81), face(82), face(83), None]
    frames = [[one for one in pair if one is not None] for pair in zip(stays, other, strict=True)]
    # The other face is seen in four frames, the first in three.
    assert lefts(choose_faces(frames, "continuous")) == [0, 80, 81, 82, 83, 2]


def test_two_faces_side_by_side_are_not_swapped() -> None:
    frames = [[face(0, side=10), face(8, side=10)], [face(9, side=10), face(1, side=10)], [face(2, side=10)], [face(3)]]
    assert lefts(choose_faces(frames, "continuous")) == [0, 1, 2, 3]


def test_boxes_between_two_sights_of_a_face_move_evenly() -> None:
    carried = carry_faces([face(0), face(4)], np.array([0.0, 1.0]), np.array([0.0, 0.25, 0.5, 1.0]))
    assert lefts(carried) == [0, 1, 2, 4]
    assert [float(one.landmarks[2, 0]) for one in carried if one is not None] == [0, 1, 2, 4]


def test_between_different_faces_or_none_the_nearer_sight_counts() -> None:
    times_s = np.array([0.0, 0.4, 0.6, 1.0, 1.4, 1.6, 2.0])
    assert lefts(carry_faces([face(0), face(80), None], np.array([0.0, 1.0, 2.0]), times_s)) == [0, 0, 80, 80, 80, None, None]
