"""Speech-like noise without recordings: several voices' worth of noise with the spectrum and the syllables of speech.

Shapes: T samples, F frequencies.
"""

from math import ceil
from typing import cast

import numpy as np
import numpy.typing as npt

NUM_TALKERS = 6
# Longer noise repeats, without a seam: what fits into memory for any clip.
MAX_PERIOD_S = 60
# Clips of one length in seconds, at whatever rate, have the same period.
_ROUNDING_S = 0.001
# The long-term average spectrum of speech in rough: level between these, falling below and above by so many dB an octave.
LEVEL_HZ = (100.0, 500.0)
BELOW_DB, ABOVE_DB = 12.0, 9.0
# Syllables come about four times a second.
SYLLABLES_HZ = (2.0, 8.0)

Array = npt.NDArray[np.float64]


def make_babble(num_samples: int, sample_rate_hz: int, seed: int) -> Array:
    """Noise (T,) of no particular level; of one seed the same noise at every rate, as far as the rate reaches.

    Our choice: Gaussian noise with the rough shape of the long-term average speech spectrum (Byrne et al., 1994), whose level swings
    as syllables do (2 to 8 Hz, half-wave), six times over and added. It has neither words nor pitch.
    """
    period_s = min(MAX_PERIOD_S, max(1, ceil(num_samples / sample_rate_hz - _ROUNDING_S)))
    num_period = period_s * sample_rate_hz
    frequencies_F = np.arange(num_period // 2 + 1) / period_s
    amplitudes_F = _speech_amplitudes(frequencies_F)
    is_syllable_F = (frequencies_F >= SYLLABLES_HZ[0]) & (frequencies_F <= SYLLABLES_HZ[1])
    total_T: Array = np.zeros(num_period)
    for talker in range(NUM_TALKERS):
        voice_T = _noise(amplitudes_F, num_period, (seed, talker, 0))
        # Its deviation is 1: where the sum falls below 0 the talker pauses.
        swing_T = _noise(is_syllable_F / np.sqrt(2 * is_syllable_F.sum()), num_period, (seed, talker, 1))
        total_T += voice_T * np.maximum(0.0, 1 + swing_T)
    return np.resize(total_T, num_samples)


def _speech_amplitudes(frequencies_F: Array) -> Array:
    lowest_hz, highest_hz = LEVEL_HZ
    octaves_F = np.log2(np.maximum(frequencies_F, frequencies_F[1]))
    decibels_F = -BELOW_DB * np.maximum(0, np.log2(lowest_hz) - octaves_F) - ABOVE_DB * np.maximum(0, octaves_F - np.log2(highest_hz))
    return cast(Array, np.where(frequencies_F > 0, 10 ** (decibels_F / 20), 0.0))


def _noise(amplitudes_F: Array, num_samples: int, seed: tuple[int, ...]) -> Array:
    """Gaussian noise (T,) of this spectrum; low frequencies are drawn first, so that a higher rate only adds to it."""
    drawn_F2 = np.random.default_rng(seed).standard_normal((len(amplitudes_F), 2))
    spectrum_F = amplitudes_F * (drawn_F2[:, 0] + 1j * drawn_F2[:, 1])
    return np.fft.irfft(spectrum_F, num_samples) * num_samples
