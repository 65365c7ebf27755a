"""Progress for people who wait: a live bar on terminals, a line every few seconds in logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LOG_INTERVAL_S = 10.0


class Bar:
    """Counts work done; `advance(n, note)` moves it, `note` is shown behind the count."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.note = ""
        self._logged_s = time.monotonic()
        # The estimate counts from the first finished unit: what starts the work up comes once.
        self._first_s: float | None = None
        self._first_done = 0
        self._console = Console(stderr=True)
        self._live: Progress | None = None
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
                TimeRemainingColumn(compact=True),
                TextColumn("left, {task.fields[note]}"),
                console=self._console,
            )
            self._task = self._live.add_task(label, total=total, note="starting")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more units as done."""
        self.done += count
        self.note = note or self.note
        if self._live is not None:
            self._live.update(self._task, advance=count, note=self.note)
        elif time.monotonic() - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = time.monotonic()
            text = f"{self.label}: {self.done}/{self.total} {self.unit}, {self._time_left()}, {self.note}"
            self._console.print(text.rstrip(", "), markup=False, soft_wrap=True)
        if self._first_s is None:
            self._first_s, self._first_done = time.monotonic(), self.done

    def _time_left(self) -> str:
        if self._first_s is None or self.done == self._first_done:
            return "time left not known yet"
        rate = (self.done - self._first_done) / (time.monotonic() - self._first_s)
        return f"{(self.total - self.done) / rate:.0f} s left"


@contextmanager
def track(label: str, total: int, unit: str = "clips") -> Iterator[Bar]:
    """Show progress of `total` units of work while the block runs."""
    bar = Bar(label, total, unit)
    if bar._live is None:
        yield bar
    else:
        with bar._live:
            yield bar
