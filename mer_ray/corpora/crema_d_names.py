"""File names of CREMA-D, and what its authors and a comparison of the release's files say of single clips."""

import re
from dataclasses import dataclass

# Codes in file names and in the columns of votes -> classes, in the order of the votes.
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
LEVELS = ("LO", "MD", "HI", "XX")
NUM_ACTORS = 91
FIRST_ACTOR = 1001

# README of the release: what the raters saw and heard is not what the name says.
BROKEN = {
    "1064_IEO_DIS_MD": "its video is one minute long and shows all emotions",
    "1064_TIE_SAD_XX": "its video has no duration",
    "1076_MTI_NEU_XX": "its video is very short and without sound",
    "1076_MTI_SAD_XX": "its video is one wrong picture without sound, its sound is empty",
}
# The release holds one recording under both names of a pair (equal checksums), its videos differ.
SHARED_SOUND = {
    first: second
    for pair in (
        ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
        ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
        ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
    )
    for first, second in (pair, pair[::-1])
}
ALLOWED = (
    f"names like 1001_IEO_NEU_XX: actor ({FIRST_ACTOR} to {FIRST_ACTOR + NUM_ACTORS - 1}), sentence ({', '.join(SENTENCES)}), "
    f"emotion ({', '.join(EMOTIONS)}), level ({', '.join(LEVELS)}); .wav in AudioWAV, .flv in VideoFlash"
)
# Copies from before 2022 hold 1040_ITH_SAD_X.wav.
_STEM = re.compile(rf"(10\d\d)_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_({'|'.join(LEVELS)}|X)")
# Actors in each of the five folds of HiCMAE but the last, which takes the rest.
_HICMAE_ACTORS, _HICMAE_FOLDS = 18, 5


@dataclass(frozen=True)
class ClipName:
    """What a stem says; the level XX is unspecified."""

    actor: str
    sentence: str
    emotion: str
    level: str

    @property
    def clip_id(self) -> str:
        """The stem as the release writes it."""
        code = next(code for code, name in EMOTIONS.items() if name == self.emotion)
        return f"{self.actor}_{self.sentence}_{code}_{self.level}"

    @property
    def hicmae_fold(self) -> int:
        """The fold in the order of actors, 18 in each and 19 in the last (HiCMAE, its `preprocess/creamd_av.py`)."""
        return min((int(self.actor) - FIRST_ACTOR) // _HICMAE_ACTORS, _HICMAE_FOLDS - 1)


def read_name(stem: str) -> ClipName | None:
    """The parts of a stem, None where it is no clip of CREMA-D."""
    match = _STEM.fullmatch(stem)
    if match is None or not FIRST_ACTOR <= int(match[1]) < FIRST_ACTOR + NUM_ACTORS:
        return None
    return ClipName(match[1], match[2], EMOTIONS[match[3]], "XX" if match[4] == "X" else match[4])
