"""The first layers of a ranking -> a config of `train`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer_ray.core.config import dump_plain
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.ranking import Entry
from mer_ray.training.config import TrainConfig


def choose_top(entries: Sequence[Entry], top: int, per: str) -> list[Entry]:
    """The first `top` layers, of all or of each modality; a layer counts once, with its best pooling."""
    chosen: dict[tuple[str, str], Entry] = {}
    counts: Counter[str] = Counter()
    for entry in entries:
        place = entry.modality if per == "modality" else "all"
        if (entry.encoder, entry.layer) not in chosen and counts[place] < top:
            chosen[entry.encoder, entry.layer] = entry
            counts[place] += 1
    return list(chosen.values())


def train_data(
    config: ProbeConfig, manifest: Path, chosen: Sequence[Entry], clean_keys: Sequence[str], values: Sequence[str]
) -> dict[str, Any]:
    """A training of these layers over the same folds: an input per encoder, in the order of the ranking.

    `clean_keys`: all encoders of clean media in the store, whose names are written where they are enough.

    Layers of one encoder are concatenated in depth order, pooled as the best of them.
    """
    inputs: list[dict[str, Any]] = []
    for key in dict.fromkeys(entry.encoder for entry in chosen):
        own = [entry for entry in chosen if entry.encoder == key]
        is_plain = [one for one in clean_keys if one.partition("@")[0] == own[0].name] == [key]
        inputs.append(
            {
                "encoder": own[0].name if is_plain else key,
                "layers": [entry.layer for entry in sorted(own, key=lambda entry: entry.number)],
                "statistics": own[0].pooling.split("+"),
                **({} if is_plain else {"stream": key}),
            }
        )
    data = {
        "manifest": str(manifest),
        "store": config.store,
        "out": str(config.out / "run"),
        "inputs": inputs,
        "values": list(values),
        "protocol": {"name": "folds"} | ({} if config.test_folds is None else {"test_folds": config.test_folds}),
    }
    TrainConfig.model_validate(data)
    return data


def train_text(data: dict[str, Any], comment: str) -> str:
    """As YAML, with a line on where it comes from."""
    return f"# {comment}\n{dump_plain(data)}"
