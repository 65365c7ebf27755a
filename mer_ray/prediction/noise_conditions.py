"""The conditions under which a bundle is scored: clean, and each degradation on its own."""

from collections.abc import Collection
from dataclasses import dataclass

from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.prediction.noise_config import DEFAULT_BLUR, DEFAULT_SNR_DB, NoiseConfig

CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """One kind of media: `degrade` is what they suffer in `modality`; neither for media as they are."""

    name: str
    modality: Modality | None = None
    degrade: DegradationConfig | None = None

    @property
    def is_removal(self) -> bool:
        """Whether the modality is taken away, so that there is nothing to encode."""
        return self.degrade is not None and bool(self.degrade.without)

    @property
    def snr_db(self) -> float | None:
        """The signal to noise ratio in dB, where noise is added."""
        return None if self.degrade is None or self.degrade.noise is None else self.degrade.snr_db[0]


def conditions_of(config: NoiseConfig, read: Collection[Modality]) -> list[Condition]:
    """The conditions in order, clean first, of a bundle that reads these modalities.

    Raises:
        ConfigError: what is asked for concerns nothing that the bundle reads, or would leave nothing, or nothing is asked for.

    """
    for key, needed in (("snr_db", "audio"), ("blur", "vision")):
        if getattr(config, key) and needed not in read:
            raise ConfigError(f"noise.{key}: the bundle reads no {needed}, only {_listed(read)}; leave {key} out")
    unread = [name for name in config.without or () if name not in read]
    if unread:
        raise ConfigError(f"noise.without: the bundle reads no {', '.join(unread)}, only {_listed(read)}; leave it out")
    if config.without and len(read) == 1:
        raise ConfigError(f"noise.without: the bundle reads {_listed(read)} alone, so that nothing would be left; leave without out")
    ratios = (DEFAULT_SNR_DB if "audio" in read else ()) if config.snr_db is None else config.snr_db
    sigmas = (DEFAULT_BLUR if "vision" in read else ()) if config.blur is None else config.blur
    removed = (tuple(name for name in MODALITIES if name in read) if len(read) > 1 else ()) if config.without is None else config.without
    found = [Condition(f"noise {snr_db:g} dB", "audio", config.noise_at(snr_db)) for snr_db in ratios]
    found += [Condition(f"blur {sigma:g}", "vision", DegradationConfig(blur=sigma)) for sigma in sigmas]
    found += [Condition(f"without {name}", name, DegradationConfig(without=(name,))) for name in removed]
    if not found:
        raise ConfigError(f"noise: nothing is degraded: snr_db, blur and without are empty, and the bundle reads {_listed(read)}")
    return [Condition(CLEAN), *found]


def _listed(read: Collection[Modality]) -> str:
    return ", ".join(name for name in MODALITIES if name in read)
