"""`label-6way.npz` of a MERTools folder: names, emotions and valence of each split, read without running what it may hold."""

import io
import math
import os
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_ray.core.errors import ManifestError
from mer_ray.core.inert_pickle import UnreadablePickleError, load_inert_bytes
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.mertools_features import HEADER_FAULTS

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
VALENCE_RANGE = (-5.0, 5.0)
# What the challenge writes where nobody gave a valence.
UNKNOWN_VALENCE = -10.0
# MER2023 writes all four, MER2024 train and test1.
SPLITS = ("train", "test1", "test2", "test3")
# What file systems take, less a suffix.
MAX_NAME_BYTES = 240
# The labels of MER2023 take 0.2 MB; a file of zeros would unpack without end.
MAX_MEMBER_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Label:
    """One clip of the label file; `row` is its place from 1, None = unknown."""

    row: int
    name: str
    split: str
    emotion: str | None
    valence: float | None


@dataclass(frozen=True)
class Labels:
    """All clips in the file's order, what is wrong with entries, and splits that hold placeholders."""

    labels: list[Label]
    faults: list[Fault]
    unlabelled_splits: tuple[str, ...]


def read_labels(path: Path) -> Labels:
    """Read the labels of all splits.

    A test split in which every clip is neutral without a valence holds what MERTools writes "for convenience" before the
    labels are known (MER2023/main-baseline.py, normalize_dataset_format): its emotions are unknown.

    Raises:
        ManifestError: not such a file, or one that would run code when loaded.

    """
    corpora = {name.removesuffix("_corpus"): value for name, value in _read_members(path).items()}
    labels: list[Label] = []
    faults: list[Fault] = []
    unlabelled = []
    row = 0
    for split, entries in corpora.items():
        found: list[Label] = []
        for name, entry in entries.items():
            row += 1
            label = _read_entry(row, split, name, entry)
            if isinstance(label, Fault):
                faults.append(label)
            else:
                found.append(label)
        if split != "train" and found and all(label.emotion == "neutral" and label.valence is None for label in found):
            unlabelled.append(split)
            found = [replace(label, emotion=None) for label in found]
        labels += found
    return Labels(labels, faults, tuple(unlabelled))


def _read_entry(row: int, split: str, name: Any, entry: Any) -> Label | Fault:
    if not isinstance(name, str) or not isinstance(entry, dict) or not isinstance(entry.get("emo"), str):
        # Not the text of any other key, which may be as deep as it likes.
        key = repr(name) if isinstance(name, str | bytes | int) else f"a {type(name).__name__}"
        what = f"{split}_corpus: {key} has no entry {{'emo': name}}"
        return Fault(row, name if isinstance(name, str) else None, "emotion", what, f"one of {', '.join(CLASSES)}")
    if name != os.path.basename(name) or name.startswith(".") or not name.isprintable() or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        return Fault(row, ascii(name[:40])[1:-1], "clip_id", "cannot name a file", "names of files without folder and suffix")
    value = entry.get("val", UNKNOWN_VALENCE)
    if value is None or value == "":
        value = UNKNOWN_VALENCE
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return Fault(row, name, "valence", f"{type(value).__name__} is no number", f"a number, or {UNKNOWN_VALENCE:g} for unknown")
    try:
        valence = float(value)
    except OverflowError:
        valence = math.inf
    is_unknown = valence == UNKNOWN_VALENCE or math.isnan(valence)
    return Label(row, name, split, str(entry["emo"]), None if is_unknown else valence)


def _read_members(path: Path) -> dict[str, dict[Any, Any]]:
    wanted = [f"{split}_corpus.npy" for split in SPLITS]
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if wanted[0] not in sizes:
                raise ManifestError(
                    f"{path}: lacks {wanted[0]} (it holds {', '.join(sizes) or 'nothing'}); give the label file of MERTools"
                )
            large = next((name for name in wanted if sizes.get(name, 0) > MAX_MEMBER_BYTES), None)
            if large is not None:
                raise ManifestError(f"{path}: {large} unpacks to {sizes[large]} bytes; at most {MAX_MEMBER_BYTES} are read")
            # `read` stops at the size that the archive's own directory names.
            contents = {name.removesuffix(".npy"): archive.read(name) for name in wanted if name in sizes}
    # zipfile says RuntimeError of encrypted members and NotImplementedError of unknown compressions.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ManifestError(f"{path}: not a .npz file that can be read ({error}); copy it again") from error
    return {name: _unpack(path, name, content) for name, content in contents.items()}


def _unpack(path: Path, name: str, content: bytes) -> dict[Any, Any]:
    """One member: a .npy file whose only element is a dict, pickled."""
    where = f"{path}: {name}"
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ManifestError(f"{where}: has .npy version {version}, MERTools writes (1, 0); make the label file again")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except HEADER_FAULTS as error:
        raise ManifestError(f"{where}: not an array of numpy ({error}); copy the file again") from error
    if dtype != np.dtype(object) or shape != ():
        raise ManifestError(f"{where}: is an array {shape} of {dtype}, not a table of labels; give the label file of MERTools")
    try:
        value = load_inert_bytes(stream.read())
    except UnreadablePickleError as error:
        raise ManifestError(f"{where}: {error}") from error
    if isinstance(value, np.ndarray) and value.dtype == np.dtype(object) and value.shape == ():
        value = value.item()
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: holds {type(value).__name__} instead of a dict of names; give the label file of MERTools")
    return value
