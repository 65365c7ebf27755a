"""A synthetic corpus laid out as MER2023 is released, to rehearse the challenge on clips that anyone may have.

<out>/mer2023/train/ test1/ test2/ test3/, train-label.csv test1-label.csv test2-label.csv test3-label.csv, transcription.csv
"""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import write_text
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.corpora.synthetic.corpus import list_rows
from mer_ray.corpora.synthetic.latents import Latents

TREE_FOLDER = "mer2023"
# Of every twenty clips of a speaker: our choice. test3 also holds the unlabelled clips.
SPLIT_OF_TWENTY = ("train",) * 12 + ("test1",) * 4 + ("test2",) * 2 + ("test3",) * 2


def write_mer2023_tree(config: SynthConfig, latents: Latents) -> None:
    """Link (or copy) every clip that has a file to its split's folder, and write the label files and the transcripts.

    Labels of all splits are there, so that a rehearsal can be scored; whole speakers go to one split.
    """
    root = config.out / TREE_FOLDER
    rows = [row for row in list_rows(config, latents) if row["path"] is not None]
    speakers = list(dict.fromkeys(row["speaker_id"] for row in rows))
    split_of = {speaker: SPLIT_OF_TWENTY[(20 * number // len(speakers) * 7) % 20] for number, speaker in enumerate(speakers)}
    labelled: dict[str, list[dict[str, Any]]] = {split: [] for split in dict.fromkeys(SPLIT_OF_TWENTY)}
    for row in rows:
        split = split_of[row["speaker_id"]] if row["emotion"] is not None else "test3"
        if row["emotion"] is not None:
            labelled[split].append(row)
        _link(config.out / row["path"], root / split / Path(row["path"]).name)
    for split, found in labelled.items():
        columns = ("name", "discrete") if split == "test3" else ("name", "discrete", "valence")
        cells = [{"name": row["clip_id"], "discrete": row["emotion"], "valence": row["valence"]} for row in found]
        write_text(root / f"{split}-label.csv", _csv_text(columns, cells))
    sentences = [{"name": row["clip_id"], "sentence": row["text"]} for row in rows if row["text"] is not None]
    write_text(root / "transcription.csv", _csv_text(("name", "sentence"), sentences))


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Not every file system has hard links.
        shutil.copyfile(source, target)


def _csv_text(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
