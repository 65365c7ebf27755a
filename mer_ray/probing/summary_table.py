"""probe.json -> what the command line prints."""

import json
from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.core.table import Table
from mer_ray.probing.config import ProbeConfig

NUM_SHOWN = 15


def ranking_table(config: ProbeConfig, facts: dict[str, Any]) -> Table:
    """The first candidates, chance beside them, and what to do next."""
    metric = facts["metric"]
    others = [name for name in ("weighted_f1", "uar", *(f"{value}_ccc" for value in facts["values"])) if name != metric]
    shown = facts["entries"][:NUM_SHOWN]
    rows = []
    for place, one in enumerate(shown, start=1):
        row: list[Any] = [place, one["name"], one["layer"], one["pooling"], one["dim"], one["scores"][metric], _bounds(one["interval"])]
        row += [_level(place, one["is_level"]), *(one["scores"].get(name) for name in others)]
        rows.append(tuple(row))
    chance = facts["chance"]
    rows.append((None, "chance", None, None, None, chance.get(metric), None, None, *(chance.get(name) for name in others)))
    columns = ("", "encoder", "layer", "pooling", "dim", metric, "95 % interval", "level with the best", *others)
    return Table("Which layer?", columns, tuple(rows), _notes(config, facts))


def _level(place: int, is_level: bool | None) -> str | None:
    if place == 1 or is_level is None:
        return None
    return "yes" if is_level else "no"


def _bounds(pair: list[float] | tuple[float, float] | None) -> str | None:
    return None if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"


def _notes(config: ProbeConfig, facts: dict[str, Any]) -> tuple[str, ...]:
    entries = facts["entries"]
    who = "clips (not all speakers are known)" if facts["num_speakers"] is None else say_count(facts["num_speakers"], "speaker")
    folds = f"{facts['num_folds']} folds{' made here' if facts['folds_are_new'] else ''}: {facts['folds']}"
    num_level = sum(bool(one["is_level"]) for one in entries[1:])
    return (
        f"{say_count(len(entries), 'candidate')}, {say_count(facts['num_clips'], 'labelled clip')}; {folds}; intervals draw {who} anew",
        f"{num_level} of the next {min(len(entries), NUM_SHOWN) - 1} are level with the best: the interval of their distance holds 0",
        "The best of many is flattered by being chosen on these clips; a training on held-out clips tells how good it is",
        *facts["notes"],
        f"{config.page_out}: heat maps; {config.out / 'ranking.csv'}: all candidates; {config.out / 'probe.json'}: all facts",
        f"{config.train_out}: a training of the first {say_count(len(facts['top']), 'layer')}; run it with mer-ray train "
        f"{json.dumps(str(config.train_out)) if ' ' in str(config.train_out) else config.train_out}",
    )
