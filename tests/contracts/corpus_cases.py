"""Every corpus of the package on a small tree of its layout, as released."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from corpus_trees import crema_d, emodb, iemocap, meld, mer, msp_improv, ravdess
from media_factory import write_wave

from mer_ray.core.plugins import plugins_allowed
from mer_ray.corpora import BaseCorpusConfig
from mer_ray.corpora.crema_d import CremaDCorpusConfig
from mer_ray.corpora.emodb import EmodbCorpusConfig
from mer_ray.corpora.files import FilesCorpusConfig
from mer_ray.corpora.iemocap import IemocapCorpusConfig
from mer_ray.corpora.joined import JoinedCorpusConfig
from mer_ray.corpora.meld import MeldCorpusConfig
from mer_ray.corpora.mer2023 import Mer2023CorpusConfig
from mer_ray.corpora.mer2024 import Mer2024CorpusConfig
from mer_ray.corpora.mer2025 import Mer2025CorpusConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.msp_improv import MspImprovCorpusConfig
from mer_ray.corpora.plugin import PluginCorpusConfig
from mer_ray.corpora.ravdess import RavdessCorpusConfig
from mer_ray.corpora.table import TableCorpusConfig
from mer_ray.encoders.contract_inputs import make_sound

SOUND_NAMES = ("anna_1_calm", "anna_2_cross", "bert_1_glad", "bert_2_calm")
PLUGIN = Path(__file__).parents[1] / "plugins" / "lab_corpus.py"


@dataclass(frozen=True)
class CorpusCase:
    """`make_config` writes the tree into a folder. Those with videos take seconds."""

    label: str
    make_config: Callable[[Path], BaseCorpusConfig]
    is_slow: bool = True


def make_sounds(folder: Path) -> Path:
    """Wav files of a laboratory, as the plug-in and the table name them."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(SOUND_NAMES):
        write_wave(folder / f"{name}.wav", (make_sound(0.4, 100 + 20 * seed, seed).samples[:, None] * 2**15).astype(np.int16))
    return folder


def _table(folder: Path) -> BaseCorpusConfig:
    names = sorted(path.stem for path in make_sounds(folder).glob("*.wav"))
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(("clip_id", "path", "speaker_id", "emotion", "valence"))
        rows.writerows((name, f"{name}.wav", name.split("_")[0], name.split("_")[2], 0.5) for name in names)
    return TableCorpusConfig(path=str(folder / "clips.csv"), value_ranges={"valence": (-1, 1)})


def _plugin(folder: Path) -> BaseCorpusConfig:
    make_sounds(folder / "sounds")
    with plugins_allowed():
        return PluginCorpusConfig.model_validate(
            {"file": shutil.copy(PLUGIN, folder), "class": "LabConfig", "config": {"path": str(folder / "sounds")}}
        )


def _joined(folder: Path) -> BaseCorpusConfig:
    members = [{"corpus": {"name": "table", "path": _table(folder / name).places()[0], "corpus_name": name}} for name in ("here", "there")]
    return JoinedCorpusConfig.model_validate({"corpus_name": "both", "members": members})


CORPUS_CASES = (
    CorpusCase("table", _table, is_slow=False),
    CorpusCase("files", lambda folder: FilesCorpusConfig(path=str(make_sounds(folder)), corpus_name="sounds"), is_slow=False),
    CorpusCase("plugin", _plugin, is_slow=False),
    CorpusCase("joined", _joined, is_slow=False),
    CorpusCase("emodb", lambda folder: EmodbCorpusConfig(path=str(emodb.make_tree(folder)))),
    CorpusCase("mertools", lambda folder: MertoolsCorpusConfig(path=str(mer.make_mer2023_processed_tree(folder, 1)))),
    CorpusCase("mer2023", lambda folder: Mer2023CorpusConfig(path=str(mer.make_mer2023_tree(folder, 1, 1)))),
    CorpusCase("mer2024", lambda folder: Mer2024CorpusConfig(path=str(mer.make_mer2024_tree(folder, 1, 2)))),
    CorpusCase("mer2025", lambda folder: Mer2025CorpusConfig(path=str(mer.make_mer2025_tree(folder, 1, 1, 1)))),
    CorpusCase("crema_d", lambda folder: CremaDCorpusConfig(path=str(crema_d.make_tree(folder)))),
    CorpusCase("ravdess", lambda folder: RavdessCorpusConfig(path=str(ravdess.make_tree(folder)))),
    CorpusCase("msp_improv", lambda folder: MspImprovCorpusConfig(path=str(msp_improv.make_tree(folder, 2)))),
    CorpusCase("meld", lambda folder: MeldCorpusConfig(path=str(meld.make_tree(folder)))),
    CorpusCase("iemocap", lambda folder: IemocapCorpusConfig(path=str(iemocap.make_tree(folder)))),
)
