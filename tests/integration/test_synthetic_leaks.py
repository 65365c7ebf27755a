"""Nothing in a synthetic clip tells its class but the face, the voice and the words.

The corpus of these tests has no confusion and no noise, so that whatever follows the class at all follows it clearly.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mer_ray.core.media_types import Audio, Clip, Features, Frames
from mer_ray.corpora.synthetic.config import CLASSES, ModalityConfig, SynthConfig
from mer_ray.corpora.synthetic.transcript import FEELINGS, OPENINGS
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import GradientConfig, HashingConfig, SpectralConfig
from mer_ray.extraction.synth import synthesise

pytestmark = pytest.mark.slow

NUM_CLIPS, NUM_SPEAKERS, NUM_FOLDS = 180, 18, 6
CHANCE = 1 / len(CLASSES)
# Three deviations of the balanced accuracy of guessing, with equal classes.
BOUND = CHANCE + 3 * np.sqrt(CHANCE * (1 - CHANCE) / NUM_CLIPS)
LAYERS = {
    "audio": ("voiced_logmel", "modulation", "energy", "pitch"),
    "vision": ("hog_middle", "hog_change", "intensity_coarse", "motion_flow"),
    "text": ("word_1_1024", "char_3_512", "surface"),
}
# All that the head can reach, in shares of the picture: the wall and the shoulders beside it stay.
HEAD = {"left": 0.07, "right": 0.93, "bottom": 1.0}


@dataclass
class Clips:
    """Features of every clip as it is and with face, voice and words taken out: (N, D); and what surrounds them."""

    emotion: np.ndarray
    speaker: np.ndarray
    num_bytes: np.ndarray
    duration_s: np.ndarray
    border_colours: np.ndarray
    whole: dict[str, np.ndarray]
    taken_out: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    out = tmp_path_factory.mktemp("synthetic")
    clear = ModalityConfig(confusion=0, noise=0, missing=0)
    synthesise(
        SynthConfig(
            out=out,
            seed=3,
            num_clips=NUM_CLIPS,
            num_speakers=NUM_SPEAKERS,
            class_priors=dict.fromkeys(CLASSES, 1.0),
            audio=clear,
            vision=clear,
            text=clear,
        )
    )
    with open(out / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    encoders = {config.modality: config.build("cpu") for config in (SpectralConfig(), GradientConfig(), HashingConfig())}
    whole: dict[str, list[np.ndarray]] = {modality: [] for modality in encoders}
    taken_out: dict[str, list[np.ndarray]] = {modality: [] for modality in encoders}
    durations_s, colours = [], []
    for row in rows:
        clip = Clip(row["clip_id"], str(out / row["path"]), text=row["text"])
        decoded = decode_clip(clip, [encoder.input_format for encoder in encoders.values()], MediaLimits())
        for modality, encoder in encoders.items():
            content = decoded[encoder.input_format]
            assert content is not None
            whole[modality].append(_vector(encoder.encode([content])[0], modality))
            taken_out[modality].append(_vector(encoder.encode([_take_out(content)])[0], modality))
            if isinstance(content, Audio):
                durations_s.append(len(content.samples) / content.sample_rate_hz)
            if isinstance(content, Frames):
                colours.append(_border_colours(content))
    return Clips(
        emotion=np.array([row["emotion"] for row in rows]),
        speaker=np.array([row["speaker_id"] for row in rows]),
        num_bytes=np.array([Path(out / row["path"]).stat().st_size for row in rows], dtype=np.float64),
        duration_s=np.array(durations_s),
        border_colours=np.array(colours),
        whole={modality: np.stack(vectors) for modality, vectors in whole.items()},
        taken_out={modality: np.stack(vectors) for modality, vectors in taken_out.items()},
    )


def _vector(features: Features, modality: str) -> np.ndarray:
    return np.concatenate([pooled[layer] for layer in LAYERS[modality] for pooled in (features.mean, features.std)])


def _take_out(content: Audio | Frames | str) -> Audio | Frames | str:
    if isinstance(content, Audio):
        return replace(content, samples=np.zeros_like(content.samples))
    if isinstance(content, Frames):
        size = content.images.shape[1]
        images = content.images.copy()
        images[:, : round(HEAD["bottom"] * size), round(HEAD["left"] * size) : round(HEAD["right"] * size)] = 128
        return replace(content, images=images)
    # Blanking the whole sentence would leave nothing to test: the words around the tone stay.
    for phrase in sorted((phrase for tones in (OPENINGS, FEELINGS) for phrases in tones.values() for phrase in phrases), key=len)[::-1]:
        content = content.replace(phrase, "_").replace(phrase[0].upper() + phrase[1:], "_")
    return content


def _border_colours(frames: Frames) -> np.ndarray:
    size = frames.images.shape[1]
    edge = round(HEAD["left"] * size)
    strips = np.concatenate([frames.images[:, :, :edge], frames.images[:, :, -edge:]], axis=2).astype(np.float64)
    return np.concatenate([strips.mean(axis=(0, 1, 2)), strips.std(axis=(0, 1, 2)), frames.images.mean(axis=(0, 1, 2))])


def _accuracy(x_ND: np.ndarray, clips: Clips) -> float:
    """Balanced accuracy of the class on speakers that training has not seen."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=1000))
    predicted = cross_val_predict(model, x_ND, clips.emotion, groups=clips.speaker, cv=GroupKFold(NUM_FOLDS))
    return float(balanced_accuracy_score(clips.emotion, predicted))


@pytest.mark.parametrize("modality", ["audio", "vision", "text"])
def test_every_modality_shows_the_class(clips: Clips, modality: str) -> None:
    assert _accuracy(clips.whole[modality], clips) > 0.85


def test_chance_without_the_face(clips: Clips) -> None:
    assert _accuracy(clips.taken_out["vision"], clips) < BOUND


def test_chance_without_the_voice(clips: Clips) -> None:
    assert _accuracy(clips.taken_out["audio"], clips) < BOUND


def test_chance_without_the_tone_of_the_words(clips: Clips) -> None:
    assert _accuracy(clips.taken_out["text"], clips) < BOUND


def test_chance_from_size_and_length(clips: Clips) -> None:
    size_and_length = np.stack([clips.num_bytes, clips.duration_s, clips.num_bytes / clips.duration_s], axis=1)
    assert _accuracy(size_and_length, clips) < BOUND


def test_chance_from_the_palette(clips: Clips) -> None:
    assert _accuracy(clips.border_colours, clips) < BOUND


def test_chance_from_the_speaker(clips: Clips) -> None:
    is_speaker = (clips.speaker[:, None] == np.unique(clips.speaker)).astype(np.float64)
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(LogisticRegression(max_iter=1000), is_speaker, clips.emotion, cv=folds)
    assert balanced_accuracy_score(clips.emotion, predicted) < BOUND
