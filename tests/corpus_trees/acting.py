"""Pictures and sound that tell a class, with a little noise that tells the clip: what the small trees of dialogue corpora show."""

import numpy as np

RATE_HZ = 16000
FPS = 10
SIDE = 48


def act_pictures(place: int, number: int, num_images: int, num_places: int, side: int = SIDE) -> list[np.ndarray]:
    """Moving stripes whose angle is that of the class at `place` of `num_places`."""
    angle = np.pi * place / num_places
    rows, columns = np.mgrid[:side, :side]
    places = np.cos(angle) * rows + np.sin(angle) * columns
    images = [127 + 100 * np.sin(places / 3 + 0.5 * image + number) for image in range(num_images)]
    return [np.repeat(image.astype(np.uint8)[..., None], 3, axis=2) for image in images]


def act_voice(place: int, number: int, duration_s: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone whose pitch is that of the class, float32 (1, T)."""
    times_T = np.arange(round(duration_s * rate_hz)) / rate_hz
    noise_T = np.random.default_rng(number).standard_normal(len(times_T))
    return (0.5 * np.sin(2 * np.pi * 140.0 * (1 + place) * times_T) + 0.05 * noise_T).clip(-1, 1).astype(np.float32)[None]
