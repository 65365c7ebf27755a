"""Weights in a local folder or on the Hugging Face hub: found, named by their content, never run as code."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from mer_ray.core.config import digest_of
from mer_ray.core.errors import EncoderError

CONFIG_FILES = ("config.json", "preprocessor_config.json")
CARD_FILE = "README.md"
SAFE_PATTERN = "*.safetensors"
# Checkpoints from before safetensors; torch reads them with weights_only, which runs no code of theirs.
LEGACY_PATTERN = "pytorch_model*.bin"


def find_weights(weights: str, revision: str | None) -> Path:
    """The local folder of `weights`: a folder as it is, a hub id (`owner/model`) after its download.

    Raises:
        EncoderError: no such folder or model, no network, or files are missing; it says what to do.

    """
    local = Path(weights).expanduser()
    folder = local if local.is_dir() else _download(weights, revision)
    missing = [name for name in CONFIG_FILES if not (folder / name).is_file()]
    if not weight_files(folder):
        missing.append(SAFE_PATTERN)
    if missing:
        raise EncoderError(
            f"weights {weights}: {folder} lacks {', '.join(missing)}; "
            "save the model and its feature extractor there with save_pretrained(), or download all files"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files that hold tensors: safetensors, or legacy checkpoints where there are none."""
    return sorted(folder.glob(SAFE_PATTERN)) or sorted(folder.glob(LEGACY_PATTERN))


def digest_weights(folder: Path) -> str:
    """The sha256 (hex) of all files that decide the features, whatever folder they lie in."""
    files = [*(folder / name for name in CONFIG_FILES), *weight_files(folder)]
    return digest_of({file.name: _digest_file(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files})


def read_licence(folder: Path) -> str:
    """The licence named in the model card; `unknown` where no card names one."""
    card = folder / CARD_FILE
    licence = huggingface_hub.ModelCard.load(card).data.to_dict().get("license") if card.is_file() else None
    return str(licence) if licence else "unknown"


@lru_cache(maxsize=64)
def _digest_file(file: Path, num_bytes: int, modified_ns: int) -> str:
    """The sha256 of a file; size and time belong to the key of the cache, so that a changed file is read again."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(weights: str, revision: str | None) -> Path:
    if weights.startswith(("/", ".", "~")) or weights.count("/") != 1 or "\\" in weights:
        raise EncoderError(
            f"weights {weights}: no such folder; "
            f"give a folder with {', '.join(CONFIG_FILES)} and {SAFE_PATTERN}, or a hub id like facebook/hubert-base-ls960"
        )
    try:
        folder = Path(
            huggingface_hub.snapshot_download(weights, revision=revision, allow_patterns=[*CONFIG_FILES, CARD_FILE, SAFE_PATTERN])
        )
        if not weight_files(folder):
            folder = Path(
                huggingface_hub.snapshot_download(weights, revision=revision, allow_patterns=[*CONFIG_FILES, CARD_FILE, LEGACY_PATTERN])
            )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
        raise EncoderError(
            f"weights {weights}: neither a local folder nor a model that could be downloaded from the hub{offline}: {reason}; "
            f"check the name and the network, or download it with `hf download {weights} --local-dir FOLDER` and set weights to FOLDER"
        ) from error
    return folder
