"""What people who wait for a search see: a live table on terminals, a line every few seconds in logs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.records import TrialRecord, best_of

LOG_INTERVAL_S = 10.0


class SearchView:
    """Shows a search; `update` with its trials and what it has spent."""

    def __init__(self, config: TuneConfig, console: Console, live: Live | None) -> None:
        self._config, self._console, self._live = config, console, live
        self._began_s = self._logged_s = time.monotonic()
        self._num_before: int | None = None

    def update(self, records: Sequence[TrialRecord], spent_s: float, gpu_s: float) -> None:
        """Show the search as it is now."""
        rows = self._rows(records, spent_s, gpu_s)
        if self._live is not None:
            table = Table(title=f"search {self._config.study_name}", show_header=False)
            for name, value in rows.items():
                table.add_row(name, value)
            self._live.update(table)
        elif time.monotonic() - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = time.monotonic()
            self._console.print(", ".join(f"{name} {value}" for name, value in rows.items()), markup=False, soft_wrap=True, highlight=False)

    def _rows(self, records: Sequence[TrialRecord], spent_s: float, gpu_s: float) -> dict[str, str]:
        objective, budget = self._config.objectives[0], self._config.budget
        best = best_of(records, objective)
        count = {state: sum(record.state == state for record in records) for state in ("running", "complete", "pruned", "failed")}
        num_finished = sum(record.is_finished for record in records)
        if self._num_before is None:
            self._num_before = num_finished
        minutes = (time.monotonic() - self._began_s) / 60
        rate = (num_finished - self._num_before) / minutes if minutes > 0 else 0.0
        left = [] if rate == 0 else [60 * (budget.trials - num_finished) / rate]
        left += [] if budget.hours is None else [3600 * budget.hours - spent_s]
        ended = ", ".join(f"{count[state]} {state}" for state in ("complete", "pruned", "failed"))
        rows = {
            "best": "none yet" if best is None else f"{objective} {best.values[objective]:.3f} (trial {best.number})",
            "trials": f"{num_finished} of {budget.trials}: {ended}",
            "running": str(count["running"]),
            "speed": f"{rate:.1f} trials/min" if num_finished > self._num_before else "not known yet",
            "time left": f"{_duration(min(left))} at most" if left else "not known yet",
        }
        if self._config.price_per_gpu_hour and gpu_s:
            usd = gpu_s / 3600 * self._config.price_per_gpu_hour
            rows["money"] = f"{usd:.2f} USD" + ("" if budget.usd is None else f" of {budget.usd:.2f}")
        return rows


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def search_view(config: TuneConfig) -> Iterator[SearchView]:
    """Show a search while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield SearchView(config, console, None)
        return
    with Live(console=console, refresh_per_second=2) as live:
        yield SearchView(config, console, live)
