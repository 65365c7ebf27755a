"""`features/<model>-UTT|FRA/<name>.npy` of a MERTools folder: which folders there are, what made them, and one file as an array.

Shapes: T frames, D feature dimension.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO, Literal

import numpy as np

from mer_ray.core.errors import ManifestError
from mer_ray.core.media_types import FloatArray, Modality

Kind = Literal["UTT", "FRA"]

# What numpy raises for a damaged header, which it parses as Python.
HEADER_FAULTS = (ValueError, SyntaxError, TypeError, TokenError)

# `chinese-hubert-large-UTT`, and `manet_UTT` as the older scripts write it.
_FOLDER_NAME = re.compile(r"(?P<model>.+)[-_](?P<kind>UTT|FRA)")

# The models of MERTools by what they read: WHOLE_AUDIO, WHOLE_IMAGE and WHOLE_TEXT of MER2024/toolkit/globals.py, and temonet of
# MER2023/feature_extraction/visual/extract_emonet_embedding.py.
_AUDIO_MODELS = """
chinese-hubert-base chinese-hubert-large chinese-wav2vec2-base chinese-wav2vec2-large wav2vec2-base-960h wav2vec2-large-960h
wavlm-base wavlm-large whisper-base whisper-large-v2 data2vec-audio-base-960h data2vec-audio-large IS09 IS10 IS13 eGeMAPS
wav2vec-large-z wav2vec-large-c vggish emotion2vec
"""
_VISION_MODELS = """
clip-vit-base-patch32 clip-vit-large-patch14 data2vec-vision-base-ft1k videomae-base videomae-large eva02_base_patch14_224
manet emonet temonet resnet50face senet50face msceleb imagenet videomae-base-K400-mer2023-299 videomae-base-VoxCeleb2-99
dinov2-large
"""
_TEXT_MODELS = """
bert-base-cased bert-large-cased bert-base-uncased bert-large-uncased albert-base-v2 albert-large-v2 albert-xxlarge-v2
roberta-base roberta-large electra-base-discriminator electra-large-discriminator xlnet-base-cased xlnet-large-cased t5-base
t5-large deberta-base deberta-large deberta-v2-xlarge deberta-v2-xxlarge bert-base-chinese chinese-roberta-wwm-ext
chinese-roberta-wwm-ext-large deberta-chinese-large chinese-electra-180g-small chinese-electra-180g-base
chinese-electra-180g-large chinese-xlnet-base chinese-macbert-base chinese-macbert-large chinese-pert-base chinese-pert-large
chinese-lert-small chinese-lert-base chinese-lert-large gpt2-chinese-cluecorpussmall taiyi-clip-roberta-chinese
wenzhong2-gpt2-chinese albert_chinese_tiny albert_chinese_small simbert-base-chinese paraphrase-multilingual-mpnet-base-v2
llama-7b-hf llama-13b-hf llama-2-7b Llama-2-13b-hf vicuna-7b-v0 stable-vicuna-13b chinese-alpaca-2-13b moss-base-7b
stablelm-base-alpha-7b-v2 bloom-7b1 chatglm2-6b falcon-7b Baichuan-7B Baichuan-13B-Base Baichuan2-7B-Base Baichuan2-13B-Base
opt-13b
"""
MODELS: Mapping[Modality, frozenset[str]] = {
    "audio": frozenset(_AUDIO_MODELS.split()),
    "vision": frozenset(_VISION_MODELS.split()),
    "text": frozenset(_TEXT_MODELS.split()),
}


@dataclass(frozen=True)
class FeatureFolder:
    """One folder of features: `kind` UTT has a vector per clip, FRA a vector per frame."""

    path: Path
    model: str
    kind: Kind

    @property
    def name(self) -> str:
        """The folder's name, e.g. `chinese-hubert-large-UTT`."""
        return self.path.name

    def modality(self) -> Modality | None:
        """What a model of MERTools reads, also with what MERTools adds to its name (`-4`, `-noise10`, `-langeng`); None for others."""
        known = {name: modality for modality, names in MODELS.items() for name in names}
        fitting = [name for name in known if self.model == name or self.model.startswith(f"{name}-")]
        return known[max(fitting, key=len)] if fitting else None


def list_feature_folders(root: Path) -> list[FeatureFolder]:
    """The feature folders of a MERTools folder, by name.

    Raises:
        ManifestError: there are none.

    """
    parent = root / "features"
    names = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir()) if parent.is_dir() else []
    matches = [(name, match) for name in names if (match := _FOLDER_NAME.fullmatch(name))]
    if not matches:
        found = f"it holds {', '.join(names[:10])}" if names else "it is empty or not there"
        raise ManifestError(f"{parent}: no folder <model>-UTT or <model>-FRA ({found}); extract features with MERTools, or copy them there")
    kinds: dict[str, Kind] = {"UTT": "UTT", "FRA": "FRA"}
    return [FeatureFolder(parent / name, match["model"], kinds[match["kind"]]) for name, match in matches]


def read_feature(path: Path, kind: Kind) -> FloatArray:
    """One file as float32: (D,) of a UTT folder, (T, D) of a FRA folder. Axes of length 1 are dropped or added, as MERTools does.

    Raises:
        ManifestError: the file is damaged, holds objects (which are never unpickled) or whole numbers, or has another shape.
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        values = _read_floats(file)
    num_axes = 1 if kind == "UTT" else 2
    shape = values.shape
    if values.ndim > num_axes:
        values = np.squeeze(values)
    if values.ndim < num_axes:
        values = values.reshape(1, -1) if kind == "FRA" else values.reshape(-1)
    if values.ndim != num_axes or values.size == 0:
        expected = "(D,), one vector" if kind == "UTT" else "(T, D), a vector per frame"
        raise ManifestError(f"has shape {shape}; a file of a {kind} folder holds {expected}")
    # A value that float32 cannot hold is found by the check of what can be stored.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _read_floats(file: BinaryIO) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    """The array of a .npy file, if it is exactly what its header promises: a damaged header must not ask for terabytes."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ManifestError(f"is a .npy file of version {version}; numpy writes features as (1, 0)")
        shape, is_fortran, dtype = readers[version](file)
    except HEADER_FAULTS as error:
        raise ManifestError(f"is not a .npy file: {' '.join(str(error).split())[:200]}") from error
    if not np.issubdtype(dtype, np.floating):
        raise ManifestError(f"holds {dtype}; features are float16, float32 or float64")
    start = file.tell()
    num_bytes = file.seek(0, os.SEEK_END) - start
    if min(shape, default=0) < 0 or num_bytes != math.prod(shape) * dtype.itemsize:
        raise ManifestError(f"holds {num_bytes} bytes of values, but its header says {shape} of {dtype}; copy the file again")
    file.seek(start)
    values = np.frombuffer(file.read(num_bytes), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")
