"""A paper's table as Markdown, LaTeX (booktabs) or CSV."""

import csv
import io
import re
from collections.abc import Callable
from typing import Literal

from mer_ray.reporting.paper_table import Cell, PaperRow, PaperTable, format_score, is_percent
from mer_ray.reporting.words import ABSENT, format_count, format_number, format_significant, metric_title

TableFormat = Literal["md", "latex", "csv"]
SUFFIXES: dict[TableFormat, str] = {"md": ".md", "latex": ".tex", "csv": ".csv"}

BASELINE = "baseline"
BEST = "best"
BEST_OF_SOME = "best on its clips"
DAGGER = "†"
LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": "$-$",
    ABSENT: "--",
    DAGGER: r"\textdagger{}",
}
COST_COLUMNS = ("seeds", "parameters", "s per epoch", "ms per clip", "peak memory (MB)")
LOSS_COLUMNS = ("train loss", "dev loss")
MARKDOWN_SIGNS = re.compile(r"[\\`*_{}\[\]<>#|]")


def render_table(table: PaperTable, table_format: TableFormat) -> str:
    """The table as text that ends with a line break."""
    return {"md": to_markdown, "latex": to_latex, "csv": to_csv}[table_format](table)


def to_markdown(table: PaperTable) -> str:
    """A pipe table, and its caption as a paragraph below."""
    columns = _columns(table)
    lines = [[_escape_markdown(name) for name in columns], ["---:" if is_right else "---" for is_right in _right_aligned(table)]]
    lines += _rows(table, _escape_markdown, lambda text: f"**{text}**")
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + f"\n{_escape_markdown(table.caption)}\n"


def to_latex(table: PaperTable) -> str:
    """A table environment with booktabs rules."""
    columns = _columns(table)
    rows = [_latex_row(cells) for cells in _rows(table, _escape_latex, lambda text: f"\\textbf{{{text}}}")]
    ours, published = rows[: len(table.rows)], rows[len(table.rows) :]
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape_latex(table.caption)}}}",
        f"\\begin{{tabular}}{{{''.join('r' if is_right else 'l' for is_right in _right_aligned(table))}}}",
        "\\toprule",
        _latex_row([_escape_latex(name) for name in columns]),
        "\\midrule",
        *ours,
        *(["\\midrule", *published] if published else []),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: PaperTable) -> str:
    """Raw numbers, shares from 0 to 1, a column each; empty where there is none."""
    about = ["system", "modalities", "origin", "source", "corpus", "split", "num_clips", "num_folds", "num_seeds"]
    compared = ["difference", "difference_low", "difference_high", "p", "p_holm"]
    costs = ["num_parameters", "seconds_per_epoch", "milliseconds_per_clip", "peak_memory_mb", "epochs"] if table.has_costs else []
    costs += ["train_loss", "dev_loss"] if table.has_losses else []
    parts = ["", "_std", "_low", "_high"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*about, *[f"{metric}{part}" for metric in table.metrics for part in parts], *compared, *costs])
    for row in table.rows:
        numbers = [number for metric in table.metrics for number in _numbers(row.cells.get(metric))]
        facts = [row.name, "+".join(row.modalities), "measured", "", row.corpus, row.split, row.num_clips, row.num_folds, row.num_seeds]
        writer.writerow([*facts, *numbers, *_distance_numbers(row), *[getattr(row.cost, name) for name in costs]])
    for published in table.published:
        numbers = [number for metric in table.metrics for number in (published.score(metric), None, None, None)]
        facts = [published.system, published.modalities, "reported", published.source, published.corpus, published.split, None, None, None]
        writer.writerow([*facts, *numbers, *[None] * len(compared + costs)])
    return text.getvalue()


def _numbers(cell: Cell | None) -> list[float | None]:
    return [None] * 4 if cell is None else [cell.mean, cell.std, cell.low, cell.high]


def _distance_numbers(row: PaperRow) -> list[float | None]:
    if row.distance is None:
        return [None] * 5
    found = row.distance.difference
    return [found.mean, *(found.interval or (None, None)), found.p_value, row.distance.p_holm]


def _columns(table: PaperTable) -> list[str]:
    """Names of the columns; the interval stands behind its metric, p, difference and source only where a row has some."""
    names = ["system", "modalities"]
    for metric in table.metrics:
        names.append(f"{metric_title(metric)}{' (%)' if is_percent(metric) else ''}")
        if metric == table.metric:
            names.append("95 % interval")
    names += _compared_columns(table)
    names += _cost_columns(table)
    return [*names, *(["source"] if table.published else [])]


def _cost_columns(table: PaperTable) -> tuple[str, ...]:
    if not table.has_costs:
        return ()
    return (*COST_COLUMNS, *(LOSS_COLUMNS if table.has_losses else ()))


def _compared_columns(table: PaperTable) -> list[str]:
    if not table.has_pairs:
        return []
    return [f"difference{' (%)' if is_percent(table.metric) else ''}", "p"] if table.has_baseline else ["p"]


def _right_aligned(table: PaperTable) -> list[bool]:
    return [name not in ("system", "modalities", "source") for name in _columns(table)]


def _rows(table: PaperTable, escape: Callable[[str], str], embolden: Callable[[str], str]) -> list[list[str]]:
    """Cells of all rows, in the order of `_columns`."""
    lines = []
    for row in table.rows:
        line = [escape(row.name), escape("+".join(row.modalities))]
        for metric in table.metrics:
            cell = row.cells.get(metric)
            line.append(escape(ABSENT) if cell is None else _score(metric, cell, escape, embolden))
            if metric == table.metric:
                line.append(escape(_interval(metric, cell)))
        if table.has_pairs:
            compared = [_difference(row, table.metric), _p_value(row, table)] if table.has_baseline else [_p_value(row, table)]
            line += [escape(cell) for cell in compared]
        line += [escape(cell) for cell in _costs(row, table)]
        lines.append([*line, *([escape("this run")] if table.published else [])])
    splits = {published.split for published in table.published}
    for published in table.published:
        system = f"{published.system}{f', {published.split}' if len(splits) > 1 else ''}"
        line = [f"{escape(system)}{escape(DAGGER)}", escape(published.modalities)]
        for metric in table.metrics:
            # As printed: a digit more would say more than the source does.
            line.append(escape(published.printed.get(metric, ABSENT).replace("-", "−")))
            line += [escape(ABSENT)] if metric == table.metric else []
        line += [escape(ABSENT)] * (len(_compared_columns(table)) + len(_cost_columns(table)))
        lines.append([*line, escape(published.source)])
    return lines


def _score(metric: str, cell: Cell, escape: Callable[[str], str], embolden: Callable[[str], str]) -> str:
    mean = escape(format_score(metric, cell.mean))
    spread = "" if cell.std is None else f" {escape(f'± {format_score(metric, cell.std)}')}"
    return f"{embolden(mean) if cell.is_best else mean}{spread}"


def _interval(metric: str, cell: Cell | None) -> str:
    if cell is None or cell.low is None or cell.high is None:
        return ABSENT
    return f"[{format_score(metric, cell.low)}, {format_score(metric, cell.high)}]"


def _difference(row: PaperRow, metric: str) -> str:
    """With its sign, and the interval behind it."""
    if row.distance is None:
        return ABSENT
    found = row.distance.difference
    bounds = "" if found.interval is None else f" [{', '.join(format_score(metric, bound) for bound in found.interval)}]"
    return f"{'+' if found.mean > 0 else ''}{format_score(metric, found.mean)}{bounds}"


def _costs(row: PaperRow, table: PaperTable) -> list[str]:
    """In the order of `_cost_columns`."""
    if not table.has_costs:
        return []
    cost = row.cost
    figures = (cost.seconds_per_epoch, cost.milliseconds_per_clip, cost.peak_memory_mb)
    losses = (cost.train_loss, cost.dev_loss) if table.has_losses else ()
    return [str(row.num_seeds), format_count(cost.num_parameters), *map(format_significant, figures), *map(format_number, losses)]


def _p_value(row: PaperRow, table: PaperTable) -> str:
    if row.distance is None and row.is_reference:
        return BASELINE if table.has_baseline else BEST_OF_SOME if table.has_strangers else BEST
    if row.distance is None:
        return ABSENT
    return "<0.001" if row.distance.p_holm < 0.001 else f"{row.distance.p_holm:.3f}"


def _latex_row(cells: list[str]) -> str:
    # A bracket or star there would belong to the line break before it.
    start = "{}" if cells[0].startswith(("[", "*")) else ""
    return f"{start}{' & '.join(cells)} \\\\"


def _escape_latex(text: str) -> str:
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in " ".join(text.split()))


def _escape_markdown(text: str) -> str:
    return MARKDOWN_SIGNS.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))
