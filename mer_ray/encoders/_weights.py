"""Weights in a local folder or on the Hugging Face hub: found, named by their content, never run as code."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import digest_of
from mer_ray.core.errors import EncoderError

CONFIG_FILE = "config.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CARD_FILE = "README.md"
SAFE_PATTERN = "*.safetensors"
SAFE_NAMES = ("model.safetensors", "model-*-of-*.safetensors")
# Checkpoints from before safetensors; torch reads them with weights_only, which runs no code of theirs.
LEGACY_PATTERN = "pytorch_model*.bin"
# Which of several files holds which tensor; transformers finds none without it.
INDEX_PATTERN = "*.index.json"
SHARD_MARK = "-of-0"


def find_weights(weights: str, revision: str | None, companions: Sequence[str]) -> Path:
    """The local folder of `weights`: a folder as it is, a hub id (`owner/model`) after its download.

    `companions` are files that must lie beside the tensors; one that holds `*` is a pattern of files that may.

    Raises:
        EncoderError: no such folder or model, no network, or files are missing; it says what to do.

    """
    local = Path(weights).expanduser()
    folder = local if local.is_dir() else _download(weights, revision, companions)
    missing = [name for name in companions if "*" not in name and not (folder / name).is_file()]
    tensors = weight_files(folder)
    if not tensors:
        missing.append(SAFE_PATTERN)
    elif all(SHARD_MARK in file.name for file in tensors) and not any(folder.glob(INDEX_PATTERN)):
        missing.append(INDEX_PATTERN)
    if missing:
        raise EncoderError(
            f"weights {weights}: {folder} lacks {', '.join(missing)}; "
            "save the model and what prepares its inputs there with save_pretrained(), or download all files"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files that hold tensors: safetensors under the names that transformers reads, others, or legacy checkpoints."""
    # Some repositories hold the same tensors in several types, under other names.
    named = [file for pattern in SAFE_NAMES for file in sorted(folder.glob(pattern))]
    return (named[:1] if named and SHARD_MARK not in named[0].name else named) or (
        sorted(folder.glob(SAFE_PATTERN)) or sorted(folder.glob(LEGACY_PATTERN))
    )


def digest_weights(folder: Path, companions: Sequence[str]) -> str:
    """The sha256 (hex) of all files that decide the features, whatever folder they lie in."""
    files = [*sorted({file for name in companions for file in folder.glob(name)}), *weight_files(folder)]
    return digest_of({file.name: digest_file(file) for file in files})


def read_licence(folder: Path) -> str:
    """The licence named in the model card; `unknown` where no card names one."""
    card = folder / CARD_FILE
    licence = huggingface_hub.ModelCard.load(card).data.to_dict().get("license") if card.is_file() else None
    return str(licence) if licence else "unknown"


@lru_cache(maxsize=64)
def _download(weights: str, revision: str | None, companions: Sequence[str]) -> Path:
    if weights.startswith(("/", ".", "~")) or weights.count("/") != 1 or "\\" in weights:
        raise EncoderError(
            f"weights {weights}: no such folder; "
            f"give a folder with {', '.join(companions)} and {SAFE_PATTERN}, or a hub id like facebook/hubert-base-ls960"
        )
    try:
        beside = [*companions, CARD_FILE, INDEX_PATTERN]
        folder = Path(huggingface_hub.snapshot_download(weights, revision=revision, allow_patterns=[*beside, *SAFE_NAMES]))
        if not weight_files(folder):
            folder = Path(huggingface_hub.snapshot_download(weights, revision=revision, allow_patterns=[*beside, LEGACY_PATTERN]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
        raise EncoderError(
            f"weights {weights}: neither a local folder nor a model that could be downloaded from the hub{offline}: {reason}; "
            f"check the name and the network, or download it with `hf download {weights} --local-dir FOLDER` and set weights to FOLDER"
        ) from error
    return folder
