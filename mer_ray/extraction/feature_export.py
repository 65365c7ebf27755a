"""`mer-ray export --features`: one layer of a store's encoder as files for other tools: MERTools' .npy, or a Hugging Face dataset."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mer_ray.core.config import Config, Place, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import read_manifest
from mer_ray.core.progress import Bar, track
from mer_ray.core.table import Table
from mer_ray.extraction.dataset_folder import write_dataset
from mer_ray.extraction.layer_source import LayerSource
from mer_ray.store.layout import open_store


class ExportConfig(Config):
    """Which layer of which encoder goes to which folder, in whose format.

    `layer` may be left out where the encoder has one. `sequences`: also the frames, where the store keeps them. A folder that is
    there already stays as it is, and the export is refused, unless `replace` says that it goes.
    """

    features: Literal["mertools", "datasets"]
    manifest: Path = where_or_how_fast()
    store: Place = where_or_how_fast()
    encoder: str
    layer: str | None = None
    sequences: bool = True
    out: Path = where_or_how_fast()
    replace: bool = where_or_how_fast(False)


@dataclass(frozen=True)
class ExportSummary:
    """Folders that were written, clips in them, and clips left out because the store has no current features of them."""

    folders: tuple[Path, ...]
    num_clips: int
    left_out: dict[str, int]

    def tables(self) -> list[Table]:
        """What the command line prints."""
        rows = tuple((str(folder), self.num_clips) for folder in self.folders)
        notes = tuple(f"{count} clips left out: {reason}" for reason, count in self.left_out.items() if count)
        return [Table("Exported features", ("folder", "clips"), rows, notes)]


def export_features(config: ExportConfig) -> ExportSummary:
    """Write the features of all clips that have some; a folder appears whole or not at all.

    Raises:
        ConfigError: no such layer, several and none named, or a folder that is there already.
        ManifestError, StoreError: the manifest or the store cannot be read, or it has no features of these clips.

    """
    source = LayerSource(open_store(config.store), read_manifest(config.manifest), config.encoder, config.layer, config.sequences)
    with track("export", len(source.clip_ids)) as bar:
        if config.features == "mertools":
            folders = _write_npy(source, config.out / "features", config.replace, bar)
        else:
            folders = (config.out,)
            with _new_folder(config.out, config.replace) as folder:
                write_dataset(source, folder, bar)
    return ExportSummary(folders, len(source.clip_ids), source.left_out)


def _write_npy(source: LayerSource, parent: Path, replace: bool, bar: Bar) -> tuple[Path, ...]:
    """`<encoder>-UTT/<clip>.npy` (D,) and, where frames are kept, `<encoder>-FRA/<clip>.npy` (T, D), float32."""
    unfit = [clip_id for clip_id in source.clip_ids if clip_id != os.path.basename(clip_id) or clip_id.startswith(".")]
    if unfit:
        raise ConfigError(
            f"features: mertools names files after clips, which {len(unfit)} clip_ids cannot (one is {unfit[0]!r}); use features=datasets"
        )
    kinds = ["UTT", "FRA"] if source.has_frames else ["UTT"]
    model, sign = source.record.name, "-"
    imported = re.fullmatch(r"(.+)([-_])(UTT|FRA)", model)
    if imported:
        # What came from MERTools goes back as it came; its other kind may be another encoder of the store.
        model, sign, kind = imported.groups()
        kinds = [kind] if kind in kinds else kinds
    if len(source.record.layers) > 1:
        # As MERTools names layers: chinese-macbert-large-4-UTT.
        model = f"{model}-{source.layer}"
    folders = {kind: parent / f"{model}{sign}{kind}" for kind in kinds}
    with ExitStack() as stack:
        temporary = {kind: stack.enter_context(_new_folder(folder, replace)) for kind, folder in folders.items()}
        for item in source.read(source.clip_ids):
            for kind, folder in temporary.items():
                values = item.mean_D if kind == "UTT" else item.frames_TD
                assert values is not None
                np.save(folder / f"{item.clip_id}.npy", values)
            bar.advance()
    return tuple(folders.values())


@contextmanager
def _new_folder(folder: Path, replace: bool) -> Iterator[Path]:
    """A temporary folder beside it, which takes its place after the block, and goes after an exception.

    Raises:
        ConfigError: the folder is there and holds something, and may not be replaced.

    """
    if not replace and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"out: {folder} is there already and is not replaced; choose another `out`, or set replace=true")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        yield temporary
        # mkdtemp lets nobody else in.
        temporary.chmod(0o755)
        if replace and folder.is_dir():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
