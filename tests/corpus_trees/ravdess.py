"""A small RAVDESS as released: five actors who speak all emotions once; the three files of one performance for some of them."""

from pathlib import Path

import numpy as np
from media_factory import write_media, write_wave

from corpus_trees.acting import FPS, act_pictures, act_voice

ACTORS = ("01", "02", "03", "04", "05")
NUM_EMOTIONS = 8
NUM_IMAGES = 6
DURATION_S = NUM_IMAGES / FPS
RATE_HZ = 48000


def make_tree(folder: Path) -> Path:
    """Actor folders with spoken .mp4 files; Actor_01 has the video-only and audio-only files and a song beside them."""
    for number, actor in enumerate(ACTORS):
        of_actor = folder / f"Actor_{actor}"
        of_actor.mkdir(parents=True)
        for place in range(NUM_EMOTIONS):
            clip = number * NUM_EMOTIONS + place
            name = f"{place + 1:02d}-01-01-01-{actor}"
            write_video(of_actor / f"01-01-{name}.mp4", place, clip)
            if number == 0 and place < 2:
                write_video(of_actor / f"02-01-{name}.mp4", place, clip, has_sound=False)
                write_sound(of_actor / f"03-01-{name}.wav", place, clip)
                write_video(of_actor / f"01-02-{name}.mp4", place, 100 + clip)
    return folder


def write_video(path: Path, place: int, number: int, *, has_sound: bool = True) -> Path:
    """H.264 pictures, with AAC sound or without sound."""
    sound = act_voice(place, number, DURATION_S, RATE_HZ) if has_sound else None
    pictures = act_pictures(place, number, NUM_IMAGES, NUM_EMOTIONS)
    return write_media(path, pictures, sound, fps=FPS, rate_hz=RATE_HZ, video_options={"preset": "ultrafast"})


def write_sound(path: Path, place: int, number: int) -> Path:
    """48 kHz PCM."""
    return write_wave(path, (act_voice(place, number, DURATION_S, RATE_HZ).T * 32767).astype(np.int16), RATE_HZ)
