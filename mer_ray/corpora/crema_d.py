"""The `crema_d` corpus: Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., 2014), English, 91 actors, 7,442 clips.

AudioWAV/<clip>.wav  VideoFlash/<clip>.flv   one of them may be absent
VideoDemographics.csv                        ActorID, Sex, ...
processedResults/tabulatedVotes.csv          votes of raters who heard, saw, or heard and saw each clip

Layout, broken clips and licence: the README of the release. AudioWAV alone, or its files without the folder, is a corpus too.
"""

import posixpath
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import model_validator

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts, resolve_path
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.corpus_files import name_some, rows_to_table
from mer_ray.corpora.crema_d_labels import CLASSES, PerceivedLabel, PerceivedLabels, Rated, read_sexes, read_vavl, read_votes
from mer_ray.corpora.crema_d_names import ALLOWED, BROKEN, SHARED_SOUND, ClipName, read_name
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.git_lfs import refuse_pointers
from mer_ray.corpora.listing import Listed, list_files
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts

# Folder -> what its files are and how their names end.
FOLDERS = {"AudioWAV": ("audio_path", ".wav"), "VideoFlash": ("video_path", ".flv")}
DEMOGRAPHICS = "VideoDemographics.csv"
VOTES = "processedResults/tabulatedVotes.csv"
# A copy of the .flv of that name in the release's mirror on GitLab.
MIRROR_EXTRA = "VideoFlash/1015_DFA_ANG_XX.mp4"
NUM_CLIPS = 7442
VAVL_NUM_CLIPS = 5820
LICENCE = "ODbL 1.0 (database), DbCL 1.0 (contents)"
LFS_ADVICE = (
    "fetch the media with `git lfs pull` in the clone (a zip of the repository never holds them), or for sound alone "
    "`git lfs pull --include 'AudioWAV/*'` and leave VideoFlash out"
)


class CremaDCorpusConfig(CorpusConfig):
    """The folder that holds `AudioWAV/` and `VideoFlash/`, or one of the two, or their files; local or `s3://`.

    `labels`: `acted` is the emotion in the file name; `perceived` are the shares of the raters' votes as a soft label, and the
    emotion with most votes, none where two have most; `vavl` are the soft labels and splits of a table of VAVL (`labels_csv`),
    whose clips alone are taken. `rated`: what the raters of `perceived` got. No splits but with `vavl`: use folds, e.g.
    `folds: {name: stratified, num_folds: 5}`, or `hicmae_folds: true`: the five folds of HiCMAE, in the order of actors.
    """

    name: Literal["crema_d"] = "crema_d"
    path: Place = where_or_how_fast(min_length=1)
    labels: Literal["acted", "perceived", "vavl"] = "acted"
    rated: Rated = "audio_visual"
    labels_csv: Place | None = where_or_how_fast(None, min_length=1)
    hicmae_folds: bool = False

    @model_validator(mode="after")
    def _options_fit_the_labels(self) -> Self:
        if (self.labels == "vavl") != (self.labels_csv is not None):
            raise ValueError("labels: vavl and labels_csv go together: the path of VAVL's table")
        if self.rated != "audio_visual" and self.labels != "perceived":
            raise ValueError(f"rated: only labels: perceived are of raters; labels: {self.labels}")
        return self

    def places(self) -> tuple[str, ...]:
        """The folder, and the table of labels that lies elsewhere."""
        return (self.path,) if self.labels_csv is None else (self.path, self.labels_csv)

    def build(self) -> "CremaDCorpus":
        """The corpus; its files are listed at the first use."""
        return CremaDCorpus(self)


@dataclass
class _Files:
    """Files of one clip by column; `row`: place of the first one in the listing."""

    row: int
    name: ClipName
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def first(self, column: str) -> str | None:
        return next(iter(self.found.get(column, ())), None)


class CremaDCorpus(Corpus):
    """Clips by file name; the twelve sentences are spoken with every emotion, so `text` stays unknown, as in EmoDB."""

    def __init__(self, config: CremaDCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """Six classes."""
        return ManifestFacts(corpus="crema_d", classes=CLASSES, root=self.root, licence=LICENCE)

    def scan(self) -> Scan:
        """List the folders and read the labels; other names, and clips without a label, are faults."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        listed = list_files(self.root)
        faults: list[Fault] = []
        clips = self._find_clips(listed, faults)
        for column in ("audio_path", "video_path"):
            refuse_pointers(self.root, [path for path in (clip.first(column) for clip in clips.values()) if path][:1], LFS_ADVICE)
        notes = self._count_notes(clips)
        labels = self._read_labels(listed)
        if labels is not None:
            faults += labels.faults
        sexes = self._read_sexes(listed, {clip.name.actor for clip in clips.values()}, notes)
        kept = self._keep(clips, labels, faults, notes)
        if labels is not None and self.config.labels == "vavl":
            notes += self._vavl_notes(clips, labels)
        rows = [self._row(clip_id, clip, labels.labels[clip_id] if labels is not None else None, sexes) for clip_id, clip in kept.items()]
        return Scan(rows_to_table(rows), [clip.row for clip in kept.values()], faults, notes=notes)

    def _find_clips(self, listed: Sequence[Listed], faults: list[Fault]) -> dict[str, _Files]:
        """Files by clip, in the order of ids; what is no clip is a fault."""
        has_folders = any(item.path.split("/")[0] in FOLDERS for item in listed)
        clips: dict[str, _Files] = {}
        for row, item in enumerate(listed, start=1):
            place = _place(item.path, has_folders)
            if place is None or item.path == MIRROR_EXTRA:
                continue
            column, suffix, file = place
            stem, end = posixpath.splitext(file)
            name = read_name(stem) if end.lower() == suffix else None
            if item.problem is not None or name is None:
                faults.append(
                    Fault(
                        row,
                        None if item.is_closed_folder else stem,
                        column,
                        f"{item.path!r} {item.problem or 'is no file of CREMA-D'}",
                        ALLOWED,
                    )
                )
                continue
            clips.setdefault(name.clip_id, _Files(row, name)).found[column].append(item.path)
        if not clips and not faults:
            raise ManifestError(f"{self.root}: no .wav or .flv file; `path` is the folder of CREMA-D that holds AudioWAV/ and VideoFlash/")
        return dict(sorted(clips.items()))

    def _count_notes(self, clips: dict[str, _Files]) -> list[str]:
        found = {folder: sum(column in clip.found for clip in clips.values()) for folder, (column, _) in FOLDERS.items()}
        notes = compare_counts("crema_d", found, dict.fromkeys(FOLDERS, NUM_CLIPS))
        for folder, (column, _) in FOLDERS.items():
            lacking = [clip_id for clip_id, clip in clips.items() if column not in clip.found]
            if 0 < len(lacking) < len(clips):
                notes.append(f"{len(lacking)} clips have no file in {folder} and go without it: {name_some(lacking)}")
        return notes

    def _read_labels(self, listed: Sequence[Listed]) -> PerceivedLabels | None:
        if self.config.labels_csv is not None:
            return read_vavl(self.config.labels_csv)
        if self.config.labels == "acted":
            return None
        if not _is_there(VOTES, listed):
            raise ManifestError(
                f"{self.root}: labels: perceived needs {VOTES} in it, from the release on GitHub (its mirror on GitLab lacks the table); "
                "add it, or take labels: acted"
            )
        return read_votes(resolve_path(self.root, VOTES), self.config.rated)

    def _read_sexes(self, listed: Sequence[Listed], actors: Set[str], notes: list[str]) -> dict[str, str]:
        if not _is_there(DEMOGRAPHICS, listed):
            notes.append(f"no {DEMOGRAPHICS} in {self.root}: sex stays unknown")
            return {}
        sexes = read_sexes(resolve_path(self.root, DEMOGRAPHICS))
        if lacking := actors - sexes.keys():
            notes.append(f"{DEMOGRAPHICS} tells no sex of {len(lacking)} actors: {name_some(lacking)}")
        return sexes

    def _keep(self, clips: dict[str, _Files], labels: PerceivedLabels | None, faults: list[Fault], notes: list[str]) -> dict[str, _Files]:
        """Clips that show what they should, have one file of a kind and a label."""
        kept = {}
        for clip_id, clip in clips.items():
            twice = {column: paths for column, paths in clip.found.items() if len(paths) > 1}
            faults += [
                Fault(clip.row, clip_id, column, f"{' and '.join(paths)} are one clip", "one file for a clip")
                for column, paths in twice.items()
            ]
            if clip_id in BROKEN:
                notes.append(f"{clip_id} is left out: {BROKEN[clip_id]} (README of the release)")
            elif clip_id in SHARED_SOUND and "video_path" not in clip.found:
                other = SHARED_SOUND[clip_id]
                notes.append(f"{clip_id} is left out: its sound is the same file as that of {other}, and there is no video to take it from")
            elif not twice and (labels is None or clip_id in labels.labels):
                kept[clip_id] = clip
            elif not twice and self.config.labels == "perceived":
                faults.append(Fault(clip.row, clip_id, "emotion_probs", f"{VOTES} has no votes for it", "votes for every clip"))
        shared = [clip_id for clip_id in kept if clip_id in SHARED_SOUND]
        if shared:
            notes.append(f"{len(shared)} clips take the sound of their videos, AudioWAV has one recording for two: {name_some(shared)}")
        return kept

    def _vavl_notes(self, clips: dict[str, _Files], labels: PerceivedLabels) -> list[str]:
        notes = compare_counts("VAVL's part of crema_d", {"its table": len(labels.labels)}, {"its table": VAVL_NUM_CLIPS})
        for names, what in (
            (clips.keys() - labels.labels.keys(), f"are not in {self.config.labels_csv} and left out"),
            (labels.labels.keys() - clips.keys(), f"of {self.config.labels_csv} have no file here"),
        ):
            if names:
                notes.append(f"{len(names)} clips {what}: {name_some(names)}")
        return notes

    def _row(self, clip_id: str, clip: _Files, label: PerceivedLabel | None, sexes: dict[str, str]) -> dict[str, Any]:
        name = clip.name
        # The sound of the video, where AudioWAV holds one recording under two names.
        has_own_sound = clip_id not in SHARED_SOUND
        return {
            "clip_id": clip_id,
            "path": None if has_own_sound else clip.first("video_path"),
            "audio_path": clip.first("audio_path") if has_own_sound else None,
            "video_path": clip.first("video_path") if has_own_sound else None,
            "speaker_id": name.actor,
            "sex": sexes.get(name.actor),
            "language": "en",
            "split": label.split if label is not None else None,
            "fold": name.hicmae_fold if self.config.hicmae_folds else None,
            "emotion": name.emotion if label is None else label.emotion,
            "emotion_probs": label.shares if label is not None else None,
        }


def _place(path: str, has_folders: bool) -> tuple[str, str, str] | None:
    """Column, suffix and file name below its folder; None for what lies beside the media."""
    folder, _, file = path.partition("/")
    if folder in FOLDERS:
        return (*FOLDERS[folder], file)
    end = posixpath.splitext(path)[1].lower()
    flat = {suffix: column for column, suffix in FOLDERS.values()}
    if has_folders or file or end not in flat:
        return None
    return flat[end], end, path


def _is_there(path: str, listed: Sequence[Listed]) -> bool:
    return any(item.path == path and item.problem is None for item in listed)
