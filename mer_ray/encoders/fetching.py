"""The files that an encoder needs, copied into one folder, for nodes without network."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import digest_file, write_json
from mer_ray.core.config import digest_of
from mer_ray.core.errors import EncoderError
from mer_ray.core.faces import DetectedFaces
from mer_ray.encoders import EncoderConfig, PluginEncoderConfig
from mer_ray.encoders._cross_fit import FACTS_FILE, HEAD_FILE, is_cross_fit, read_cross_fit
from mer_ray.encoders._pretrained import PretrainedEncoderConfig
from mer_ray.encoders._weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD_FILE, CONFIG_FILE, INDEX_PATTERN, weight_files

LISTING_FILE = "fetched.json"


@dataclass(frozen=True)
class Need:
    """Files behind the key `place` of a config: a folder of several, or one file; `given` is what the config says."""

    place: tuple[str, ...]
    given: str
    files: tuple[Path, ...]
    is_folder: bool

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files)

    def name_of(self, file: Path) -> str:
        """What the copy is called: with the folder between, where files of a folder lie deeper than its first."""
        return file.relative_to(self.files[0].parent).as_posix() if self.is_folder and self.place[-1:] == ("adapter",) else file.name


@dataclass(frozen=True)
class Fetched:
    """A need and where its copy lies: `path` is what a config may say instead. `num_copied` files were not there before."""

    need: Need
    path: Path
    num_copied: int


def list_needs(config: EncoderConfig) -> list[Need]:
    """All files that an encoder reads, downloaded where they come from the hub; none for encoders without weights.

    Raises:
        EncoderError: files are missing, or the hub does not answer.

    """
    if isinstance(config, PluginEncoderConfig):
        inner = [replace(need, place=("config", *need.place)) for need in list_needs(config.loaded_encoder)]
        return [_need_file(("file",), config.file), *inner]
    needs = []
    if isinstance(config, PretrainedEncoderConfig):
        needs.append(need_folder(("weights",), config.weights, config.folder(), (CONFIG_FILE, *config.companions)))
        if config.adapter is not None:
            needs.append(_need_adapter(config.adapter))
    elif isinstance(weights := getattr(config, "weights", None), Path):
        needs.append(_need_file(("weights",), weights))
    if isinstance(faces := getattr(config, "faces", None), DetectedFaces):
        faces.digest()
        needs.append(_need_file(("faces", "weights"), faces.weights))
    return needs


def _need_adapter(folder: Path) -> Need:
    if not is_cross_fit(folder):
        return need_folder(("adapter",), str(folder), folder, (ADAPTER_CONFIG,))
    beside = [
        folder / name / file for name in sorted(read_cross_fit(folder).files) for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, HEAD_FILE)
    ]
    return Need(("adapter",), str(folder), (folder / FACTS_FILE, *beside), is_folder=True)


def need_folder(place: tuple[str, ...], given: str, folder: Path, companions: tuple[str, ...]) -> Need:
    """The tensors of a folder with what must lie beside them, and the model card, which names the licence.

    Raises:
        EncoderError: there are no tensors.

    """
    beside = {file for name in (*companions, CARD_FILE, INDEX_PATTERN) for file in folder.glob(name)}
    tensors = weight_files(folder)
    if not tensors:
        raise EncoderError(f"{place[-1]} {given}: {folder} holds no tensors; give a folder that save_pretrained() wrote")
    return Need(place, given, (*sorted(beside), *tensors), is_folder=True)


def fetch_need(need: Need, to: Path) -> Fetched:
    """Copy what is not there yet to `to`/<name>-<digest>, each file whole or not at all, and list it in `fetched.json`.

    Raises:
        EncoderError: a copy is not what was copied.

    """
    names = {file: need.name_of(file) for file in need.files}
    digests = {name: digest_file(file) for file, name in names.items()}
    last_parts = "--".join(Path(need.given).parts[-2:] if not Path(need.given).is_absolute() else Path(need.given).parts[-1:])
    name = re.sub(r"[^\w.-]+", "_", last_parts).strip("._-") or "weights"
    folder = to.absolute() / f"{name}-{digest_of(digests)[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    num_copied = sum([_copy(file, folder / name, digests[name]) for file, name in names.items()])
    files = {name: {"sha256": digests[name], "bytes": file.stat().st_size} for file, name in names.items()}
    write_json(folder / LISTING_FILE, {"given": need.given, "files": files})
    return Fetched(need, folder if need.is_folder else folder / need.files[0].name, num_copied)


def replace_paths(data: dict[str, Any], fetched: list[Fetched]) -> dict[str, Any]:
    """A config's data with the copies' places in place of the old ones."""
    replaced = data
    for item in fetched:
        replaced = _with_value(replaced, item.need.place, str(item.path))
    return replaced


def _with_value(data: dict[str, Any], place: Sequence[str], value: str) -> dict[str, Any]:
    key, *rest = place
    return {**data, key: _with_value(data[key], rest, value) if rest else value}


def _need_file(place: tuple[str, ...], path: Path) -> Need:
    if not path.is_file():
        raise EncoderError(f"{'.'.join(place)}: no such file {path}; download it from where `mer-ray encoders` says")
    return Need(place, str(path), (path,), is_folder=False)


def _copy(source: Path, target: Path, digest: str) -> bool:
    """Whether there was something to copy."""
    if target.is_file() and target.stat().st_size == source.stat().st_size and digest_file(target) == digest:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        if digest_file(temporary) != digest:
            raise EncoderError(f"{target}: the copy differs from {source}; check the disk and run again")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return True
