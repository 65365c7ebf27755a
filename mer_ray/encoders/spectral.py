"""The `spectral` encoder: sound without weights, 15 layers from log-mel bands to intonation."""

from typing import Literal

import numpy as np

from mer_ray.core.media_types import AudioFormat, Features, FloatArray
from mer_ray.encoders._base import EncoderConfig
from mer_ray.encoders._pooling import pool_features
from mer_ray.encoders._signal_encoder import SignalEncoder
from mer_ray.encoders._spectral_frames import (
    BANDS_HZ,
    HOP_S,
    NUM_CEPSTRA,
    NUM_ENERGIES,
    NUM_FORMANTS,
    NUM_MELS,
    NUM_MODULATIONS,
    NUM_SHAPES,
    SAMPLE_RATE_HZ,
    cepstra,
    change,
    energies,
    formants,
    log_mel,
    modulation,
    power_spectrum,
    spectral_contrast,
    spectral_shape,
)
from mer_ray.encoders._spectral_pitch import PitchTrack, track_pitch
from mer_ray.encoders._spectral_prosody import MIN_VOICED_FRAMES, NUM_INTONATIONS, NUM_RHYTHMS, describe_intonation, describe_rhythm

NUM_PITCHES = 6
# One value every 10 ms: these can be kept as sequences.
FRAME_LAYERS = {
    "logmel": NUM_MELS,
    "logmel_delta": NUM_MELS,
    "mfcc": NUM_CEPSTRA,
    "mfcc_delta": NUM_CEPSTRA,
    "pitch": NUM_PITCHES,
    "energy": NUM_ENERGIES,
    "spectral_shape": NUM_SHAPES,
    "spectral_contrast": len(BANDS_HZ),
    "formants": NUM_FORMANTS,
}
# Mean and deviation over voiced frames (all frames where a clip has no voice), over windows of 0.64 s, and, with deviation 0,
# of the clip as a whole.
CLIP_LAYERS = {
    "voiced_logmel": NUM_MELS,
    "voiced_mfcc_delta": NUM_CEPSTRA,
    "voiced_shape": NUM_SHAPES + NUM_FORMANTS,
    "modulation": NUM_MODULATIONS,
    "intonation": NUM_INTONATIONS,
    "rhythm": NUM_RHYTHMS,
}


class SpectralConfig(EncoderConfig):
    """Sound at 16 kHz in frames of 25 ms every 10 ms."""

    name: Literal["spectral"] = "spectral"

    @property
    def input_format(self) -> AudioFormat:
        """Mono sound at 16 kHz."""
        return AudioFormat(SAMPLE_RATE_HZ)

    @property
    def frame_s(self) -> float:
        """10 ms."""
        return HOP_S

    def layers(self) -> dict[str, int]:
        """Nine layers of frames, then six that describe the clip."""
        return FRAME_LAYERS | CLIP_LAYERS

    def sequence_layers(self) -> tuple[str, ...]:
        """The layers of frames."""
        return tuple(FRAME_LAYERS)

    def build(self, device: str) -> "SpectralEncoder":
        """The encoder; it computes on the CPU whatever the device."""
        return SpectralEncoder(self)


class SpectralEncoder(SignalEncoder):
    """Signal transforms of speech; about 10 ms of one core per second of sound."""

    def _encode_sound(self, samples_S: FloatArray) -> Features:
        samples_S = np.asarray(samples_S, dtype=np.float32)
        power_TF = power_spectrum(samples_S)
        logmel_TM = log_mel(power_TF)
        mfcc_TK = cepstra(logmel_TM)
        mfcc_delta_TK = change(mfcc_TK)
        energy_TD = energies(power_TF)
        shape_TD = spectral_shape(power_TF)
        formants_TD = formants(samples_S)
        track = track_pitch(samples_S)
        voiced_T = track.voiced_T if track.voiced_T.sum() >= MIN_VOICED_FRAMES else np.ones_like(track.voiced_T)
        frames = {
            "logmel": logmel_TM,
            "logmel_delta": change(logmel_TM),
            "mfcc": mfcc_TK,
            "mfcc_delta": mfcc_delta_TK,
            "pitch": _pitch_frames(track),
            "energy": energy_TD,
            "spectral_shape": shape_TD,
            "spectral_contrast": spectral_contrast(power_TF),
            "formants": formants_TD,
            "voiced_logmel": logmel_TM[voiced_T],
            "voiced_mfcc_delta": mfcc_delta_TK[voiced_T],
            "voiced_shape": np.concatenate([shape_TD, formants_TD], axis=1)[voiced_T],
            "modulation": modulation(logmel_TM),
            "intonation": describe_intonation(track, energy_TD[:, 0])[None],
            "rhythm": describe_rhythm(track, energy_TD[:, 0])[None],
        }
        return pool_features(frames, num_frames=len(power_TF), frame_s=HOP_S, sequences=self.sequences, rate_hz=self.rate_hz)


def _pitch_frames(track: PitchTrack) -> FloatArray:
    """Octaves above 100 Hz, voiced or not, strength, harmonics over noise in 10 dB, size and sign of the change: (T, 6)."""
    harmonics_to_noise_T = np.log10(np.maximum(track.strength_T, 0.01) / (1 - track.strength_T))
    change_T = change(track.octaves_T[:, None])[:, 0]
    columns = [track.octaves_T, track.voiced_T, track.strength_T, harmonics_to_noise_T, np.abs(change_T), change_T]
    return np.stack(columns, axis=1).astype(np.float32)
