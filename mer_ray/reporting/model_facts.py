"""The model's own numbers about single clips, such as a gate: by emotion, and against the noise in the sound.

Shapes: N prediction rows, K clips.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.reporting.attention import heard_streams
from mer_ray.reporting.clip_facts import ClipFacts, read_snr
from mer_ray.reporting.clips import clip_means, mean_by_clip
from mer_ray.reporting.noise import relate_to_noise
from mer_ray.reporting.runs import Run, SplitPredictions
from mer_ray.reporting.words import format_number

GUIDE_GATE, VALUE_GATE = "guide_gate", "gate_"
QUANTILES = {"low": 0.05, "lower": 0.25, "middle": 0.5, "upper": 0.75, "high": 0.95}


def model_facts_of(run: Run, predictions: SplitPredictions) -> list[dict[str, Any]]:
    """A table per number that the run's model gives of clips; each clip's is the mean over its seeds.

    It holds `name`, `label`, `title`, `meaning` (None where it is not known), `only_complete` (only clips that have every input
    count), `rows`: `class` (the label, or the prediction where there is none), `num_clips`, `mean` and the quantiles of `QUANTILES`;
    and `noise` as `relate_to_noise` gives it, with `question`, `verdict` in words and `note` why there is nothing to see; None for
    runs that hear no sound.
    """
    if not predictions.model_facts_N:
        return []
    # A clip that lacks an input leaves the model no choice.
    complete_N = np.asarray(heard_streams(predictions).all(axis=1))
    kept = predictions.select(complete_N) if complete_N.any() else predictions
    snr = read_snr(run) if "audio" in run.modalities else None
    found = [_table(run, kept, name, snr) for name in kept.model_facts_N]
    is_part = bool(complete_N.any() and not complete_N.all())
    return [{**table, "only_complete": is_part} for table in found if table["rows"]]


def _table(run: Run, predictions: SplitPredictions, name: str, snr: ClipFacts | None) -> dict[str, Any]:
    known = predictions.select(np.isfinite(predictions.model_facts_N[name]))
    label, title, meaning = _words(run, name)
    table: dict[str, Any] = {"name": name, "label": label, "title": title, "meaning": meaning, "rows": [], "noise": None}
    if not known.num_rows:
        return table
    _, value_K = mean_by_clip(known, known.model_facts_N[name])
    means = clip_means(known)
    class_K = np.where(means.labels_K >= 0, means.labels_K, means.predicted())
    rows = [_row(kind, value_K[class_K == position]) for position, kind in enumerate(run.classes) if (class_K == position).any()]
    noise = None if snr is None else _against_noise(run, name, means.clip_ids_K, value_K, snr)
    return {**table, "rows": rows, "noise": noise}


def _words(run: Run, name: str) -> tuple[str, str, str | None]:
    """What its axis is called, the question that it answers, and what its ends mean."""
    if name == GUIDE_GATE:
        return "trust in the guide", "Does it trust its guide?", "At 1 the guide leads; at 0 the model does without it."
    value = name.removeprefix(VALUE_GATE)
    if name.startswith(VALUE_GATE) and value in run.facts["values"]:
        meaning = f"At 1 {value} is predicted from the features alone; at 0 it is what was learnt for the predicted emotions."
        return f"gate of {value}", f"Does it read {value} off the features or off the emotion?", meaning
    label = name.replace("_", " ")
    return label, f"What does it say of clips: {label}", None


def _row(kind: str, value_k: npt.NDArray[np.float64]) -> dict[str, Any]:
    quantiles = np.quantile(value_k, list(QUANTILES.values())).tolist()
    return {"class": kind, "num_clips": len(value_k), "mean": float(value_k.mean()), **dict(zip(QUANTILES, quantiles, strict=True))}


def _against_noise(run: Run, name: str, clip_ids_K: npt.NDArray[Any], value_K: npt.NDArray[np.float64], snr: ClipFacts) -> dict[str, Any]:
    is_guide = name == GUIDE_GATE and _guide_modality(run) == "audio"
    question = "Does it listen less to a noisy guide?" if is_guide else "Does it change with noise in the sound?"
    known_K = np.asarray([clip_id in snr.by_clip for clip_id in clip_ids_K])
    note = snr.note if snr.note is not None or known_K.any() else "the store holds it of none of these clips"
    if note is not None:
        return {"question": question, "verdict": None, "note": note}
    snr_K = np.asarray([snr.by_clip[clip_id] for clip_id in clip_ids_K[known_K]], dtype=np.float64)
    relation = relate_to_noise(clip_ids_K[known_K], snr_K, value_K[known_K])
    return {"question": question, "verdict": _verdict(relation, is_guide), "note": None, **relation}


def _guide_modality(run: Run) -> str | None:
    """The modality of the stream that guides: the config names the stream, or its modality."""
    guide: str | None = run.facts["model"].get("guide")
    by_stream = {stream["name"]: str(stream["modality"]) for stream in run.facts["streams"]}
    return guide if guide is None else by_stream.get(guide, guide)


def _verdict(relation: dict[str, Any], is_guide: bool) -> str:
    found = relation["correlation"]
    if found is None:
        return "There are too few clips to say." if relation["num_clips"] < 4 else "It is the same for all clips, or their noise is."
    if found["low"] <= 0 <= found["high"]:
        answer = "These clips show no such thing" if is_guide else "These clips do not show that it does"
    elif is_guide:
        answer = "Yes: more noise, less trust" if found["value"] > 0 else "No, the reverse: more noise, more trust"
    else:
        answer = "Yes: it falls with noise" if found["value"] > 0 else "Yes: it rises with noise"
    numbers = f"{format_number(found['value'], 2)} (95 % interval {format_number(found['low'], 2)} to {format_number(found['high'], 2)})"
    return f"{answer}. Its rank correlation with the signal to noise ratio is {numbers} over {relation['num_clips']} clips."
