"""The content of `mer-ray evaluate --noise` -> one self-contained HTML page."""

from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import write_text
from mer_ray.core.counting import say_count
from mer_ray.objectives.pairing import smallest_p
from mer_ray.reporting.page import figures_script, json_script, own_files, page_template, plotly_script
from mer_ray.reporting.robustness_figures import GATE_HEIGHT, conditions_figure, conditions_height, gate_figure
from mer_ray.reporting.words import ABSENT, format_number, metric_title

SIGNIFICANT = 0.05
# A change of a gate, which lies between 0 and 1, that is called small.
SMALL_CHANGE = 0.05
COLOUR_WORDS = {"audio": "blue: sound", "vision": "orange: pictures", "text": "green: words"}


def write_robustness_page(facts: dict[str, Any], path: Path) -> None:
    """Write the page atomically."""
    write_text(path, render_robustness(facts))


def render_robustness(facts: dict[str, Any]) -> str:
    """The score of each condition with its distance from clean, and each of the model's numbers against the noise ratio."""
    gates = gates_of(facts)
    figures = {"conditions": conditions_figure(facts), **{f"gate-{one['name']}": gate_figure(one["levels"], one["label"]) for one in gates}}
    return page_template("robustness.html.jinja", {}).render(
        facts=facts,
        gates=gates,
        absent=ABSENT,
        heights={"conditions": conditions_height(facts["conditions"]), "gate": GATE_HEIGHT},
        headline=headline_of(facts),
        colours=colours_of(facts),
        style=own_files("page.css"),
        script=own_files("page.js"),
        plotly=plotly_script(),
        data=json_script(facts),
        figures=figures_script(figures),
    )


def gates_of(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Per number that the models give of clips its mean at each ratio, the noisiest first and clean last; none without noise."""
    clean, *others = facts["conditions"]
    noisy = sorted((one for one in others if one["snr_db"] is not None), key=lambda one: float(one["snr_db"]))
    if not noisy:
        return []
    levels = [(f"{one['snr_db']:g} dB", one) for one in noisy] + [("clean", clean)]
    return [
        {
            "name": name,
            "label": name.replace("_", " "),
            "clips": _clips(clean["facts"][name]),
            "answer": _answer(name, clean, noisy[0]),
            "fixed": [one["condition"] for one in others if one["facts"].get(name, {}).get("is_fixed")],
            "levels": [{"level": level, **one["facts"][name]} for level, one in levels if name in one["facts"]],
        }
        for name in clean["facts"]
    ]


def _clips(fact: dict[str, Any]) -> str:
    clips = say_count(fact["num_clips"], "clip")
    return f"the {clips} that have every input" if fact["only_complete"] else clips


def _answer(name: str, clean: dict[str, Any], noisiest: dict[str, Any]) -> str:
    """Whether noise moves a number: from clean media to the most noise."""
    before, after = clean["facts"][name], noisiest["facts"].get(name, {"change": None})
    change, level = after["change"], f"{noisiest['snr_db']:g} dB"
    if change is None or change["interval"] is None:
        return "There are too few clips to say."
    means = f"{format_number(before['mean'], 2)} clean, {format_number(after['mean'], 2)} at {level}"
    low, high = change["interval"]
    shown = f"on average {format_number(change['mean'])} per clip (95 % interval {format_number(low)} to {format_number(high)})"
    if low <= 0 <= high:
        return f"These clips do not show that it does: {means}; {shown}."
    is_gate = "gate" in name
    if is_gate and abs(change["mean"]) < SMALL_CHANGE:
        return f"Hardly: {means}; {shown}."
    down, up = ("closes", "opens") if is_gate else ("falls", "rises")
    return f"Yes, it {down if change['mean'] < 0 else up}: {means}; {shown}."


def colours_of(facts: dict[str, Any]) -> str:
    """What the colours of the tested conditions mean."""
    tested = {one["modality"] for one in facts["conditions"]}
    words = ", ".join(word for modality, word in COLOUR_WORDS.items() if modality in tested)
    return words[:1].upper() + words[1:]


def headline_of(facts: dict[str, Any]) -> str:
    """Which condition costs most, and whether that may be chance."""
    clean, *others = facts["conditions"]
    metric = facts["official"]
    score = f"On clean media its {metric_title(metric)} is {format_number(clean['official'])}."
    least = smallest_p(facts["num_speakers"] or facts["num_labelled"], facts["num_swaps"]) * len(others)
    if least >= SIGNIFICANT:
        who = say_count(facts["num_labelled"], "clip") if facts["num_speakers"] is None else say_count(facts["num_speakers"], "speaker")
        few = f"The p-values cannot say whether that is chance: with {who} none can lie below {least:.2g} after Holm."
        return f"{score} The largest change is {_largest(others)}. {few}"
    distances = [one for one in others if one["difference"]["p_holm"] < SIGNIFICANT]
    if not distances:
        return f"{score} No condition differs from it by more than chance (p after Holm at least {SIGNIFICANT:g})."
    return f"{score} The largest change that is more than chance is {_largest(distances)}."


def _largest(conditions: list[dict[str, Any]]) -> str:
    most = max(conditions, key=lambda one: abs(float(one["difference"]["difference"])))
    return f"{format_number(most['difference']['difference'])}: {most['condition']}"
