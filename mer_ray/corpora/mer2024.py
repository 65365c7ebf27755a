"""The `mer2024` corpus: MER2024 as released (Lian et al., 2024).

video-labeled/<name>.*                      5,030 videos
label-disdim.csv                            name,discrete; a column valence may be there
video-unlabeled-with-test2noise/<name>.*    the test clips of SEMI and NOISE among all that carry no label
label-transcription.csv                     name,chinese,english of the labelled videos; may be absent

Layout: MERTools, MER2024/toolkit/preprocess/mer2024.py and main-asr.py. Not verified on the release: how many videos are
unlabelled, so their number is not checked, and that valence runs from -5 to 5 as in MER2023.
"""

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import CorpusConfig, Scan
from mer_ray.corpora.mer_corpus import MerCorpus
from mer_ray.corpora.mer_folder import list_videos
from mer_ray.corpora.mer_releases import MER2024
from mer_ray.corpora.mer_transcripts import TranscriptLanguage, read_transcripts
from mer_ray.corpora.mer_videos import MerVideos, VideoPart

LABELLED_FOLDER = "video-labeled"
UNLABELLED_FOLDER = "video-unlabeled-with-test2noise"
LABEL_FILE = "label-disdim.csv"
TRANSCRIPT_FILE = "label-transcription.csv"


class Mer2024CorpusConfig(CorpusConfig):
    """The folder that holds `video-labeled/` and `label-disdim.csv`, local or `s3://`.

    Splits: train (labelled) and unlabelled, which holds the test clips of SEMI and NOISE: the challenge's list of candidates says at
    submission which to predict. `splits`: those to take, default all. `language`: of the transcripts. Folds:
    `folds: {name: stratified, splits: [train]}`.
    """

    name: Literal["mer2024"] = "mer2024"
    splits: tuple[Literal["train", "unlabelled"], ...] | None = Field(None, min_length=1)
    language: TranscriptLanguage = "chinese"

    def build(self) -> "Mer2024Corpus":
        """The corpus; its files are read at the first use."""
        return Mer2024Corpus(self)


class Mer2024Corpus(MerCorpus):
    """A labelled folder, whose videos must have a label, and an unlabelled one."""

    def __init__(self, config: Mer2024CorpusConfig) -> None:
        super().__init__(config.path, MER2024)
        self.config = config

    def _read(self, names: Collection[str]) -> Scan:
        labelled = list_videos(self.root, LABELLED_FOLDER)
        if labelled is None or LABEL_FILE not in names:
            missing = LABEL_FILE if labelled else f"{LABELLED_FOLDER}/"
            raise ManifestError(
                f"{self.root}: no {missing} in it; `path` is the folder of MER2024 that holds {LABELLED_FOLDER}/ and {LABEL_FILE}; "
                "a folder that MERTools has processed is the corpus {name: mertools}"
            )
        videos = MerVideos(self.root, self.config.splits)
        if videos.wants("train"):
            videos.add_part(VideoPart(labelled, {LABEL_FILE: "train"}))
        if videos.wants("unlabelled"):
            unlabelled = list_videos(self.root, UNLABELLED_FOLDER)
            if unlabelled is None:
                videos.notes.append(f"no {UNLABELLED_FOLDER}/: its clips are left out")
            else:
                videos.add_part(VideoPart(unlabelled, rest="unlabelled"))
        if TRANSCRIPT_FILE in names:
            videos.add_transcripts(read_transcripts(f"{self.root}/{TRANSCRIPT_FILE}", self.config.language), self.config.language)
        videos.note_counts(MER2024)
        return videos.scan()
