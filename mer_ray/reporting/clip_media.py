"""Small copies of clips in a folder beside the report, so that they play in the page; copies that are there already stay."""

import os
import urllib.parse
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from mer_ray.core.artefacts import num_cores, write_json
from mer_ray.core.config import digest_of
from mer_ray.core.errors import ManifestError, MerRayError, RunError
from mer_ray.core.manifest import Manifest, read_manifest
from mer_ray.core.media_types import Clip
from mer_ray.core.progress import track
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.preview import PREVIEW_VERSION, Preview, write_preview
from mer_ray.decoders.remote import stamp_file
from mer_ray.reporting.runs import Run

INDEX = "mer-ray-copies.json"
SUFFIXES = (".mp4", ".jpg", ".m4a")
NO_MEDIA = "This clip has no sound and no pictures."


@dataclass(frozen=True)
class Copy:
    """One line of the index: what the copy was made of, and what it is; None while it is made."""

    source: str
    preview: Preview | None


def media_folder(page: Path) -> Path:
    """`<stem>_media` beside the page."""
    return page.with_name(f"{page.stem}_media")


def with_media(clips: Mapping[str, Any], runs: Iterable[Run], folder: Path) -> dict[str, Any]:
    """The clips of `clip_cards` and `media_notes`, `folder` (None without copies), per card `text`, `media` and `note`, why there is none.

    `media` holds `src` and `still` (None for sound alone), relative to the page, `width`, `height`, `duration_s`, `is_cut`.
    """
    found, notes = _find_clips(clips["cards"], runs)
    copies, faults = copy_clips({slug: clip for slug, clip in found.items() if _has_media(clip)}, folder)
    cards = []
    for card in clips["cards"]:
        clip, preview = found.get(card["slug"]), copies.get(card["slug"])
        note = faults.get(card["slug"], None if preview else NO_MEDIA)
        if clip is None:
            note = "No manifest of these runs has this clip." if not notes else "Not to be played: see above."
        cards.append({**card, "text": clip and clip.text, "media": preview and _media(preview, folder), "note": note})
    return {**clips, "folder": folder.name if copies else None, "media_notes": notes, "cards": cards}


def _has_media(clip: Clip) -> bool:
    return any((clip.path, clip.audio_path, clip.video_path))


def _media(preview: Preview, folder: Path) -> dict[str, Any]:
    address = {name: _address(folder, file) for name, file in (("src", preview.file), ("still", preview.still))}
    return {**address, **{name: getattr(preview, name) for name in ("width", "height", "duration_s", "is_cut")}}


def _address(folder: Path, file: str | None) -> str | None:
    return file and urllib.parse.quote(f"{folder.name}/{file}")


def _find_clips(cards: Iterable[Mapping[str, Any]], runs: Iterable[Run]) -> tuple[dict[str, Clip], list[str]]:
    """By slug the cards' clips, from the manifests that the configs of their runs name, and why a manifest cannot be read."""
    slugs = {(card["corpus"], card["clip_id"]): card["slug"] for card in cards}
    places = dict.fromkeys((run.facts["corpus"], run.config.get("manifest")) for run in runs)
    found: dict[str, Clip] = {}
    notes = []
    for corpus, path in places:
        if not isinstance(path, str):
            notes.append(f"The clips of {corpus} cannot be played: the run's config names no manifest.")
            continue
        try:
            manifest = read_manifest(Path(path))
        except ManifestError as error:
            notes.append(f"The clips of {corpus} cannot be played: {error}")
            continue
        ids = [clip_id for of_corpus, clip_id in slugs if of_corpus == corpus]
        table = manifest.table.filter(pc.is_in(manifest.table["clip_id"], pa.array(ids, pa.string())))
        for clip in Manifest(table, manifest.facts).clips():
            found.setdefault(slugs[corpus, clip.clip_id], clip)
    return found, list(dict.fromkeys(notes))


def copy_clips(clips: Mapping[str, Clip], folder: Path) -> tuple[dict[str, Preview], dict[str, str]]:
    """Copies of all clips (by slug) in the folder, made where they are missing or older than their source, and why some are not.

    Copies of earlier reports that are not wanted any more go, by the folder's index; files of others stay.

    Raises:
        RunError: the folder's name is taken by a file.

    """
    before = _read_index(folder)
    if not clips and not before:
        return {}, {}
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file where the copies of the clips go; move it, choose another --out, or leave them out: --media none")
    folder.mkdir(parents=True, exist_ok=True)
    # Listed before they are made, so that a report that was killed leaves nothing that the next one does not know.
    planned = {**before, **{slug: before.get(slug, Copy("", None)) for slug in clips}}
    if planned != before:
        _write_index(folder, planned)
    after, faults = _copy_all(clips, before, folder)
    for slug in {*before, *clips}:
        _remove_others(folder, slug, after.get(slug))
    if after != planned:
        _write_index(folder, after)
    if not after:
        (folder / INDEX).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    return {slug: copy.preview for slug, copy in after.items() if copy.preview is not None}, faults


def _copy_all(clips: Mapping[str, Clip], before: Mapping[str, Copy], folder: Path) -> tuple[dict[str, Copy], dict[str, str]]:
    copies: dict[str, Copy] = {}
    faults: dict[str, str] = {}
    with track("copy", len(clips), "clips") as bar, ThreadPoolExecutor(num_cores()) as pool:
        jobs: dict[Future[Copy], str] = {pool.submit(_copy, clip, folder / slug, before.get(slug)): slug for slug, clip in clips.items()}
        for job in as_completed(jobs):
            try:
                copies[jobs[job]] = job.result()
            except MerRayError as error:
                # The page says why: a report is not refused for a clip that cannot be played.
                faults[jobs[job]] = str(error)
            bar.advance()
    return {slug: copies[slug] for slug in clips if slug in copies}, faults


def _copy(clip: Clip, stem: Path, before: Copy | None) -> Copy:
    paths = [path for path in dict.fromkeys((clip.path, clip.audio_path, clip.video_path)) if path is not None]
    source = digest_of([PREVIEW_VERSION, [[path, stamp_file(path)] for path in paths], clip.start_s, clip.end_s])
    if before is not None and before.source == source and before.preview is not None and _is_whole(stem.parent, before.preview):
        return before
    return Copy(source, write_preview(clip, stem, MediaLimits()))


def _files(preview: Preview | None) -> list[str]:
    return [] if preview is None else [file for file in (preview.file, preview.still) if file is not None]


def _is_whole(folder: Path, preview: Preview) -> bool:
    return all((folder / file).is_file() for file in _files(preview))


def _remove_others(folder: Path, slug: str, copy: Copy | None) -> None:
    kept = _files(copy.preview if copy else None)
    for suffix in SUFFIXES:
        if f"{slug}{suffix}" not in kept:
            (folder / f"{slug}{suffix}").unlink(missing_ok=True)


def _read_index(folder: Path) -> dict[str, Copy]:
    """The copies that earlier reports made; none where the index is missing or not ours: then nothing in the folder is removed."""
    try:
        text = (folder / INDEX).read_text(encoding="utf-8")
        index = TypeAdapter(dict[str, Copy]).validate_json(text)
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, ValidationError):
        return {}
    return index if all(os.path.basename(slug) == slug for slug in index) else {}


def _write_index(folder: Path, copies: Mapping[str, Copy]) -> None:
    write_json(folder / INDEX, {slug: asdict(copy) for slug, copy in copies.items()})
