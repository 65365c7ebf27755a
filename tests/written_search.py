"""Search folders by the contract, written by hand: no Ray, no Optuna."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.search_folder import SearchFolder

DIMENSIONS = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "step": None, "is_conditional": False},
    "model": {"kind": "choice", "options": ["attention", "<b>early</b>"], "step": None, "is_conditional": False},
    "model.attention.hidden": {"kind": "int", "low": 16, "high": 64, "log": False, "step": 16, "is_conditional": True},
    "inputs.hubert.layers.low": {"kind": "choice", "options": [False, True], "step": None, "is_conditional": False},
    "inputs.hubert.layers.high": {"kind": "choice", "options": [False, True], "step": None, "is_conditional": False},
}
COSTS = {
    "hubert": {"device": "cuda", "num_clips": 100, "device_s": 0.4, "milliseconds_per_clip": 4.0},
    "clip": {"device": "cuda", "num_clips": 100, "device_s": 1.2, "milliseconds_per_clip": 12.0},
}


def complete(
    number: int,
    score: float,
    layers: Sequence[str] = ("low",),
    learning_rate: float = 1e-3,
    hidden: int | None = 32,
    with_clip: bool = True,
    **more: float,
) -> TrialRecord:
    """A complete trial of two steps; `hidden` None: the other model; `more` are values of other objectives."""
    params: dict[str, Any] = {"learning_rate": learning_rate, "model": "<b>early</b>" if hidden is None else "attention"}
    params |= {} if hidden is None else {"model.attention.hidden": hidden}
    params |= {f"inputs.hubert.layers.{name}": name in layers for name in ("low", "high")}
    inputs = {"hubert": list(layers)} | ({"clip": ["pooled"]} if with_clip else {})
    values = {"weighted_f1": score, **more}
    curve = {} if more else {1: score - 0.1, 2: score}
    return TrialRecord(number, "complete", params, values, dict(values), curve, 1.5, inputs=inputs)


def pruned(number: int, score: float) -> TrialRecord:
    """A trial that ended after its first step."""
    whole = complete(number, score)
    return TrialRecord(number, "pruned", whole.params, {}, dict(whole.scores), {1: score}, 0.5, inputs=whole.inputs)


def failed(number: int, reason: str) -> TrialRecord:
    """A trial without any score."""
    whole = complete(number, 0.0)
    return TrialRecord(number, "failed", whole.params, seconds=0.1, reason=reason, inputs=whole.inputs)


def search_facts(records: Sequence[TrialRecord], **changes: Any) -> dict[str, Any]:
    """search.json of these trials; one objective, a gain that is more than chance."""
    best = max((record for record in records if record.state == "complete"), key=lambda record: record.values["weighted_f1"])
    final = {"out": "best", "dev": 0.58, "split": "test", "mean": 0.55, "interval": [0.5, 0.6], "std": 0.01, "num_seeds": 3}
    start = {"final": {**final, "out": "start", "mean": 0.45}, "gain": {"mean": 0.1, "interval": [0.04, 0.16], "p_value": 0.002}}
    layers = {"hubert": {"low": 4, "high": 4}, "clip": {"pooled": 8}}
    facts = {
        "name": "night <1>",
        "corpus": "planted",
        "objectives": {"weighted_f1": "maximize"},
        "counts": {state: sum(record.state == state for record in records) for state in ("complete", "pruned", "failed")},
        "best": {"number": best.number, "values": best.values, "params": best.params, "scores": best.scores, "seconds": best.seconds},
        "finalists": {str(best.number): final["dev"], "0": 0.5},
        "pareto": [best.number],
        "final": final,
        "optimism": best.values["weighted_f1"] - final["mean"],
        "num_starts": 1,
        "start": start,
        "encoders": {
            name: {"key": f"{name}@1", "modality": modality, "layers": layers[name], "cost": COSTS[name]}
            for name, modality in (("hubert", "audio"), ("clip", "vision"))
        },
        "dimensions": DIMENSIONS,
        "ended_by": None,
        "importances": {"learning_rate": 0.7, "inputs.hubert.layers.high": 0.2, "model": 0.1, "inputs.hubert.layers.low": 0.0},
        "spent": {"seconds": 60.0, "gpu_seconds": 0.0},
    }
    return facts | changes


def write_search(folder: Path, records: Sequence[TrialRecord], **changes: Any) -> SearchFolder:
    """A folder with both files."""
    folder.mkdir(parents=True, exist_ok=True)
    search = SearchFolder(folder)
    search.write_trials(records)
    search.write_facts(search_facts(records, **changes))
    return search
