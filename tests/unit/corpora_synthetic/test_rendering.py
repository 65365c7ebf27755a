"""Clips as files: seeded to the byte, each stream deaf to the others, of a size that tells only the length."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from mer_ray.core.errors import MediaError
from mer_ray.corpora.synthetic.clip import ClipPlan, render_clip, render_clips
from mer_ray.corpora.synthetic.config import CLASSES
from mer_ray.corpora.synthetic.expression import FACES, VOICES, show_face, show_voice
from mer_ray.corpora.synthetic.face import FaceLook, draw_clip, pose_frames
from mer_ray.corpora.synthetic.transcript import FEELINGS, OPENINGS, write_sentence
from mer_ray.corpora.synthetic.video_file import size_budget, write_clip
from mer_ray.corpora.synthetic.voice import SAMPLE_RATE_HZ, VoiceLook, speak

HAPPY, SAD = CLASSES.index("happy"), CLASSES.index("sad")


def _plan(path: Path) -> ClipPlan:
    return ClipPlan(
        path=path,
        speaker_seed=1,
        vision_seed=2,
        audio_seed=3,
        vision_expression=HAPPY,
        audio_expression=SAD,
        valence_offset=0.5,
        duration_s=2.0,
        frame_rate_hz=12,
        size=96,
    )


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(path) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)] if container.streams.video else []
    with av.open(path) as container:
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)] if container.streams.audio else []
    return np.array(images), np.concatenate(sound) if sound else np.empty(0)


def test_the_same_plan_is_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (_plan(tmp_path / name) for name in ("one.mp4", "two.mp4", "other.mp4"))
    for plan in (one, two, replace(other, vision_seed=5)):
        render_clip(plan)
    assert one.path.read_bytes() == two.path.read_bytes() != other.path.read_bytes()


@pytest.mark.slow
def test_processes_make_the_same_bytes_as_one(tmp_path: Path) -> None:
    plans = [replace(_plan(tmp_path / f"{index}.mp4"), vision_seed=index, duration_s=1.0, size=64) for index in range(24)]
    assert len(list(render_clips(plans, num_processes=2))) == 24
    for plan in plans[::8]:
        alone = replace(plan, path=tmp_path / "alone.mp4")
        render_clip(alone)
        assert alone.path.read_bytes() == plan.path.read_bytes()


def test_the_file_holds_h264_and_aac_of_the_planned_length(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "clip.mp4")
    render_clip(plan)
    with av.open(plan.path) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
    images, sound = _decode(plan.path)
    assert images.shape == (24, 96, 96, 3)
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.15)


def test_each_stream_is_deaf_to_the_other(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "clip.mp4")
    other_voice = replace(plan, path=tmp_path / "voice.mp4", audio_expression=HAPPY)
    other_face = replace(plan, path=tmp_path / "face.mp4", vision_expression=SAD)
    for each in (plan, other_voice, other_face):
        render_clip(each)
    images, sound = _decode(plan.path)
    assert np.array_equal(_decode(other_voice.path)[0], images)
    assert not np.array_equal(_decode(other_voice.path)[1], sound)
    assert np.array_equal(_decode(other_face.path)[1], sound)
    assert not np.array_equal(_decode(other_face.path)[0], images)


@pytest.mark.parametrize("lacking", ["vision_expression", "audio_expression"])
def test_a_missing_modality_has_no_stream_and_the_same_size(tmp_path: Path, lacking: str) -> None:
    plan = replace(_plan(tmp_path / "clip.mp4"), **{lacking: None})
    render_clip(plan)
    images, sound = _decode(plan.path)
    assert (len(images) == 0, len(sound) == 0) == (lacking == "vision_expression", lacking == "audio_expression")
    assert plan.path.stat().st_size == size_budget(2.0, 12, 96)


@pytest.mark.parametrize("expression", range(len(CLASSES)))
def test_size_depends_on_length_alone(tmp_path: Path, expression: int) -> None:
    plan = replace(_plan(tmp_path / "clip.mp4"), vision_expression=expression, audio_expression=expression, size=160)
    render_clip(plan)
    assert plan.path.stat().st_size == size_budget(2.0, 12, 160)


def test_a_clip_beyond_its_budget_is_refused(tmp_path: Path) -> None:
    snow = np.random.default_rng(0).integers(0, 256, (48, 96, 96, 3), dtype=np.uint8)
    with pytest.raises(MediaError, match="more than its"):
        write_clip(tmp_path / "snow.mp4", snow, None, 4.0, 12, 96)
    assert list(tmp_path.iterdir()) == []


def test_the_wall_and_the_shoulders_stand_still() -> None:
    rng = np.random.default_rng(0)
    for expression in range(len(CLASSES)):
        poses = pose_frames(show_face(expression, 0.0, rng), 36, 12, rng)
        images = draw_clip(FaceLook.draw(rng), poses, 160)
        for strip in (images[:, :, :13], images[:, :, -13:]):
            assert (strip == strip[0]).all()
        assert (images[0] != images[18]).any()


def test_voices_differ_as_described() -> None:
    def level_and_brightness(name: str) -> tuple[float, float]:
        rng = np.random.default_rng(7)
        sound = speak(VoiceLook(150.0, 1.0, 0.0), VOICES[name], 3.0, rng)
        assert sound.dtype == np.float32 and len(sound) == 3 * SAMPLE_RATE_HZ and np.abs(sound).max() < 1
        power = np.abs(np.fft.rfft(sound)) ** 2
        frequency_hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
        return float(sound.std()), float((power * frequency_hz).sum() / power.sum())

    angry, neutral, sad = (level_and_brightness(name) for name in ("angry", "neutral", "sad"))
    assert angry[0] > 1.5 * neutral[0] > 2 * sad[0]
    assert angry[1] > neutral[1]


def test_valence_beyond_the_class_moves_mouth_and_pitch() -> None:
    def shown(offset: float) -> tuple[float, float]:
        rng = np.random.default_rng(1)
        return show_face(HAPPY, offset, rng).mouth_curve, show_voice(HAPPY, offset, rng).pitch_st

    assert shown(1.0) > shown(0.0) > shown(-1.0)
    assert shown(2.5) == shown(100.0)


def test_prototypes_stand_well_apart() -> None:
    for prototypes, show in ((FACES, show_face), (VOICES, show_voice)):
        spread = {name: np.std([getattr(each, name) for each in prototypes.values()]) for name in vars(prototypes["happy"])}

        def place(shown: object, spread: dict[str, float] = spread) -> np.ndarray:
            return np.array([getattr(shown, name) / spread[name] for name in spread])

        centres = np.array([place(prototypes[name]) for name in CLASSES])
        rng = np.random.default_rng(0)
        for expression in range(len(CLASSES)):
            for _ in range(100):
                distance = np.linalg.norm(centres - place(show(expression, rng.standard_normal(), rng)), axis=1)
                assert distance.argmin() == expression


def test_sentences_show_their_tone_and_no_other() -> None:
    rng = np.random.default_rng(0)
    for expression, tone in enumerate(CLASSES):
        sentences = [write_sentence(expression, rng).lower() for _ in range(50)]
        assert len(set(sentences)) > 20
        for table in (OPENINGS, FEELINGS):
            assert all(any(phrase.lower() in sentence for phrase in table[tone]) for sentence in sentences)
            others = [phrase.lower() for other in CLASSES if other != tone for phrase in table[other]]
            assert not any(phrase in sentence for phrase in others for sentence in sentences)
