"""The `mer2023` corpus: MER2023 as released (Lian et al., 2023): Chinese clips in four folders.

train/ test1/ test2/ test3/                                  <name>.mp4 or <name>.avi
train-label.csv test1-label.csv test2-label.csv              name,discrete,valence
test3-label.csv                                              name,discrete; a column valence may be there
transcription.csv                                            name,sentence; may be absent

test1 is the track MULTI, test2 NOISE, test3 SEMI. Layout: MERTools, toolkit/preprocess/mer2023.py.
"""

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import CorpusConfig, Scan
from mer_ray.corpora.mer_corpus import MerCorpus
from mer_ray.corpora.mer_folder import list_videos
from mer_ray.corpora.mer_releases import MER2023, MER2023_NUM_UNLABELLED
from mer_ray.corpora.mer_transcripts import read_transcripts
from mer_ray.corpora.mer_videos import MerVideos, VideoPart

TRAIN = "train"
# The tracks MULTI, NOISE and SEMI.
TESTS = ("test1", "test2", "test3")
# Its folder holds the unlabelled clips too.
SEMI = "test3"
TRANSCRIPT_FILE = "transcription.csv"


class Mer2023CorpusConfig(CorpusConfig):
    """The folder that holds `train/` and `train-label.csv`, local or `s3://`.

    Splits: train; test1 (MULTI), test2 (NOISE), test3 (SEMI); unlabelled. In test3/ lie the labelled clips of SEMI and those for
    semi-supervised learning: with `test3-label.csv` the clips that it names are test3 and the others unlabelled; without it all
    are test3. A test folder without its label file, as before labels were published, gives test clips without labels. Folds for
    cross-validation: `folds: {name: stratified, splits: [train]}`. `splits`: those to take, default all.
    """

    name: Literal["mer2023"] = "mer2023"
    splits: tuple[Literal["train", "test1", "test2", "test3", "unlabelled"], ...] | None = Field(None, min_length=1)

    def build(self) -> "Mer2023Corpus":
        """The corpus; its files are read at the first use."""
        return Mer2023Corpus(self)


class Mer2023Corpus(MerCorpus):
    """Four folders of videos; a training video without a label is a fault too."""

    def __init__(self, config: Mer2023CorpusConfig) -> None:
        super().__init__(config.path, MER2023)
        self.config = config

    def _read(self, names: Collection[str]) -> Scan:
        missing = [name for name in (TRAIN, _label_file(TRAIN)) if name not in names]
        if missing:
            raise ManifestError(
                f"{self.root}: no {' and no '.join(missing)} in it; `path` is the folder of MER2023 that holds train/ and "
                "train-label.csv; a folder that MERTools has processed is the corpus {name: mertools}"
            )
        videos = MerVideos(self.root, self.config.splits)
        for split in (TRAIN, *TESTS):
            is_labelled = _label_file(split) in names
            rest = _rest_of(split, is_labelled)
            if not videos.wants(split, rest or split):
                continue
            folder = list_videos(self.root, split) if split in names else None
            if folder is None:
                videos.notes.append(f"no {split}/: its clips are left out" + (f", and {_label_file(split)}" if is_labelled else ""))
                continue
            videos.add_part(VideoPart(folder, {_label_file(split): split} if is_labelled else {}, rest=rest))
        if TRANSCRIPT_FILE in names:
            videos.add_transcripts(read_transcripts(f"{self.root}/{TRANSCRIPT_FILE}", "chinese"), "chinese")
        published = dict(MER2023.splits)
        if _label_file(SEMI) in names:
            published["unlabelled"] = MER2023_NUM_UNLABELLED
        else:
            published[SEMI] += MER2023_NUM_UNLABELLED
        videos.note_counts(MER2023, published)
        return videos.scan()


def _label_file(split: str) -> str:
    return f"{split}-label.csv"


def _rest_of(split: str, is_labelled: bool) -> str | None:
    """The split of clips without a label: test clips can be predicted without one, training clips are of no use."""
    if split == TRAIN:
        return None
    return "unlabelled" if split == SEMI and is_labelled else split
