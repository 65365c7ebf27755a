"""What each clip is, before anything is drawn: its emotion, its label, and what each modality shows of it.

Shapes: N clips, C classes. Classes are numbers in the order of `CLASSES`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.core.seeding import derive_seed
from mer_ray.corpora.synthetic.config import CLASSES, PARTNERS, VALENCE_MEANS, VALENCE_RANGE, VALENCE_STDS, SynthConfig

IntArray = npt.NDArray[np.int64]
RealArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Latents:
    """The draws behind a corpus, each (N,).

    `label` is `emotion` after label noise, and `valence` is the label of valence after that of valence. `expression[m]` is the
    class whose prototype modality m shows, `present[m]` whether the clip has m. `valence_offset` is what the media show of
    valence beyond the class: standard normal, independent of the class.
    """

    labelled: BoolArray
    speaker: IntArray
    emotion: IntArray
    label: IntArray
    expression: dict[Modality, IntArray]
    present: dict[Modality, BoolArray]
    valence: RealArray
    valence_offset: RealArray
    duration_s: RealArray

    @property
    def num_clips(self) -> int:
        """N."""
        return len(self.emotion)

    def clip_ids(self) -> list[str]:
        """`synth_000000` and on: the same length for all, labelled clips first."""
        return [f"synth_{index:06d}" for index in range(self.num_clips)]

    def speaker_ids(self) -> list[str]:
        """`speaker_000` and on."""
        return [f"speaker_{number:03d}" for number in self.speaker]

    def table(self) -> pa.Table:
        """All draws, a row per clip, classes by name: for tests and for analysis."""
        names = np.array(CLASSES)
        return pa.table(
            {
                "clip_id": self.clip_ids(),
                "labelled": self.labelled,
                "speaker_id": self.speaker_ids(),
                "emotion": names[self.emotion],
                "label": names[self.label],
                **{f"{modality}_expression": names[self.expression[modality]] for modality in MODALITIES},
                **{f"{modality}_present": self.present[modality] for modality in MODALITIES},
                "valence": self.valence,
                "valence_offset": self.valence_offset,
                "duration_s": self.duration_s,
            }
        )


def draw_latents(config: SynthConfig) -> Latents:
    """Draw the whole corpus from its seed.

    Each part holds every class in its share, rounded; speakers, durations and missing modalities are drawn without
    looking at the class, so that they tell nothing of it.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "latents"))
    unlabelled = class_shares(config.unlabelled_priors or config.class_priors)
    emotion = np.concatenate(
        [
            rng.permutation(_apportion(class_shares(config.class_priors), config.num_clips)),
            rng.permutation(_apportion(unlabelled, config.num_unlabelled)),
        ]
    )
    num_clips = len(emotion)
    valence, valence_offset = _draw_valence(emotion, config, rng)
    valence = _add_valence_noise(valence, config)
    shortest_s, longest_s = config.duration_s
    num_frames = np.round(rng.uniform(shortest_s, longest_s, num_clips) * config.frame_rate_hz)
    return Latents(
        labelled=np.arange(num_clips) < config.num_clips,
        speaker=rng.permutation(np.arange(num_clips) % config.num_speakers),
        emotion=emotion,
        label=draw_labels(emotion, config, rng),
        expression=draw_expressions(emotion, config, rng),
        present=draw_present(num_clips, config, rng),
        valence=valence,
        valence_offset=valence_offset,
        duration_s=num_frames / config.frame_rate_hz,
    )


def class_shares(priors: dict[str, float]) -> RealArray:
    """Priors in class order, summing to 1: (C,)."""
    weights_C = np.array([priors[name] for name in CLASSES], dtype=np.float64)
    return np.asarray(weights_C / weights_C.sum(), dtype=np.float64)


def confusion_matrix(config: SynthConfig, modality: Modality) -> RealArray:
    """P(expression | emotion) of one modality: (C, C), rows are emotions."""
    knobs = config.modality(modality)
    num_classes = len(CLASSES)
    matrix_CC = np.eye(num_classes) * (1.0 - knobs.confusion - knobs.noise) + knobs.noise / num_classes
    for one, other in PARTNERS[modality]:
        row, column = CLASSES.index(one), CLASSES.index(other)
        matrix_CC[row, column] += knobs.confusion
        matrix_CC[column, row] += knobs.confusion
    return matrix_CC


def label_matrix(config: SynthConfig) -> RealArray:
    """P(label | emotion): label noise moves a label to any other class alike: (C, C), rows are emotions."""
    num_classes = len(CLASSES)
    matrix_CC = np.full((num_classes, num_classes), config.label_noise / (num_classes - 1))
    np.fill_diagonal(matrix_CC, 1.0 - config.label_noise)
    return matrix_CC


def draw_expressions(emotion: IntArray, config: SynthConfig, rng: np.random.Generator) -> dict[Modality, IntArray]:
    """What each modality shows, independently given the emotion."""
    return {modality: _draw_rows(confusion_matrix(config, modality)[emotion], rng) for modality in MODALITIES}


def draw_labels(emotion: IntArray, config: SynthConfig, rng: np.random.Generator) -> IntArray:
    """The labels that annotators gave."""
    return _draw_rows(label_matrix(config)[emotion], rng)


def draw_present(num_clips: int, config: SynthConfig, rng: np.random.Generator) -> dict[Modality, BoolArray]:
    """Which modalities each clip has; a clip that would lack all three keeps one of them, each alike."""
    present = {modality: rng.random(num_clips) >= config.modality(modality).missing for modality in MODALITIES}
    kept = rng.integers(0, len(MODALITIES), num_clips)
    bare = ~np.any(list(present.values()), axis=0)
    return {modality: present[modality] | (bare & (kept == index)) for index, modality in enumerate(MODALITIES)}


def _draw_valence(emotion: IntArray, config: SynthConfig, rng: np.random.Generator) -> tuple[RealArray, RealArray]:
    means, stds = np.array(VALENCE_MEANS), np.array(VALENCE_STDS)
    offset = rng.standard_normal(len(emotion))
    shares = class_shares(config.class_priors)
    other_emotion = rng.choice(len(CLASSES), len(emotion), p=shares)
    if config.valence_follows_emotion:
        return np.clip(means[emotion] + stds[emotion] * offset, *VALENCE_RANGE), offset
    # Drawn from the same mixture, but from a class of its own: the marginal stays, the dependence goes.
    valence = means[other_emotion] + stds[other_emotion] * offset
    mixture_mean = shares @ means
    mixture_std = np.sqrt(shares @ (stds**2 + means**2) - mixture_mean**2)
    return np.clip(valence, *VALENCE_RANGE), (valence - mixture_mean) / mixture_std


def _add_valence_noise(valence: RealArray, config: SynthConfig) -> RealArray:
    """From a generator of its own, so that all else is drawn as without noise."""
    if config.valence_noise == 0:
        return valence
    rng = np.random.default_rng(derive_seed(config.seed, "valence_noise"))
    return np.clip(valence + config.valence_noise * rng.standard_normal(len(valence)), *VALENCE_RANGE)


def _draw_rows(probabilities_NC: RealArray, rng: np.random.Generator) -> IntArray:
    """One draw per row."""
    cumulative_NC = np.cumsum(probabilities_NC, axis=1)
    drawn = (rng.random((len(probabilities_NC), 1)) * cumulative_NC[:, -1:] >= cumulative_NC).sum(axis=1)
    return np.asarray(drawn, dtype=np.int64)


def _apportion(shares_C: RealArray, total: int) -> IntArray:
    """Class numbers, `total` of them, in their shares by largest remainder."""
    exact = shares_C * total
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return np.repeat(np.arange(len(shares_C)), counts)
