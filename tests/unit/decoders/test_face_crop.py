import numpy as np
import pytest

from mer_ray.decoders.face_crop import crop_face, tilt
from mer_ray.decoders.face_detector import Face


def looking_at_us(centre: tuple[float, float], side: float, lean: float = 0.0) -> Face:
    """A box with landmarks of a face that leans clockwise by `lean` radians."""
    marks = np.array([[-0.2, -0.15], [0.2, -0.15], [0, 0], [-0.15, 0.2], [0.15, 0.2]]) * side
    turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    box = np.array([centre[0] - side / 2, centre[1] - side / 2, side, side], np.float32)
    return Face(box, (marks @ turn.T + centre).astype(np.float32))


def picture_of(face: Face, height: int = 200, width: int = 300) -> np.ndarray:
    """Grey, with a red blot for the left eye and a blue one for the right."""
    image = np.full((height, width, 3), 100, np.uint8)
    for (x, y), channel in zip(face.landmarks[:2], (0, 2), strict=True):
        rows, columns = np.mgrid[:height, :width]
        image[(rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 < 16, channel] = 255
    return image


def blot(image: np.ndarray, channel: int) -> np.ndarray:
    """The centre (x, y) of a blot in pixels."""
    rows, columns = np.nonzero(image[:, :, channel].astype(int) - image[:, :, 1] > 60)
    return np.array([columns.mean(), rows.mean()]) + 0.5


@pytest.mark.parametrize("lean", [-0.6, -0.2, 0.0, 0.3, 0.6])
@pytest.mark.parametrize("size", [40, 112])
def test_the_eyes_are_level_and_where_they_belong(lean: float, size: int) -> None:
    face = looking_at_us((140, 90), 80, lean)
    assert tilt(face) == pytest.approx(lean, abs=1e-5)
    crop = crop_face(picture_of(face), face, size, 0.25, align=True)
    assert crop.shape == (size, size, 3)
    left_eye, right_eye = blot(crop, 0), blot(crop, 2)
    pixels = size / (80 * 1.25)
    np.testing.assert_allclose(left_eye, [size / 2 - 0.2 * 80 * pixels, size / 2 - 0.15 * 80 * pixels], atol=0.7)
    np.testing.assert_allclose(right_eye, [size / 2 + 0.2 * 80 * pixels, size / 2 - 0.15 * 80 * pixels], atol=0.7)


def test_without_alignment_the_face_stays_as_it_is() -> None:
    face = looking_at_us((140, 90), 80, 0.4)
    crop = crop_face(picture_of(face), face, 100, 0.25, align=False)
    np.testing.assert_array_equal(crop, picture_of(face)[40:140, 90:190])


def test_beyond_the_picture_it_is_black() -> None:
    crop = crop_face(np.full((60, 60, 3), 200, np.uint8), looking_at_us((0, 30), 40), 40, 0.0, align=False)
    assert (crop[:, :19] == 0).all()
    assert (crop[:, 21:] == 200).all()


def test_a_large_face_is_averaged_and_not_picked_apart() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = crop_face(stripes, looking_at_us((200, 200), 320), 32, 0.0, align=False)
    assert np.abs(crop.astype(int) - 100).max() <= 12


def test_a_face_from_the_side_is_turned_by_its_length_not_by_its_eyes() -> None:
    from_side = Face(np.array([0, 0, 50, 80], np.float32), np.array([[30, 30], [31, 38], [45, 45], [30, 60], [31, 60]], np.float32))
    assert abs(tilt(from_side)) < 0.1


def test_a_face_of_any_size_takes_bounded_memory() -> None:
    image = np.full((50, 60, 3), 200, np.uint8)
    landmarks = np.array([[1, 1], [9, 1], [5, 5], [2, 9], [8, 9]], np.float32)
    square = crop_face(image, Face(np.array([0, 0, 1e5, 1e5], np.float32), landmarks), 32, 2.0, align=False)
    assert square.shape == (32, 32, 3)
