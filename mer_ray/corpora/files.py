"""The `files` corpus: every media file below a folder or an `s3://` prefix is an unlabelled clip."""

import posixpath
from functools import cached_property
from typing import Literal

from pydantic import Field

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, CorpusName, Scan, choose_corpus_name, manifest_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.listing import list_files
from mer_ray.corpora.paths import absolute_root, name_of

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".flv")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".oga", ".opus")
# Media that the decoders do not open: reported, so that nobody misses these clips unawares.
OTHER_MEDIA_SUFFIXES = (".mpg", ".mpeg", ".wmv", ".ts", ".vob", ".aac", ".wma", ".amr", ".aiff", ".aif")


class FilesCorpusConfig(CorpusConfig):
    """A folder, local or `s3://`, with media files in it and below it; hidden ones are left out.

    `clip_id` is the path below the folder without its suffix. `suffixes`: which files are clips. `corpus_name`: default
    the folder's name. `split`: of all clips.
    """

    name: Literal["files"] = "files"
    path: Place = where_or_how_fast(min_length=1)
    corpus_name: CorpusName | None = None
    suffixes: tuple[str, ...] = Field((*VIDEO_SUFFIXES, *AUDIO_SUFFIXES), min_length=1)
    split: str = Field("unlabelled", min_length=1)

    def build(self) -> "FilesCorpus":
        """The corpus; the folder is listed at the first use."""
        return FilesCorpus(self)


class FilesCorpus(Corpus):
    """Media files as unlabelled clips."""

    def __init__(self, config: FilesCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """No classes: the clips are unlabelled."""
        return ManifestFacts(corpus=choose_corpus_name(self.config.corpus_name, name_of(self.root)), classes=(), root=self.root)

    def scan(self) -> Scan:
        """List the folder; an id that two files share is a fault of the validation."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        suffixes = {suffix.lower() for suffix in self.config.suffixes}
        allowed = f"files ending in {', '.join(self.config.suffixes)}"
        paths, row_numbers, faults = [], [], []
        for number, item in enumerate(list_files(self.root), start=1):
            clip_id, suffix = posixpath.splitext(item.path)
            if item.is_closed_folder:
                faults.append(Fault(number, None, "path", f"{item.path!r} {item.problem}", "folders; or the corpus `table`"))
            elif item.problem is not None and suffix.lower() in suffixes:
                faults.append(Fault(number, None, "path", f"{item.path!r} {item.problem}", "names in UTF-8"))
            elif suffix.lower() in suffixes:
                paths.append(item.path)
                row_numbers.append(number)
            elif suffix.lower() in OTHER_MEDIA_SUFFIXES and "suffixes" not in self.config.model_fields_set:
                faults.append(Fault(number, clip_id, "path", f"{item.path!r} is of a kind that is not read", f"{allowed}; convert it"))
        if not paths and not faults:
            raise ManifestError(f"{self.root}: no media file below it; allowed: {allowed}")
        columns = {
            "clip_id": [posixpath.splitext(path)[0] for path in paths],
            "path": paths,
            "split": [self.config.split] * len(paths),
        }
        return Scan(manifest_table(columns, len(paths)), row_numbers, faults)
