"""Features drawn instead of computed: layers whose signal peaks where the config says.

Shapes: N clips, D feature dimension, C classes.
"""

from collections.abc import Iterator

import numpy as np

from mer_ray.core.config import digest_of, identity_fields
from mer_ray.core.media_types import Features, FloatArray, Modality
from mer_ray.core.seeding import derive_seed
from mer_ray.corpora.synthetic.config import CLASSES, PlantedConfig, SynthConfig
from mer_ray.corpora.synthetic.latents import Latents

SPEAKER_SPREAD = 0.3
# How strongly a layer shows one deviation of valence beyond the class, against the class itself.
VALENCE_SHARE = 0.15
NUM_FRAMES = 1
CLIPS_PER_BLOCK = 4096


def encoder_name(modality: Modality) -> str:
    """`planted_audio`, `planted_vision`, `planted_text`."""
    return f"planted_{modality}"


def encoder_identity(config: SynthConfig, modality: Modality) -> str:
    """The sha256 (hex) of all that decides the features."""
    return digest_of({**identity_fields(config), "modality": modality})


def layer_dims(planted: PlantedConfig) -> dict[str, int]:
    """`layer_00` and on, each with its dimension."""
    return {f"layer_{number:02d}": planted.dim for number in range(planted.num_layers)}


def layer_signals(planted: PlantedConfig, modality: Modality) -> list[float]:
    """How strongly each layer shows the expression, highest at the peak: our choice, a bell."""
    peak = planted.peak_layers[modality]
    return [planted.signal * float(np.exp(-((number - peak) ** 2) / (2.0 * planted.width**2))) for number in range(planted.num_layers)]


def plant_features(config: SynthConfig, planted: PlantedConfig, latents: Latents, modality: Modality) -> Iterator[Features]:
    """The features of every clip in order; a clip that lacks the modality has no frames.

    Means are direction of the expression + direction of valence + speaker + unit noise; deviations are around 1 and tell nothing.
    """
    signals = layer_signals(planted, modality)
    directions = [_draw_directions(config, planted, modality, layer) for layer in layer_dims(planted)]
    speakers = [_draw_speakers(config, planted, modality, layer) for layer in layer_dims(planted)]
    for start in range(0, latents.num_clips, CLIPS_PER_BLOCK):
        block = slice(start, min(start + CLIPS_PER_BLOCK, latents.num_clips))
        rng = np.random.default_rng(derive_seed(config.seed, "planted", modality, start))
        mean: dict[str, FloatArray] = {}
        std: dict[str, FloatArray] = {}
        for number, layer in enumerate(layer_dims(planted)):
            shown_ND = directions[number][latents.expression[modality][block]]
            valence_ND = VALENCE_SHARE * latents.valence_offset[block, None] * directions[number][-1]
            noise_ND = rng.standard_normal(shown_ND.shape, dtype=np.float32)
            speaker_ND = speakers[number][latents.speaker[block]]
            mean[layer] = (signals[number] * (shown_ND + valence_ND) + speaker_ND + noise_ND).astype(np.float32)
            std[layer] = np.exp(0.1 * rng.standard_normal(shown_ND.shape, dtype=np.float32))
        for row, present in enumerate(latents.present[modality][block]):
            if present:
                yield Features(NUM_FRAMES, 0.0, {layer: x[row] for layer, x in mean.items()}, {layer: x[row] for layer, x in std.items()})
            else:
                yield Features(0, 0.0)


def _draw_directions(config: SynthConfig, planted: PlantedConfig, modality: Modality, layer: str) -> FloatArray:
    """One of length 1 per class, and one for valence: (C + 1, D), at right angles to each other."""
    rng = np.random.default_rng(derive_seed(config.seed, "directions", modality, layer))
    basis_DK = np.linalg.qr(rng.standard_normal((planted.dim, len(CLASSES) + 1)))[0]
    return basis_DK.T.astype(np.float32)


def _draw_speakers(config: SynthConfig, planted: PlantedConfig, modality: Modality, layer: str) -> FloatArray:
    rng = np.random.default_rng(derive_seed(config.seed, "speakers", modality, layer))
    return SPEAKER_SPREAD * rng.standard_normal((config.num_speakers, planted.dim), dtype=np.float32)
