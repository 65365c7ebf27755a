"""Real clips: several streams, MPEG-4 and H.264, stereo AAC, against plain PyAV."""

from pathlib import Path

import av
import numpy as np
import pytest

from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import probe_media

CLIPS = {"talking_head.mp4": (8.0, 512, 512, 16000), "nasa_13013.mp4": (13.056, 480, 270, 16000)}


@pytest.fixture(params=CLIPS)
def path(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / "media" / str(request.param)


def test_facts(path: Path) -> None:
    facts = probe_media(str(path))
    assert (round(facts.duration_s, 6), facts.width, facts.height, facts.sample_rate_hz) == CLIPS[path.name]
    assert facts.num_bytes == path.stat().st_size


def test_sound_and_frames_are_those_of_plain_decoding(path: Path) -> None:
    audio_format, frame_format = AudioFormat(16000), FrameFormat(64, num_frames=16)
    decoded = decode_clip(Clip("c", path=str(path)), [audio_format, frame_format], MediaLimits())
    audio, frames = decoded[audio_format], decoded[frame_format]
    assert isinstance(audio, Audio)
    assert isinstance(frames, Frames)
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(container.streams.best("audio"))], axis=1)
    np.testing.assert_allclose(audio.samples, sound.mean(axis=0)[: len(audio.samples)], atol=1e-6)
    assert len(audio.samples) == pytest.approx(CLIPS[path.name][0] * 16000, abs=1)
    with av.open(str(path)) as container:
        pictures = {round(frame.time * 1000): frame for frame in container.decode(container.streams.best("video"))}
    assert len(frames.images) == 16
    assert np.ptp(np.diff(frames.times_s)) < 0.05
    for time_s, image in zip(frames.times_s, frames.images, strict=True):
        frame = pictures[round(time_s * 1000)]
        whole = frame.to_ndarray(format="rgb24")
        margin = (frame.width - frame.height) // 2
        square = whole[:, margin : margin + frame.height].astype(np.float64)
        assert np.abs(square.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 2.0
        assert np.corrcoef(shrink(square, 8).ravel(), shrink(image.astype(np.float64), 8).ravel())[0, 1] > 0.99


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (np.arange(size + 1) * length // size for length in image.shape[:2])
    return np.array(
        [[image[rows[row] : rows[row + 1], columns[column] : columns[column + 1]].mean() for column in range(size)] for row in range(size)]
    )


def test_segments_tile_the_sound(path: Path) -> None:
    audio_format = AudioFormat(16000)

    def sound(**segment: float) -> np.ndarray:
        audio = decode_clip(Clip("c", path=str(path), **segment), [audio_format], MediaLimits())[audio_format]
        assert isinstance(audio, Audio)
        return audio.samples

    parts = [sound(start_s=0.0, end_s=2.5), sound(start_s=2.5, end_s=6.1), sound(start_s=6.1)]
    np.testing.assert_allclose(np.concatenate(parts), sound(), atol=5e-3)


def test_emodb_recordings(shared_data: Path) -> None:
    for path in sorted((shared_data / "emodb" / "wav").glob("*.wav"))[:10]:
        facts = probe_media(str(path))
        assert (facts.sample_rate_hz, facts.num_channels, facts.has_video) == (22050, 1, False)
        audio = decode_clip(Clip("c", path=str(path)), [AudioFormat(16000)], MediaLimits())[AudioFormat(16000)]
        assert isinstance(audio, Audio)
        assert len(audio.samples) == pytest.approx(facts.duration_s * 16000, abs=2)
        assert 0.01 < np.abs(audio.samples).max() <= 1.05
