"""A small CREMA-D as released: five actors, one of each fold of HiCMAE, all emotions, ties, two of the broken clips."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media_factory import write_media, write_wave

from corpus_trees.acting import FPS, RATE_HZ, act_pictures, act_voice

ACTORS = {"1001": "Male", "1019": "Male", "1037": "Female", "1064": "Male", "1076": "Female"}
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
LETTERS = "ADFHNS"
BROKEN = ("1064_IEO_DIS_MD", "1076_MTI_SAD_XX")
STIMULI = ("voice", "face", "audio_visual")
NUM_VOTES = 10
NUM_IMAGES = 6
DURATION_S = NUM_IMAGES / FPS
# Flash knows MP3 at a few rates only.
FLASH_RATE_HZ = 22050
MEANS = [f"mean{name}Resp{kind}" for kind in ("", "Norm") for name in ("Emo", "Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")]
VOTE_HEADER = ("", *LETTERS, "fileName", "numResponses", "agreement", "emoVote", *MEANS)


@dataclass(frozen=True)
class Acted:
    """One clip; where `is_tied`, raters who heard and saw it chose its emotion as often as the next one."""

    name: str
    number: int
    is_tied: bool = False

    @property
    def actor(self) -> str:
        return self.name[:4]

    @property
    def place(self) -> int:
        return EMOTIONS.index(self.name.split("_")[2])

    def votes(self, stimulus: str) -> list[int]:
        """Sound alone is heard as neutral by four of ten; all other votes go to the emotion and the one after it."""
        if stimulus == "audio_visual" and self.is_tied:
            counts = {self.place: 5, (self.place + 1) % len(LETTERS): 5}
        elif stimulus == "voice":
            counts = {self.place: 6}
            counts[EMOTIONS.index("NEU")] = counts.get(EMOTIONS.index("NEU"), 0) + 4
        else:
            counts = {self.place: 8, (self.place + 1) % len(LETTERS): 2}
        return [counts.get(place, 0) for place in range(len(LETTERS))]


def acted_clips() -> list[Acted]:
    """Of each actor one clip of each emotion and one on which the raters are divided; then the broken ones."""
    names = [(f"{actor}_DFA_{emotion}_XX", False) for actor in ACTORS for emotion in EMOTIONS]
    names += [(f"{actor}_IEO_ANG_{level}", True) for actor, level in zip(ACTORS, ("LO", "MD", "HI", "LO", "MD"), strict=True)]
    names += [(name, False) for name in BROKEN]
    return [Acted(name, number, is_tied) for number, (name, is_tied) in enumerate(names)]


def make_tree(folder: Path, clips: Sequence[Acted] | None = None) -> Path:
    """AudioWAV, VideoFlash, demographics and votes."""
    clips = acted_clips() if clips is None else clips
    for name in ("AudioWAV", "VideoFlash", "processedResults"):
        (folder / name).mkdir(parents=True)
    for clip in clips:
        write_sound(folder / "AudioWAV" / f"{clip.name}.wav", clip)
        write_flash(folder / "VideoFlash" / f"{clip.name}.flv", clip)
    people = [(actor, 30, sex, "Caucasian", "Not Hispanic") for actor, sex in ACTORS.items()]
    write_rows(folder / "VideoDemographics.csv", ("ActorID", "Age", "Sex", "Race", "Ethnicity"), people)
    write_votes(folder / "processedResults" / "tabulatedVotes.csv", clips)
    return folder


def write_sound(path: Path, clip: Acted) -> Path:
    """16 kHz PCM."""
    return write_wave(path, (act_voice(clip.place, clip.number, DURATION_S).T * 32767).astype(np.int16), RATE_HZ)


def write_flash(path: Path, clip: Acted) -> Path:
    """Sorenson pictures and MP3 sound."""
    pictures = act_pictures(clip.place, clip.number, NUM_IMAGES, len(EMOTIONS))
    sound = act_voice(clip.place, clip.number, DURATION_S, FLASH_RATE_HZ)
    return write_media(path, pictures, sound, fps=FPS, rate_hz=FLASH_RATE_HZ, video_codec="flv", audio_codec="libmp3lame")


def write_votes(path: Path, clips: Sequence[Acted]) -> None:
    """The release's table: a row per clip and stimulus; the name of a row is 100,000 times the stimulus and the clip's number."""
    rows = []
    for stimulus_number, stimulus in enumerate(STIMULI, start=1):
        for clip_number, clip in enumerate(clips, start=1):
            votes = clip.votes(stimulus)
            most = [letter for letter, count in zip(LETTERS, votes, strict=True) if count == max(votes)]
            counts = (NUM_VOTES, max(votes) / NUM_VOTES, ":".join(most))
            rows.append((f"{stimulus_number}{clip_number:05d}", *votes, clip.name, *counts, *(-1 for _ in MEANS)))
    write_rows(path, VOTE_HEADER, rows)


def write_vavl_table(path: Path, clips: Sequence[Acted]) -> Path:
    """The table of VAVL: the first three actors train, the fourth is development, the fifth test."""
    splits = dict(zip(ACTORS, ("Train", "Train", "Train", "Development", "Test"), strict=True))
    rows = []
    for clip in clips:
        share = dict(zip(EMOTIONS, [count / NUM_VOTES for count in clip.votes("audio_visual")], strict=True))
        shares = [share[emotion] for emotion in ("ANG", "SAD", "DIS", "FEA", "NEU", "HAP")]
        rows.append((f"{clip.name}.wav", *shares, clip.actor, ACTORS[clip.actor], splits[clip.actor]))
    write_rows(path, ["FileName", "angry", "sad", "disgust", "fear", "neutral", "happy", "SpkrID", "Gender", "Split_Set"], rows)
    return path


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV that quotes words, as R writes it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
