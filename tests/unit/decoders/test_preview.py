from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import moving_noise, number_of, numbered_images, tone, write_media, write_wave

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.preview import Preview, write_preview


def preview_of(clip: Clip, folder: Path, limits: MediaLimits | None = None) -> Preview:
    preview = write_preview(clip, folder / "copy", limits or MediaLimits())
    assert preview is not None
    return preview


def pictures_of(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [float(frame.time) for frame in frames]


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def test_copy_has_what_every_browser_plays(tmp_path: Path) -> None:
    path = write_media(tmp_path / "clip.mkv", moving_noise(25, 640, 360), tone(1.0, 44100, num_channels=2), rate_hz=44100)
    preview = preview_of(Clip("clip", str(path)), tmp_path)
    assert (preview.file, preview.still, preview.is_cut) == ("copy.mp4", "copy.jpg", False)
    assert (preview.width, preview.height) == (320, 180)
    assert preview.duration_s == pytest.approx(1.0, abs=0.05)
    data = (tmp_path / preview.file).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / preview.file)) as container:
        video, audio = container.streams.video[0].codec_context, container.streams.audio[0].codec_context
        assert (video.name, video.pix_fmt, video.width, video.height) == ("h264", "yuv420p", 320, 180)
        assert (audio.name, audio.layout.name) == ("aac", "mono")
    images, times_s = pictures_of(tmp_path / preview.file)
    assert len(images) == 15
    assert times_s[-1] == pytest.approx(14 / 15, abs=0.05)
    with av.open(str(tmp_path / "copy.jpg")) as still:
        assert (still.streams.video[0].width, still.streams.video[0].height) == (320, 180)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.mkv", "copy.jpg", "copy.mp4"]


def test_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    clip = Clip("clip", str(write_media(tmp_path / "clip.mp4", moving_noise(10), tone(0.4))))
    for name in ("a", "b"):
        write_preview(clip, tmp_path / name, MediaLimits())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_segment_is_cut_out(tmp_path: Path) -> None:
    sound = np.concatenate([tone(1.0), np.zeros((1, 16000), np.float32), tone(1.0)], axis=1)
    path = write_media(tmp_path / "clip.mp4", numbered_images(75), sound)
    preview = preview_of(Clip("clip", str(path), start_s=1.0, end_s=2.0), tmp_path)
    images, times_s = pictures_of(tmp_path / preview.file)
    assert [number_of(image) for image in (images[0], images[-1])] == pytest.approx([25, 49], abs=1)
    assert times_s[0] == pytest.approx(0, abs=0.04)
    assert preview.duration_s == pytest.approx(1.0, abs=0.05)
    assert np.abs(sound_of(tmp_path / preview.file)[1600:14400]).max() < 0.05


def test_only_the_first_part_of_a_long_clip_is_copied(tmp_path: Path) -> None:
    path = write_media(tmp_path / "clip.mp4", numbered_images(70), tone(17.5), fps=4)
    preview = preview_of(Clip("clip", str(path), start_s=1.0), tmp_path)
    images, _ = pictures_of(tmp_path / preview.file)
    assert preview.is_cut
    assert preview.duration_s == pytest.approx(15.0, abs=0.1)
    assert [number_of(image) for image in (images[0], images[-1])] == pytest.approx([4, 63], abs=1)
    assert len(sound_of(tmp_path / preview.file)) / 16_000 == pytest.approx(15.0, abs=0.1)
    assert not preview_of(Clip("clip", str(path), start_s=3.0, end_s=17.0), tmp_path).is_cut


def test_sound_and_pictures_of_two_files_are_joined(tmp_path: Path) -> None:
    pictures = write_media(tmp_path / "pictures.mp4", numbered_images(50))
    sound = write_media(tmp_path / "sound.wav", sound=tone(3.0), audio_codec="pcm_s16le")
    preview = preview_of(Clip("clip", audio_path=str(sound), video_path=str(pictures), start_s=0.5), tmp_path)
    images, _ = pictures_of(tmp_path / preview.file)
    assert [number_of(image) for image in (images[0], images[-1])] == pytest.approx([12, 49], abs=1)
    samples = sound_of(tmp_path / preview.file)
    assert len(samples) / 16_000 == pytest.approx(2.5, abs=0.1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)


def test_sound_alone_pictures_alone_and_neither(tmp_path: Path) -> None:
    wave = write_wave(tmp_path / "sound.wav", (tone(0.5).T * 32767).astype(np.int16))
    preview = preview_of(Clip("clip", str(wave)), tmp_path)
    assert (preview.file, preview.still, preview.width) == ("copy.m4a", None, 0)
    assert preview.duration_s == pytest.approx(0.5)
    silent = preview_of(Clip("clip", str(write_media(tmp_path / "silent.mp4", numbered_images(10)))), tmp_path)
    with av.open(str(tmp_path / silent.file)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert write_preview(Clip("clip", text="words"), tmp_path / "words", MediaLimits()) is None


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((640, 360), {"rotation": 90}, (180, 320)),
        ((320, 240), {"pixel_aspect": Fraction(4, 3)}, (320, 180)),
        ((63, 47), {"video_codec": "mjpeg"}, (62, 46)),
        ((1000, 300), {}, (320, 96)),
    ],
)
def test_proportions_are_kept(tmp_path: Path, size: tuple[int, int], options: dict[str, object], expected: tuple[int, int]) -> None:
    path = write_media(tmp_path / "clip.mov", moving_noise(3, *size), **options)
    preview = preview_of(Clip("clip", str(path)), tmp_path)
    assert (preview.width, preview.height) == expected
    images, _ = pictures_of(tmp_path / preview.file)
    for edge in (images[0][0], images[0][-1], images[0][:, 0], images[0][:, -1]):
        assert edge.mean() > 60  # no black bar is left


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile 'clip.mov'\n", "#EXTM3U\n#EXTINF:1,\nclip.mov\n#EXT-X-ENDLIST\n"])
def test_a_text_file_named_mp4_is_refused(tmp_path: Path, text: str) -> None:
    write_media(tmp_path / "clip.mov", numbered_images(10))
    (tmp_path / "hostile.mp4").write_text(text)
    with pytest.raises(MediaError, match="not a media file"):
        write_preview(Clip("clip", str(tmp_path / "hostile.mp4")), tmp_path / "copy", MediaLimits())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.mov", "hostile.mp4"]


def test_faults_say_what_to_do(tmp_path: Path) -> None:
    clip = Clip("clip", str(write_media(tmp_path / "clip.mp4", numbered_images(10))))
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file"):
        write_preview(Clip("clip", str(tmp_path / "gone.mp4")), tmp_path / "copy", MediaLimits())
    with pytest.raises(MediaError, match="max_frame_pixels=100"):
        write_preview(clip, tmp_path / "copy", MediaLimits(max_frame_pixels=100))
    with pytest.raises(MediaError, match="the copy cannot be written"):
        write_preview(clip, tmp_path / "no folder/copy", MediaLimits())
