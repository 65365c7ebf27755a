"""`mer-ray report --table`: a row per run, best first, and below them what others published."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mer_ray.core.config import nearest
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.objectives import is_better
from mer_ray.reporting.costs import Cost, cost_of
from mer_ray.reporting.published_clips import ScoredClips, compare_clips
from mer_ray.reporting.references import PERCENT_METRICS, PublishedRow
from mer_ray.reporting.runs import Run
from mer_ray.reporting.significance import Distance, distances_to
from mer_ray.reporting.spread import spread_over_fits
from mer_ray.reporting.tables import mark_same_clips, rank_runs, remarks_on
from mer_ray.reporting.words import METRIC_TITLES, format_number, metric_title


@dataclass(frozen=True)
class Cell:
    """A score: mean over seeds, deviation over folds and seeds, 95 % interval; None where there is none."""

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    is_best: bool = False


@dataclass(frozen=True)
class PaperRow:
    """One run; `distance` to the reference, None for itself and where the two do not compare clip by clip."""

    name: str
    modalities: tuple[str, ...]
    corpus: str
    split: str
    num_clips: int
    protocol: str
    num_folds: int | None
    num_seeds: int
    cells: dict[str, Cell]
    cost: Cost
    distance: Distance | None
    is_reference: bool

    @property
    def scored_clips(self) -> ScoredClips:
        """What it was scored on."""
        return ScoredClips(self.name, self.corpus, self.split, self.num_clips, self.num_folds, self.protocol)


@dataclass(frozen=True)
class PaperTable:
    """Rows of runs, best first in `metric`, published rows, and the metrics to show in order; `notes` are for the reader's eyes only.

    Runs are compared with the reference: the `has_baseline` that was named, else the first. `has_costs`: whether costs are shown.
    """

    metric: str
    metrics: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    published: tuple[PublishedRow, ...]
    has_baseline: bool
    has_costs: bool
    notes: tuple[str, ...]

    @property
    def reference(self) -> PaperRow:
        """The run that the others are compared with."""
        return next(row for row in self.rows if row.is_reference)

    @property
    def has_pairs(self) -> bool:
        """Whether a run compares with the reference clip by clip, so that one of them is the best."""
        return any(row.distance is not None for row in self.rows)

    @property
    def has_strangers(self) -> bool:
        """Whether a run does not compare with the reference clip by clip."""
        return any(row.distance is None for row in self.rows if not row.is_reference)

    @property
    def has_losses(self) -> bool:
        """Whether costs are shown, and a run knows its losses."""
        return self.has_costs and any(row.cost.dev_loss is not None for row in self.rows)

    @property
    def caption(self) -> str:
        """What the signs in the table mean."""
        first = self.rows[0]
        parts = [f"{say_count(first.num_clips, f'{first.split} clip')} of {first.corpus}."]
        others = {(row.num_clips, row.split, row.corpus): row.name for row in self.rows}
        others.pop((first.num_clips, first.split, first.corpus))
        parts += [f"{name}: {say_count(num_clips, f'{split} clip')} of {corpus}." for (num_clips, split, corpus), name in others.items()]
        parts.append("Mean over seeds of scores over the test clips of all folds together." if first.num_folds else "Mean over seeds.")
        parts.append("±: standard deviation over single folds and seeds.")
        parts.append(f"Interval: 95 %, bootstrap over clips, of {metric_title(self.metric)}.")
        named = self.reference.name if self.has_baseline else "the first"
        if self.has_pairs:
            best = "the first run" if self.has_strangers else f"the best run in {metric_title(self.metric)}"
            parts.append(
                f"Bold: best of our runs{f' on the clips of {named}' if self.has_strangers else ''}. "
                f"p: against {self.reference.name if self.has_baseline else best}, "
                "paired randomisation test over the same clips, Holm-corrected."
            )
            if self.has_baseline:
                parts.append(
                    f"Difference: {metric_title(self.metric)} minus that of {named}, 95 % interval of the same clips drawn anew for both."
                )
        if self.has_strangers:
            parts.append(f"{'Runs without p' if self.has_pairs else 'The others'} do not compare with {named} clip by clip.")
        if self.has_costs:
            parts.append("Time and memory: means over the trainings.")
        if self.has_losses:
            parts.append(
                "Losses: of predictions of all training clips and of dev clips by the models that test, cross entropy and weighted squared "
                "errors of values; means over the trainings."
            )
        if self.published:
            parts.append("†: as reported in the source, not measured here.")
            parts += compare_clips([row.scored_clips for row in self.rows], self.published)
        return " ".join(parts)


def is_percent(metric: str) -> bool:
    """Whether tables show a metric in percent: shares, as papers print them."""
    return metric in PERCENT_METRICS


def format_score(metric: str, value: float) -> str:
    """Percent with two digits, as papers print shares, and other metrics with three; a true minus sign."""
    return format_number(100 * value, 2) if is_percent(metric) else format_number(value)


def build_paper_table(
    runs: Sequence[Run],
    published: Sequence[PublishedRow],
    *,
    metric: str,
    metrics: Sequence[str] | None,
    split: str | None,
    baseline: str | None,
    costs: bool,
    num_swaps: int,
) -> PaperTable:
    """Rank the runs, spread and compare their scores: with the run called `baseline`, else with the best.

    Raises:
        ConfigError: no run is called `baseline`, or several are.
        RunError: a run lacks the split or the metric, or nobody has one of `metrics`.

    """
    ranked = rank_runs(runs, metric=metric, split=split, ceilings={})
    predictions = [run.predictions(row["split"]) for row, run in ranked]
    mark_same_clips([row for row, _ in ranked], predictions)
    reference = 0 if baseline is None else _find_baseline(baseline, [run.name for _, run in ranked])
    distances = distances_to(reference, [run for _, run in ranked], predictions, metric, num_swaps)
    known = {name for row, _ in ranked for name in row["scores"]} | {name for row in published for name in row.printed}
    absent = [name for name in metrics or () if name not in known]
    if absent:
        raise RunError(f"metrics: no run has {', '.join(absent)}; there are {', '.join(sorted(known))}")
    shown = tuple(metrics or [metric, *[name for name in [*METRIC_TITLES, *sorted(known)] if name in known and name != metric]])
    rows = []
    for place, ((row, run), one, distance) in enumerate(zip(ranked, predictions, distances, strict=True)):
        std = spread_over_fits(one, len(run.classes))
        cells = {
            name: Cell(score["mean"], std.get(name), score["low"], score["high"]) for name, score in row["scores"].items() if name in shown
        }
        rows.append(
            PaperRow(
                f"{row['name']} (transductive)" if row["transductive"] else row["name"],
                tuple(row["modalities"]),
                row["corpus"],
                row["split"],
                row["num_clips"],
                row["protocol"],
                row["num_folds"],
                row["num_seeds"],
                cells,
                cost_of(run),
                distance,
                place == reference,
            )
        )
    notes = remarks_on([row for row, _ in ranked])
    unpaired = [row.name for row in rows if row.distance is None and not row.is_reference]
    if unpaired:
        notes.append(f"{', '.join(unpaired)}: other clips, labels or number of seeds than {rows[reference].name}, so no p and never bold.")
    notes += compare_clips([row.scored_clips for row in rows], published)
    if costs:
        notes += _compare_machines([run for _, run in ranked])
    marked = tuple(_mark_best(rows, shown))
    return PaperTable(metric, tuple(dict.fromkeys(shown)), marked, tuple(published), baseline is not None, costs, tuple(notes))


def _find_baseline(wanted: str, names: Sequence[str]) -> int:
    if wanted not in names:
        raise ConfigError(f"baseline: no run is called {wanted!r}{nearest(wanted, names)}")
    if names.count(wanted) > 1:
        raise ConfigError(f"baseline: {names.count(wanted)} runs are called {wanted!r}; leave out all but one")
    return names.index(wanted)


def _compare_machines(runs: Sequence[Run]) -> list[str]:
    """A remark where the runs were not trained on machines of one kind."""
    kinds: dict[str, list[str]] = {}
    for run in runs:
        parts = [f"{name.replace('_', ' ')} {value}" for name, value in run.facts["hardware"].items() if value is not None]
        kinds.setdefault(", ".join(parts), []).append(run.name)
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{', '.join(names)} on {kind}" for kind, names in kinds.items())
    return [f"Times are of different machines: {listed}."]


def _mark_best(rows: Sequence[PaperRow], metrics: Sequence[str]) -> list[PaperRow]:
    """Per metric the best of the runs that share their clips with the reference, and what looks the same in print."""
    comparable = [row for row in rows if row.is_reference or row.distance is not None]
    if len(comparable) < 2:
        return list(rows)
    best: dict[str, float] = {}
    for row in comparable:
        for name, cell in row.cells.items():
            if name not in best or is_better(name, cell.mean, best[name]):
                best[name] = cell.mean
    return [
        replace(
            row,
            cells={
                name: replace(cell, is_best=row in comparable and format_score(name, cell.mean) == format_score(name, best[name]))
                for name, cell in row.cells.items()
            },
        )
        for row in rows
    ]
