"""A small table for people: what a verb returns and the command line prints."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """A title, column names and rows of plain values; `notes` are lines below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def show(self, console: Console) -> None:
        """Print to a rich console, numbers right-aligned."""
        # Printed apart: rich would fold a title to the width of its table.
        console.print(self.title, style="bold", markup=False, highlight=False)
        drawn = RichTable()
        for index, name in enumerate(self.columns):
            numeric = any(isinstance(row[index], (int, float)) for row in self.rows)
            drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
        for row in self.rows:
            drawn.add_row(*[_shown(value) for value in row])
        console.print(drawn)
        for note in self.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))
