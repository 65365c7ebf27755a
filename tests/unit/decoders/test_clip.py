import pickle
from pathlib import Path

import numpy as np
import pytest
from media_factory import cut_file, moving_noise, noise, numbered_images, tone, write_media, write_wave

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames, TextFormat
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits

AUDIO, FRAMES, TEXT = AudioFormat(16000), FrameFormat(32, num_frames=4), TextFormat()
EVERYTHING = (AUDIO, FRAMES, TEXT)
LIMITS = MediaLimits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "film.mp4", numbered_images(25), tone(1.0))
    write_media(folder / "silent.mp4", numbered_images(25))
    write_wave(folder / "sound.wav", tone(1.0).T.copy())
    return folder


def kinds(clip: Clip) -> list[type]:
    decoded = decode_clip(clip, EVERYTHING, LIMITS)
    assert list(decoded) == list(EVERYTHING)
    return [type(value) for value in decoded.values()]


def test_all_three_modalities(folder: Path) -> None:
    assert kinds(Clip("c", path=str(folder / "film.mp4"), text="Well, hello.")) == [Audio, Frames, str]


def test_a_modality_that_the_clip_lacks_is_none(folder: Path) -> None:
    nothing = type(None)
    assert kinds(Clip("c", path=str(folder / "silent.mp4"))) == [nothing, Frames, nothing]
    assert kinds(Clip("c", path=str(folder / "sound.wav"), text="Hm")) == [Audio, nothing, str]
    assert kinds(Clip("c", text="Only words")) == [nothing, nothing, str]
    assert kinds(Clip("c")) == [nothing, nothing, nothing]


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_blank_text_is_no_text(text: str | None) -> None:
    assert decode_clip(Clip("c", text=text), [TEXT], LIMITS) == {TEXT: None}


def test_text_passes_as_it_stands() -> None:
    assert decode_clip(Clip("c", text=" Ach, 你好! "), [TEXT], LIMITS) == {TEXT: " Ach, 你好! "}


def test_sound_and_pictures_apart(folder: Path) -> None:
    clip = Clip("c", audio_path=str(folder / "sound.wav"), video_path=str(folder / "silent.mp4"))
    assert kinds(clip) == [Audio, Frames, type(None)]


def test_an_explicit_path_stands_before_the_shared_one(folder: Path) -> None:
    clip = Clip("c", path=str(folder / "film.mp4"), audio_path=str(write_wave(folder / "short.wav", tone(0.5).T.copy())))
    decoded = decode_clip(clip, [AUDIO, FRAMES], LIMITS)
    assert len(decoded[AUDIO].samples) == 8000
    assert len(decoded[FRAMES].images) == 4


def test_an_explicit_path_must_hold_its_stream(folder: Path) -> None:
    with pytest.raises(MediaError, match=r"silent\.mp4: no stream of sound, but this is the clip's audio_path"):
        decode_clip(Clip("c", audio_path=str(folder / "silent.mp4")), [AUDIO], LIMITS)
    with pytest.raises(MediaError, match=r"sound\.wav: no stream of pictures, but this is the clip's video_path"):
        decode_clip(Clip("c", video_path=str(folder / "sound.wav")), [FRAMES], LIMITS)


def test_files_that_nobody_asks_for_are_not_opened() -> None:
    assert decode_clip(Clip("c", path="/nowhere/gone.mp4", text="Hm"), [TEXT], LIMITS) == {TEXT: "Hm"}
    with pytest.raises(MediaError, match=r"^/nowhere/gone\.mp4: no such file"):
        decode_clip(Clip("c", path="/nowhere/gone.mp4"), [AUDIO], LIMITS)


def test_formats_together_equal_formats_alone(folder: Path) -> None:
    clip = Clip("c", path=str(folder / "film.mp4"))
    formats = [AudioFormat(16000), AudioFormat(8000), FRAMES, FrameFormat(20, rate_hz=3.0, crop="whole")]
    together = decode_clip(clip, formats, LIMITS)
    for wanted in formats:
        alone = decode_clip(clip, [wanted], LIMITS)[wanted]
        if isinstance(alone, Audio):
            np.testing.assert_array_equal(together[wanted].samples, alone.samples)
        else:
            np.testing.assert_array_equal(together[wanted].images, alone.images)


@pytest.mark.parametrize(
    ("name", "audio_codec", "video_start_s", "sound_start_s"),
    [
        ("a.mp4", "aac", 0, 0),
        ("a.mkv", "pcm_s16le", 0, 0.4),
        ("a.mkv", "libopus", 0.4, 0),
        ("a.mov", "aac", 0.4, 0),
        ("a.mp4", "aac", 3.0, 3.4),
    ],
)
def test_sound_and_pictures_share_one_time_axis(
    tmp_path: Path, name: str, audio_codec: str, video_start_s: float, sound_start_s: float
) -> None:
    """A flash and a click at the same moment are decoded at the same moment, whichever stream begins first."""
    rate_hz = 48000
    flash_s = 1.2
    images = [np.full((48, 64, 3), 235 if index == round((flash_s) * 25) else 20, np.uint8) for index in range(50)]
    click = np.zeros((1, 2 * rate_hz), np.float32)
    click_s = flash_s + video_start_s - sound_start_s
    click[0, round(click_s * rate_hz) : round((click_s + 0.02) * rate_hz)] = tone(0.02, rate_hz, 2000)[0]
    path = write_media(
        tmp_path / name,
        images,
        click,
        rate_hz=rate_hz,
        audio_codec=audio_codec,
        video_start_s=video_start_s,
        sound_start_s=sound_start_s,
    )
    audio_format, frame_format = AudioFormat(rate_hz), FrameFormat(16, rate_hz=25.0)
    decoded = decode_clip(Clip("c", path=str(path)), [audio_format, frame_format], LIMITS)
    frames, samples = decoded[frame_format], decoded[audio_format].samples
    seen_s = frames.times_s[int(np.argmax(frames.images.mean(axis=(1, 2, 3))))]
    heard_s = int(np.argmax(np.abs(samples) > 0.25)) / rate_hz
    assert heard_s == pytest.approx(seen_s, abs=0.004)
    assert seen_s == pytest.approx(flash_s + video_start_s - min(video_start_s, sound_start_s), abs=0.03)


CUTS = [
    ("a.mp4", "aac", {"movflags": "faststart"}),
    ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("a.mp4", "aac", {}),
    ("a.mkv", "libopus", {}),
    ("a.avi", "libmp3lame", {}),
    ("a.flv", "aac", {}),
]


@pytest.mark.parametrize(("name", "audio_codec", "container_options"), CUTS)
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_cut_film_is_a_failure_not_a_shorter_clip(
    tmp_path: Path, name: str, audio_codec: str, container_options: dict[str, str], share: float
) -> None:
    rate_hz = 48000 if audio_codec == "libopus" else 44100
    path = write_media(
        tmp_path / name,
        moving_noise(75),
        noise(3.0, rate_hz),
        rate_hz=rate_hz,
        audio_codec=audio_codec,
        container_options=container_options,
        video_options={"g": "10"},
    )
    clip = Clip("c", path=str(cut_file(path, share)))
    for formats in ([AUDIO], [FRAMES], [AUDIO, FRAMES]):
        decode_clip(Clip("c", path=str(path)), formats, LIMITS)
        with pytest.raises(MediaError, match=r"cut_a\.\w+: .*(cut short|damaged)"):
            decode_clip(clip, formats, LIMITS)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.mka", "aac")]
)
def test_cut_sound(tmp_path: Path, name: str, codec: str) -> None:
    path = write_media(tmp_path / name, sound=noise(3.0, 44100), rate_hz=44100, audio_codec=codec)
    with pytest.raises(MediaError, match=r"cut_a\.\w+: .*(cut short|damaged)"):
        decode_clip(Clip("c", path=str(cut_file(path, 0.7))), [AUDIO], LIMITS)


def test_rubbish_in_the_middle_is_a_failure_that_says_where(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", moving_noise(75), noise(3.0))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = b"\xff" * 20000
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"a\.mp4: damaged in its (sound|pictures) at \d\.\d\d s"):
        decode_clip(Clip("c", path=str(path)), [AUDIO, FRAMES], LIMITS)


def test_errors_survive_pickle(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        decode_clip(Clip("c", path=str(tmp_path / "gone.mp4")), [AUDIO], LIMITS)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is MediaError
    assert str(copy) == str(caught.value)
