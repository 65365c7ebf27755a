"""The `ravdess` corpus: Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone and Russo, 2018), English, 24 actors.

Actor_01/01-01-03-02-01-01-01.mp4: modality - channel - emotion - intensity - statement - repetition - actor.

Names, counts and licence: https://zenodo.org/records/1188976. Names say all, so any folders, or none, will do.
"""

import posixpath
import re
from collections import Counter, defaultdict
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.corpus_files import rows_to_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.files import AUDIO_SUFFIXES, OTHER_MEDIA_SUFFIXES, VIDEO_SUFFIXES
from mer_ray.corpora.listing import Listed, list_files
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts

Modality = Literal["audio_visual", "video_only", "audio_only"]
Channel = Literal["speech", "song"]

MODALITIES: dict[str, Modality] = {"01": "audio_visual", "02": "video_only", "03": "audio_only"}
CHANNELS: dict[str, Channel] = {"01": "speech", "02": "song"}
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
CLASSES = tuple(EMOTIONS.values())
# Nobody sings disgusted or surprised.
NUM_SONG_CLASSES = 6
# Of each modality: 60 performances of 24 actors spoken, 44 of 23 sung (Actor 18 does not sing).
NUM_CLIPS: dict[Channel, int] = {"speech": 1440, "song": 1012}
COLUMNS: dict[Modality, str] = {"audio_visual": "path", "video_only": "video_path", "audio_only": "audio_path"}
SUFFIXES: dict[Modality, str] = {"audio_visual": ".mp4", "video_only": ".mp4", "audio_only": ".wav"}
LICENCE = "CC BY-NC-SA 4.0: no commercial use without a licence of its authors"
_STEM = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-0[12]-0[12]-0[12]-(0[1-9]|1\d|2[0-4])")
_ALLOWED = (
    "names like 01-01-03-02-01-01-01.mp4: modality (01, 02: .mp4; 03: .wav), channel (01, 02), emotion (01 to 08), intensity, statement, "
    "repetition (01, 02), actor (01 to 24)"
)


def _differ(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    if len(set(channels)) < len(channels):
        raise ValueError("a channel is listed twice")
    return channels


class RavdessCorpusConfig(CorpusConfig):
    """The folder that holds `Actor_01/` and so on, local or `s3://`. All clips are labelled and have no split: use folds.

    The release has three files of one performance, with sound and pictures, without sound, and without pictures; `modality` says
    which one is the clip. `channels`: spoken, sung, or both.
    """

    name: Literal["ravdess"] = "ravdess"
    path: Place = where_or_how_fast(min_length=1)
    channels: Annotated[tuple[Channel, ...], AfterValidator(_differ)] = Field(("speech",), min_length=1)
    modality: Modality = "audio_visual"

    def build(self) -> "RavdessCorpus":
        """The corpus; the folder is listed at the first use."""
        return RavdessCorpus(self)


class RavdessCorpus(Corpus):
    """Actor and emotion come from the file names; the two sentences carry no emotion, so `text` stays unknown, as in EmoDB."""

    def __init__(self, config: RavdessCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """Eight classes in the order of their codes; six where all clips are sung."""
        classes = CLASSES if "speech" in self.config.channels else CLASSES[:NUM_SONG_CLASSES]
        return ManifestFacts(corpus="ravdess", classes=classes, root=self.root, licence=LICENCE)

    def scan(self) -> Scan:
        """List the folder; media of other names are faults."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        """Files by name: a name in two folders is a fault, because nobody knows which is meant."""
        chosen: dict[str, list[tuple[int, str]]] = defaultdict(list)
        others: Counter[tuple[Modality, Channel]] = Counter()
        faults = []
        for row, item in enumerate(list_files(self.root), start=1):
            stem, suffix = posixpath.splitext(posixpath.basename(item.path))
            if not item.is_closed_folder and suffix.lower() not in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, *OTHER_MEDIA_SUFFIXES):
                continue
            match = _STEM.fullmatch(stem)
            if item.problem is not None or match is None or suffix.lower() != SUFFIXES[MODALITIES[match[1]]]:
                faults.append(_strange(row, stem, item))
                continue
            modality, channel = MODALITIES[match[1]], CHANNELS[match[2]]
            if modality == self.config.modality and channel in self.config.channels:
                chosen[stem].append((row, item.path))
            else:
                others[modality, channel] += 1
        if not chosen and not faults:
            raise ManifestError(self._nothing_found(others))
        rows, row_numbers = [], []
        for stem, files in sorted(chosen.items()):
            row, path = files[0]
            if len(files) > 1:
                what = f"lies twice: {' and '.join(path for _, path in files)}"
                faults.append(Fault(row, stem, "path", what, "one file of a name; give `path` the folder of one copy"))
                continue
            row_numbers.append(row)
            rows.append(self._row(stem, path))
        found: dict[str, int] = Counter(CHANNELS[stem.split("-")[1]] for stem in chosen)
        published: dict[str, int] = {channel: NUM_CLIPS[channel] for channel in self.config.channels}
        notes = compare_counts(f"ravdess ({self.config.modality})", found, published)
        return Scan(rows_to_table(rows), row_numbers, faults, notes=notes)

    def _row(self, stem: str, path: str) -> dict[str, Any]:
        _, _, emotion, _, _, _, actor = stem.split("-")
        return {
            "clip_id": stem,
            COLUMNS[self.config.modality]: path,
            "speaker_id": actor,
            "sex": "male" if int(actor) % 2 else "female",
            "language": "en",
            "emotion": EMOTIONS[emotion],
        }

    def _nothing_found(self, others: Counter[tuple[Modality, Channel]]) -> str:
        wanted = f"{self.root}: no {self.config.modality} file of {' or '.join(self.config.channels)} below it"
        if not others:
            return f"{wanted}; `path` is the folder of RAVDESS that holds Actor_01/ and so on; {_ALLOWED}"
        here = ", ".join(f"{count} {modality} of {channel}" for (modality, channel), count in sorted(others.items()))
        (modality, channel), _ = others.most_common(1)[0]
        return f"{wanted}; here are {here}; set `modality: {modality}` and `channels: [{channel}]`, or download the others"


def _strange(row: int, stem: str, item: Listed) -> Fault:
    clip_id = None if item.is_closed_folder else stem
    return Fault(row, clip_id, "path", f"{item.path!r} {item.problem or 'is no file of RAVDESS'}", _ALLOWED)
