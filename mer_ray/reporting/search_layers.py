"""Whether trials that read a layer of an encoder are better than those that do not."""

from statistics import fmean
from typing import Any

from mer_ray.reporting.search_trials import Trials
from mer_ray.reporting.words import format_number


def layers_of(facts: dict[str, Any], trials: Trials) -> list[dict[str, Any]]:
    """The encoders of which not all trials read the same layers, with a row per layer in order of depth.

    A row: mean scores of the complete trials that read this encoder `with` and `without` the layer (None: there are none), how many these
    are, and how many of the best trials read it.
    """
    found = []
    for name, encoder in facts["encoders"].items():
        choices = [record.inputs[name] for record in trials.finished if name in record.inputs]
        if len({frozenset(layers) for layers in choices}) < 2:
            continue
        seen = dict.fromkeys(layer for layers in choices for layer in layers)
        depth = {layer: place for place, layer in enumerate(encoder["layers"])}
        rows = [_row(name, layer, trials) for layer in sorted(seen, key=lambda layer: depth.get(layer, len(depth)))]
        answer = _answer(rows, trials)
        found.append({"encoder": name, "modality": encoder["modality"], "num_top": len(trials.top), "rows": rows, "answer": answer})
    return found


def _row(encoder: str, layer: str, trials: Trials) -> dict[str, Any]:
    readers = [record for record in trials.complete if encoder in record.inputs]
    with_it, without = ([trials.score(one) for one in readers if (layer in one.inputs[encoder]) is wanted] for wanted in (True, False))
    return {
        "layer": layer,
        "with": fmean(with_it) if with_it else None,
        "without": fmean(without) if without else None,
        "num_with": len(with_it),
        "num_without": len(without),
        "num_in_top": sum(layer in record.inputs.get(encoder, ()) for record in trials.top),
    }


def _answer(rows: list[dict[str, Any]], trials: Trials) -> str:
    num_top = len(trials.top)
    most = max(rows, key=lambda row: int(row["num_in_top"]))
    if most["num_in_top"] == 0:
        return "None of the best trials reads this encoder."
    alike = [row["layer"] for row in rows if row["num_in_top"] == most["num_in_top"]]
    if num_top == 1:
        return f"The best trial reads {', '.join(row['layer'] for row in rows if row['num_in_top'])}."
    said = f"{_listed(alike)} {'is' if len(alike) == 1 else 'are each'} in {most['num_in_top']} of the best {num_top} trials"
    if len(alike) > 1 or most["with"] is None or most["without"] is None:
        return f"{said}."
    gain = trials.gain(most["with"], most["without"])
    word = "better" if gain > 0 else "worse"
    counts = f"{most['num_with']} with it, {most['num_without']} without"
    return f"{said}; with it complete trials are on average {format_number(abs(gain))} {word} ({counts})."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
