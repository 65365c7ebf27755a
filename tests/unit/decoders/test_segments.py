from pathlib import Path

import numpy as np
import pytest
from media_factory import Decode, cut_file, moving_noise, noise, number_of, numbered_images, spoil_packets, tone, write_media, write_wave

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits

ALL_FRAMES = FrameFormat(48, rate_hz=25.0)


def decoded(path: Path, **segment: float) -> tuple[Audio, Frames]:
    formats = (AudioFormat(16000), ALL_FRAMES)
    both = decode_clip(Clip("clip", path=str(path), **segment), formats, MediaLimits())
    audio, frames = both[formats[0]], both[formats[1]]
    assert isinstance(audio, Audio)
    assert isinstance(frames, Frames)
    return audio, frames


FILMS = [
    ("film.mkv", "pcm_s16le", {"g": "10"}, {}),
    ("live.mkv", "pcm_s16le", {"g": "10"}, {"live": "1"}),
    ("film.mp4", "aac", {"g": "10"}, {}),
    ("fragments.mp4", "aac", {"g": "10"}, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    ("film.mov", "aac", {"g": "250"}, {}),
    ("film.avi", "pcm_s16le", {"g": "10", "bf": "0"}, {}),
    ("reordered.avi", "pcm_s16le", {"g": "10", "bf": "2"}, {}),
    ("film.flv", "aac", {"g": "10", "bf": "0"}, {}),
]
SEGMENTS = [(0.0, 0.4), (0.32, 0.88), (1.0, 2.0), (1.48, 2.36), (2.6, 3.0)]


@pytest.fixture(scope="module", params=FILMS, ids=lambda film: film[0])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, audio_codec, video_options, container_options = request.param
    path = tmp_path_factory.mktemp("films") / name
    return write_media(
        path,
        moving_noise(75),
        noise(3.0),
        audio_codec=audio_codec,
        video_options=video_options,
        container_options=container_options,
    )


@pytest.mark.parametrize(("start_s", "end_s"), SEGMENTS)
def test_segment_equals_the_slice_of_the_whole(film: Path, start_s: float, end_s: float) -> None:
    whole_audio, whole_frames = decoded(film)
    audio, frames = decoded(film, start_s=start_s, end_s=end_s)
    first, last = round(start_s * 16000), round(end_s * 16000)
    # AAC adds noise of its own in empty bands, from a generator that runs since the file's start.
    np.testing.assert_allclose(audio.samples, whole_audio.samples[first:last], atol=2e-3)
    inside = (whole_frames.times_s > start_s - 0.02) & (whole_frames.times_s < end_s - 0.02)
    np.testing.assert_array_equal(frames.images, whole_frames.images[inside])
    np.testing.assert_allclose(frames.times_s, np.maximum(0, whole_frames.times_s[inside] - start_s), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [("a.wav", "pcm_s16le", 16000), ("a.flac", "flac", 44100), ("a.mp3", "libmp3lame", 44100), ("a.ogg", "libopus", 48000)],
)
@pytest.mark.parametrize(("start_s", "end_s"), [(0.25, 0.5), (1.111, 2.222), (2.9, 3.4), (3.0, None), (None, 1.0)])
def test_segment_of_sound_is_exact_to_the_sample(
    tmp_path: Path, decode: Decode, name: str, codec: str, rate_hz: int, start_s: float | None, end_s: float | None
) -> None:
    path = write_media(tmp_path / name, sound=noise(4.0, rate_hz), audio_codec=codec, rate_hz=rate_hz)
    whole, part = decode(path, AudioFormat(rate_hz)), decode(path, AudioFormat(rate_hz), start_s=start_s, end_s=end_s)
    assert isinstance(whole, Audio)
    assert isinstance(part, Audio)
    first = round((start_s or 0) * rate_hz)
    last = None if end_s is None else round(end_s * rate_hz)
    np.testing.assert_allclose(part.samples, whole.samples[first:last], atol=1e-4)


def test_the_rest_of_the_file_is_not_decoded(tmp_path: Path) -> None:
    path = write_media(tmp_path / "film.mp4", moving_noise(75), noise(3.0), video_options={"g": "5", "bf": "0"})
    spoiled = spoil_packets(path, before_s=0.7, after_s=2.1)
    audio, frames = decoded(spoiled, start_s=1.4, end_s=2.0)
    expected_audio, expected_frames = decoded(path, start_s=1.4, end_s=2.0)
    np.testing.assert_array_equal(audio.samples, expected_audio.samples)
    np.testing.assert_array_equal(frames.images, expected_frames.images)
    with pytest.raises(MediaError, match=r"spoiled_film\.mp4: damaged"):
        decoded(spoiled)


def test_numbered_frames_of_a_segment(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "film.mp4", numbered_images(75), video_options={"g": "10"})
    frames = decode(path, FrameFormat(32, num_frames=4), start_s=1.0, end_s=2.6)
    assert isinstance(frames, Frames)
    assert [number_of(image) for image in frames.images] == [30, 40, 50, 60]
    np.testing.assert_allclose(frames.times_s, [0.2, 0.6, 1.0, 1.4], atol=1e-6)


def test_segment_shorter_than_a_frame_gives_the_picture_on_screen(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "film.mp4", numbered_images(50))
    frames = decode(path, FrameFormat(32, num_frames=8), start_s=1.01, end_s=1.02)
    assert isinstance(frames, Frames)
    assert [number_of(image) for image in frames.images] == [25]
    assert frames.times_s.tolist() == [0.0]


def test_ten_hours_are_refused_but_a_segment_of_them_is_not(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "film.mp4", numbered_images(4), picture_times=[0, 1, 2, 36000 * 25])
    with pytest.raises(MediaError, match=r"film\.mp4: \d+ s to decode, more than the limit max_duration_s=1800"):
        decode(path, FrameFormat(32, num_frames=4))
    frames = decode(path, FrameFormat(32, num_frames=4), start_s=0.0, end_s=0.12)
    assert isinstance(frames, Frames)
    assert [number_of(image) for image in frames.images] == [0, 1, 2]


def test_ten_hours_of_sound(tmp_path: Path, decode: Decode) -> None:
    path = tmp_path / "long.wav"
    write_wave(path, np.zeros((100, 1), np.int16), promised_bytes=36000 * 32000)
    with path.open("r+b") as file:
        file.truncate(36000 * 32000 + 44)
    with pytest.raises(MediaError, match="36000 s to decode"):
        decode(path, AudioFormat(16000))
    audio = decode(path, AudioFormat(16000), start_s=35000.0, end_s=35000.5)
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 8000


def test_ten_hours_that_the_header_hides(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "film.mkv", numbered_images(4), picture_times=[0, 1, 2, 36000 * 25])
    data = path.read_bytes()
    # EBML: Duration (0x4489) is a float of 8 bytes in milliseconds; the DURATION tag is text.
    place = data.index(b"\x44\x89\x88") + 3
    data = data[:place] + np.array(160.0, ">f8").tobytes() + data[place + 8 :]
    path.write_bytes(data.replace(b"10:00:00.040", b"00:00:00.160"))
    with pytest.raises(MediaError, match="more than the limit max_duration_s=1800"):
        decode(path, FrameFormat(32, num_frames=4))


@pytest.mark.parametrize(
    ("start_s", "end_s", "message"),
    [
        (1.0, 1.0, "start_s must be at least 0 and less than end_s"),
        (2.0, 1.0, "start_s must be at least 0 and less than end_s"),
        (-1.0, 1.0, "start_s must be at least 0 and less than end_s"),
        (float("nan"), 1.0, "start_s must be at least 0 and less than end_s"),
        (3.0, 4.0, "lies outside of the file, which lasts 2.00 s"),
        (1.0, 9.0, "lies outside of the file, which lasts 2.00 s"),
    ],
)
def test_impossible_segments(tmp_path: Path, decode: Decode, start_s: float, end_s: float, message: str) -> None:
    path = write_wave(tmp_path / "a.wav", tone(2.0).T.copy())
    with pytest.raises(MediaError, match=message):
        decode(path, AudioFormat(16000), start_s=start_s, end_s=end_s)


def test_segment_behind_the_end_of_the_sound(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "film.mp4", numbered_images(75), tone(1.0))
    with pytest.raises(MediaError, match="the sound has no samples between 2 s and 3 s"):
        decode(path, AudioFormat(16000), start_s=2.0, end_s=3.0)


def test_intact_segment_of_a_cut_file(tmp_path: Path) -> None:
    whole = write_media(
        tmp_path / "film.mp4", moving_noise(75), noise(3.0), video_options={"g": "10"}, container_options={"movflags": "faststart"}
    )
    cut = cut_file(whole, 0.7)
    audio, frames = decoded(cut, start_s=0.2, end_s=1.0)
    expected_audio, expected_frames = decoded(whole, start_s=0.2, end_s=1.0)
    np.testing.assert_array_equal(audio.samples, expected_audio.samples)
    np.testing.assert_array_equal(frames.images, expected_frames.images)
    with pytest.raises(MediaError, match="cut short"):
        decoded(cut, start_s=1.0, end_s=2.8)


def test_annotation_rounded_beyond_the_end(tmp_path: Path, decode: Decode) -> None:
    audio = decode(write_wave(tmp_path / "a.wav", tone(2.0).T.copy()), AudioFormat(16000), start_s=1.0, end_s=2.3)
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 16000
