"""The content of an evaluation's JSON as tables for a terminal."""

from pathlib import Path
from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.core.table import Table


def evaluation_tables(facts: dict[str, Any], path: Path | None) -> list[Table]:
    """One table of scores, one of classes per file, and those of the comparison where there are several files.

    The last names the file of the scores, if there is one.
    """
    tables = [_scores(facts), *[_classes(facts, file) for file in facts["files"] if facts["classes"]]]
    if facts["differences"]:
        tables.append(_differences(facts))
    if facts["agreement"] is not None:
        tables.append(_agreement(facts))
    if facts["balance"] is not None:
        tables.append(_balance(facts))
    if path is None:
        return tables
    last = tables[-1]
    return [*tables[:-1], Table(last.title, last.columns, last.rows, (*last.notes, f"scores: {path}"))]


def _scores(facts: dict[str, Any]) -> Table:
    """A row per metric, the official one first; the answered clips of a file that abstained are a column of their own."""
    names = _short_names(facts)
    columns: list[str] = ["metric"]
    cells: list[dict[str, str]] = []
    for file, name in zip(facts["files"], names, strict=True):
        columns.append(name)
        cells.append({metric: f"{value:.4f}{_bounds(file['intervals'].get(metric))}" for metric, value in file["scores"].items()})
        abstention = file["abstention"]
        if abstention is not None and abstention["num_abstained"]:
            columns.append(f"{name}, the {100 * abstention['coverage']:.1f} % answered")
            cells.append({metric: f"{value:.4f}" for metric, value in abstention["scores_of_answered"].items()})
    metrics = list(dict.fromkeys(metric for column in cells for metric in column))
    rows = tuple((metric, *[column.get(metric) for column in cells]) for metric in metrics)
    return Table(f"{facts['protocol']}: {facts['rule']}", tuple(columns), rows, tuple(_notes(facts, names)))


def _notes(facts: dict[str, Any], names: list[str]) -> list[str]:
    drawn = "clips" if facts["num_speakers"] is None else f"the {facts['num_speakers']} speakers with all their clips"
    notes = [
        f"{say_count(facts['num_labelled'], 'labelled clip')} of {facts['labels']}; first row = the figure that ranks",
        f"in brackets: 95 % interval, {drawn} drawn anew {facts['num_resamples']} times",
    ]
    if facts["num_unlabelled"]:
        notes.append(f"not scored, without a label: {say_count(facts['num_unlabelled'], 'clip')} of {facts['labels']}")
    for file, name in zip(facts["files"], names, strict=True):
        if file["num_beyond_labels"]:
            notes.append(f"{name}: not scored, without a label: {file['num_beyond_labels']} of {say_count(file['num_predicted'], 'name')}")
        if file["abstention"] is not None and file["abstention"]["num_abstained"]:
            abstained = say_count(file["abstention"]["num_abstained"], "labelled clip")
            notes.append(f"{name}: abstained on {abstained}, scored all the same by the emotion given")
        if file["num_trained_on"]:
            of_all = "all" if file["num_trained_on"] == facts["num_labelled"] else f"{file['num_trained_on']} of"
            clips = say_count(facts["num_labelled"], "scored clip")
            notes.append(f"{name}: its models were trained on {of_all} {clips}: these scores are optimistic, not a test")
        notes += file["notes"]
    return notes


def _classes(facts: dict[str, Any], file: dict[str, Any]) -> Table:
    rows = tuple(
        (name, row["precision"], row["recall"], row["f1"], int(row["support"]), *counts)
        for (name, row), counts in zip(file["per_class"].items(), file["confusion"], strict=True)
    )
    columns = ("label", "precision", "recall", "F1", "clips", *[f"as {name}" for name in facts["classes"]])
    return Table(f"{file['path']}: clips by label (rows) and prediction (columns)", columns, rows)


def _differences(facts: dict[str, Any]) -> Table:
    names = _short_names(facts)
    rows = tuple(
        (name, row["difference"], _bounds(row["interval"]).strip(), f"{row['p_value']:.4f}", f"{row['p_holm']:.4f}")
        for name, row in zip(names[1:], facts["differences"], strict=True)
    )
    swapped = "clips" if facts["num_speakers"] is None else "speakers with all their clips"
    swaps = f"{facts['num_swaps']} swaps of the predictions of {swapped}"
    return Table(
        f"{facts['official']}: each file minus {names[0]}",
        ("file", "difference", "95 % interval", "p", "p, Holm"),
        rows,
        (f"p: two-sided paired randomisation test, {swaps}; interval: paired bootstrap",),
    )


def _agreement(facts: dict[str, Any]) -> Table:
    names, found = _short_names(facts), facts["agreement"]
    rows = tuple(
        (name, *[f"{equal:.3f} ({'–' if kappa is None else f'{kappa:.3f}'})" for equal, kappa in zip(equals, kappas, strict=True)])
        for name, equals, kappas in zip(names, found["equal"], found["kappa"], strict=True)
    )
    title = f"Agreement: share of equal predictions and Cohen's kappa, over {found['num_names']} names"
    return Table(title, ("file", *names), rows)


def _balance(facts: dict[str, Any]) -> Table:
    names = iter(_short_names(facts))
    columns = [next(names) if entry["of"] == "predictions" else entry["of"] for entry in facts["balance"]]
    rows = tuple((name, *[f"{100 * entry['shares'][name]:.1f} %" for entry in facts["balance"]]) for name in facts["classes"])
    return Table("Class balance", ("class", *columns), rows, ("predictions: all names of a file, labelled or not",))


def _short_names(facts: dict[str, Any]) -> list[str]:
    """File names, whole paths where two files share one."""
    paths = [Path(file["path"]) for file in facts["files"]]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _bounds(bounds: list[float] | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:.4f}, {bounds[1]:.4f}]"
