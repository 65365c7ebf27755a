"""The `mer2025` corpus: MER2025 as released for Track 1, MER-SEMI (Lian et al., 2025).

video/<name>.mp4                      132,171 videos, labelled or not
audio/<name>.wav                      their sound
openface_face/<name>/<name>.npy       their faces, (n, 112, 112, 3) BGR uint8 as in the earlier years
track1_train_disdim.csv               name,discrete,valence of 7,369 clips
track_all_candidates.csv              name of 20,000 clips, the test clips among them; what else it holds is no label
track1_test_dis.csv                   name,discrete of the test clips, where the organisers gave them
subtitle_chieng.csv                   name,chinese,english

Layout and counts: MERTools, MER2025/MER2025_Track1 (README.md, toolkit/preprocess/mer2025.py, evaluation.py,
toolkit/dataloader/mer2025.py); faces: MER2025_Track23/my_affectgpt/datasets. Not verified on the release: whether the archives
that hold video/, audio/ and openface_face/ unpack to exactly these folders, that valence runs from -5 to 5 as in MER2023, and the
shape of the faces. The files of tracks 2 and 3 are not read.
"""

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import CorpusConfig, Scan
from mer_ray.corpora.mer_corpus import MerCorpus
from mer_ray.corpora.mer_folder import list_names, list_videos
from mer_ray.corpora.mer_releases import MER2025, MER2025_NUM_VIDEOS
from mer_ray.corpora.mer_transcripts import TranscriptLanguage, read_transcripts
from mer_ray.corpora.mer_videos import MerVideos, VideoPart
from mer_ray.corpora.published_counts import compare_counts

VIDEO_FOLDER = "video"
AUDIO_FOLDER = "audio"
FACES_FOLDER = "openface_face"
LABEL_FILE = "track1_train_disdim.csv"
TEST_LABEL_FILE = "track1_test_dis.csv"
CANDIDATES_FILE = "track_all_candidates.csv"
TRANSCRIPT_FILE = "subtitle_chieng.csv"


class Mer2025CorpusConfig(CorpusConfig):
    """The folder that holds `video/` and `track1_train_disdim.csv`, local or `s3://`.

    Splits: train; candidates (those of which `track_all_candidates.csv` asks a prediction); test (candidates whose labels
    `track1_test_dis.csv` tells, where there is one); unlabelled. `splits`: those to take, default all. `language`: of the
    transcripts. Folds: `folds: {name: stratified, splits: [train]}`.
    """

    name: Literal["mer2025"] = "mer2025"
    splits: tuple[Literal["train", "candidates", "test", "unlabelled"], ...] | None = Field(None, min_length=1)
    language: TranscriptLanguage = "chinese"

    def build(self) -> "Mer2025Corpus":
        """The corpus; its files are read at the first use."""
        return Mer2025Corpus(self)


class Mer2025Corpus(MerCorpus):
    """Videos, sound and faces in folders of their own; a candidate without a video is a fault too."""

    def __init__(self, config: Mer2025CorpusConfig) -> None:
        super().__init__(config.path, MER2025)
        self.config = config

    def _read(self, names: Collection[str]) -> Scan:
        folder = list_videos(self.root, VIDEO_FOLDER)
        if folder is None or LABEL_FILE not in names:
            missing = LABEL_FILE if folder else f"{VIDEO_FOLDER}/"
            raise ManifestError(
                f"{self.root}: no {missing} in it; `path` is the folder of MER2025 that holds {VIDEO_FOLDER}/ and {LABEL_FILE}"
            )
        label_files = {LABEL_FILE: "train"} | ({TEST_LABEL_FILE: "test"} if TEST_LABEL_FILE in names else {})
        name_files = {CANDIDATES_FILE: "candidates"} if CANDIDATES_FILE in names else {}
        videos = MerVideos(self.root, self.config.splits)
        videos.add_part(VideoPart(folder, label_files, name_files, rest="unlabelled"))
        self._add_sound_and_faces(videos)
        if TRANSCRIPT_FILE in names:
            videos.add_transcripts(read_transcripts(f"{self.root}/{TRANSCRIPT_FILE}", self.config.language), self.config.language)
        # With labels of the tests some of the candidates are the split test.
        counts = {name: count for name, count in MER2025.splits.items() if name == "train" or TEST_LABEL_FILE not in names}
        videos.note_counts(MER2025, counts)
        videos.notes += compare_counts(MER2025.name, {f"{VIDEO_FOLDER}/": len(folder.files)}, {f"{VIDEO_FOLDER}/": MER2025_NUM_VIDEOS})
        return videos.scan()

    def _add_sound_and_faces(self, videos: MerVideos) -> None:
        sounds = frozenset(list_names(self.root, AUDIO_FOLDER) or ())
        faces = frozenset(list_names(self.root, FACES_FOLDER) or ())
        for clip_id in videos.clip_ids:
            sound = f"{clip_id}.wav"
            videos.columns["audio_path"].append(f"{AUDIO_FOLDER}/{sound}" if sound in sounds else None)
            videos.columns["faces_path"].append(f"{FACES_FOLDER}/{clip_id}/{clip_id}.npy" if clip_id in faces else None)
