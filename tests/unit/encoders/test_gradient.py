import cv2
import numpy as np
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import ByteArray, Features, FrameFormat, Frames
from mer_ray.encoders import _gradient_frames as pictures
from mer_ray.encoders.gradient import GradientConfig, GradientEncoder

SIZE = 128
# Skin and brows of two speakers.
PALETTES = (((241, 194, 155), (60, 40, 30)), ((130, 90, 62), (20, 15, 15)))


@pytest.fixture(scope="module")
def encoder() -> GradientEncoder:
    return GradientConfig().build("cpu")


def encode(encoder: GradientEncoder, images: ByteArray) -> Features:
    return encoder.encode([Frames(images, np.arange(len(images)) * 0.25)])[0]


def stripes(angle_deg: float) -> ByteArray:
    """One frame of waves whose intensity changes along `angle_deg` (0 = to the right, 90 = down)."""
    row, column = np.mgrid[:SIZE, :SIZE]
    along = np.cos(np.deg2rad(angle_deg)) * column + np.sin(np.deg2rad(angle_deg)) * row
    grey = 127 + 100 * np.sin(2 * np.pi * along / 16)
    return np.repeat(grey[None, :, :, None], 3, axis=3).astype(np.uint8)


def moving_texture(step_right: float, step_down: float, num_frames: int = 6) -> ByteArray:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (SIZE * 2, SIZE * 2)).astype(np.float32), (0, 0), 6)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    images = []
    for number in range(num_frames):
        move = np.array([[1, 0, number * step_right - SIZE / 2], [0, 1, number * step_down - SIZE / 2]], dtype=np.float32)
        images.append(cv2.warpAffine(texture, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR))
    return np.repeat(np.stack(images)[..., None], 3, axis=3).astype(np.uint8)


def face(brow_slope: float, skin: tuple[int, int, int], brow: tuple[int, int, int]) -> ByteArray:
    image = np.full((SIZE, SIZE, 3), 210, dtype=np.uint8)
    cv2.ellipse(image, (64, 66), (42, 52), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for side in (-1, 1):
        start = (64 + side * 8, round(46 + 8 * brow_slope))
        end = (64 + side * 28, round(46 - 8 * brow_slope))
        cv2.line(image, start, end, brow, 4, cv2.LINE_AA)
    cv2.line(image, (50, 96), (78, 96), (120, 40, 40), 3, cv2.LINE_AA)
    return image[None]


@pytest.mark.parametrize("angle_deg", [0, 45, 90, 135])
def test_edges_fall_into_the_bin_of_their_orientation(angle_deg: float) -> None:
    found = pictures.oriented_gradients(pictures.to_grey(stripes(angle_deg))).reshape(16, 16, 8)[4:12, 4:12]
    assert found.mean(axis=(0, 1)).argmax() == round(angle_deg / 22.5) % 8


def test_hog_changes_with_orientation_at_every_scale(encoder: GradientEncoder) -> None:
    upright, flat = encode(encoder, stripes(0)), encode(encoder, stripes(90))
    for layer in ("hog_fine", "hog_middle", "hog_coarse"):
        assert np.abs(upright.mean[layer] - flat.mean[layer]).max() > 0.2, layer


@pytest.mark.parametrize("layer", ["hog_fine", "hog_middle"])
def test_brows_are_nearest_to_the_same_brows_of_another_palette(encoder: GradientEncoder, layer: str) -> None:
    light, dark = ([encode(encoder, face(slope, *palette)).mean[layer] for slope in (1, 0, -1)] for palette in PALETTES)
    distances = np.array([[np.linalg.norm(one - other) for other in dark] for one in light])
    assert distances.argmin(axis=1).tolist() == [0, 1, 2]


def test_hog_does_not_change_with_brightness_and_little_with_contrast(encoder: GradientEncoder) -> None:
    plain = stripes(30) // 2
    reference = encode(encoder, plain).mean["hog_middle"]
    assert np.allclose(encode(encoder, plain + 60).mean["hog_middle"], reference, atol=1e-6)
    assert np.abs(encode(encoder, stripes(30)).mean["hog_middle"] - reference).max() < 0.1


def test_cells_stand_row_by_row() -> None:
    image = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)
    image[:, :8, 64:72] = 255
    assert pictures.cell_means(pictures.to_grey(image), 16)[0].argmax() == 8
    assert pictures.oriented_gradients(pictures.to_grey(image)).reshape(16, 16, 8)[10:].max() == 0


def test_still_frames_have_no_motion_and_no_deviation(encoder: GradientEncoder) -> None:
    features = encode(encoder, np.repeat(moving_texture(0, 0, 1), 5, axis=0))
    for layer in ("motion_energy", "motion_flow", "head_motion", "hog_change"):
        assert not features.mean[layer].any(), layer
    assert all(np.abs(deviation).max() < 1e-6 for deviation in features.std.values())


@pytest.mark.parametrize(("step_right", "step_down"), [(1.5, 0), (-1.5, 0), (0, 2), (1, -1)])
def test_flow_points_where_the_picture_moves(encoder: GradientEncoder, step_right: float, step_down: float) -> None:
    features = encode(encoder, moving_texture(step_right, step_down))
    # The flow is measured at a quarter of the size.
    assert features.mean["head_motion"][0] == pytest.approx(step_right / 4, abs=0.08)
    assert features.mean["head_motion"][1] == pytest.approx(step_down / 4, abs=0.08)
    by_cell = features.mean["motion_flow"].reshape(64, 2).mean(axis=0)
    assert by_cell == pytest.approx([step_right / 4, step_down / 4], abs=0.12)


def test_motion_energy_lies_where_something_moves(encoder: GradientEncoder) -> None:
    images = np.full((4, SIZE, SIZE, 3), 100, dtype=np.uint8)
    for number in range(4):
        images[number, 80 + 4 * number : 90 + 4 * number, 20:30] = 255
    energy = encode(encoder, images).mean["motion_energy"].reshape(8, 8)
    assert energy[5:7, 1].min() > 0
    assert energy[:4].max() == 0
    assert energy[:, 4:].max() == 0


def test_a_nod_shows_as_deviation_of_the_vertical_flow(encoder: GradientEncoder) -> None:
    up_and_down = moving_texture(0, 2, 2)[[0, 1, 0, 1, 0, 1]]
    features = encode(encoder, up_and_down)
    assert features.std["head_motion"][1] > 5 * features.std["head_motion"][0]


def test_intensities_forget_light_and_keep_patterns(encoder: GradientEncoder) -> None:
    dark, bright = encode(encoder, stripes(0) // 3), encode(encoder, stripes(0))
    assert np.allclose(dark.mean["intensity_fine"], bright.mean["intensity_fine"], atol=0.25)
    flat = encode(encoder, np.full((2, SIZE, SIZE, 3), 90, dtype=np.uint8))
    assert np.abs(flat.mean["intensity_fine"]).max() < 1e-3


def test_spacing_is_that_of_the_frames(encoder: GradientEncoder) -> None:
    images = moving_texture(0, 0, 3)
    assert encoder.encode([Frames(images, np.array([0.1, 0.5, 0.9]))])[0].frame_s == pytest.approx(0.4)
    assert encoder.encode([Frames(images[:1], np.array([0.3]))])[0].frame_s == 0.0


def test_a_rate_replaces_the_number_of_frames() -> None:
    assert GradientConfig().input_format == FrameFormat(SIZE, num_frames=16)
    assert parse_config(GradientConfig, {"frame_rate_hz": 5}, "job.yaml").input_format == FrameFormat(SIZE, rate_hz=5.0)
    with pytest.raises(ConfigError, match="set num_frames"):
        parse_config(GradientConfig, {"frame_rate_hz": 5, "num_frames": 8}, "job.yaml")
    with pytest.raises(ConfigError, match="set num_frames"):
        parse_config(GradientConfig, {"num_frames": None}, "job.yaml")
