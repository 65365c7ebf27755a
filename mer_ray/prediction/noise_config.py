"""Which bundle is applied to which degraded media."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mer_ray.core.config import PlaceOrName
from mer_ray.core.degradation import SPEECH_LIKE, DegradationConfig
from mer_ray.core.media_types import Modality
from mer_ray.prediction.config import MediaConfig

# The ends of MER2023's noise track, and the sigmas of our choice.
DEFAULT_SNR_DB = (10.0, 5.0)
DEFAULT_BLUR = (1.0, 2.0, 4.0)

Decibels = Annotated[float, Field(ge=-100, le=100)]
Sigma = Annotated[float, Field(gt=0, le=100)]


class NoiseConfig(MediaConfig):
    """A bundle, and what its media suffer: one thing at a time.

    Noise is `speech_like`, or comes from the sound files of a folder (`source`); each of `snr_db` is a signal to noise ratio at which it
    is added. Each of `blur` is a sigma in pixels of the frames as encoders get them, each of `without` a modality that is taken away.
    None: 10 and 5 dB, 1, 2 and 4 pixels, and every modality, as far as the bundle reads them; an empty list: nothing of the kind.
    """

    source: PlaceOrName = Field(SPEECH_LIKE, min_length=1)
    snr_db: tuple[Decibels, ...] | None = None
    blur: tuple[Sigma, ...] | None = None
    without: tuple[Modality, ...] | None = None
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _name_each_once(self) -> Self:
        for key in ("snr_db", "blur", "without"):
            # As they are shown: a condition is known by its name.
            listed = [one if isinstance(one, str) else f"{one:zg}" for one in getattr(self, key) or ()]
            if len(set(listed)) < len(listed):
                raise ValueError(f"{key}: names one twice")
        self.noise_at(0.0)
        return self

    def noise_at(self, snr_db: float) -> DegradationConfig:
        """Noise at one ratio in dB."""
        return DegradationConfig(noise=self.source, snr_db=(snr_db, snr_db), seed=self.seed)
