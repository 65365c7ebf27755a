"""What a search spends, in hours and on GPUs, and when that ends it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mer_ray.core.ray_demand import GpuMeter, metered_gpus
from mer_ray.core.ray_session import ray_session
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_layout import choose_layout
from mer_ray.tuning.ray_study import SearchStudy
from mer_ray.tuning.records import repeated_failure

NOTE_INTERVAL_S = 5.0


class Ledger:
    """What a search has spent, and whether it is to end."""

    def __init__(self, study: SearchStudy, meter: GpuMeter) -> None:
        self._study, self._meter = study, meter
        self._before = study.spent
        self._began_s = self._noted_s = time.monotonic()
        # Whoever goes on has mended why these failed.
        self._failed_before = {record.number for record in study.records() if record.state == "failed"}
        self.reason: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """As `SearchStudy`."""
        return object, ()

    @property
    def seconds(self) -> float:
        """Of this search and those before it on the same study."""
        return self._before["seconds"] + self.seconds_here

    @property
    def seconds_here(self) -> float:
        """Since this search was begun or resumed."""
        return time.monotonic() - self._began_s

    @property
    def gpu_seconds(self) -> float:
        """Seconds in which a GPU was ours, summed over GPUs."""
        return self._before["gpu_seconds"] + self._meter.gpu_seconds

    def note(self) -> None:
        """Write what is spent into the study."""
        self._noted_s = time.monotonic()
        self._study.spend(self.seconds, self.gpu_seconds)

    def must_stop(self) -> bool:
        """Whether no trial may begin or go on; `reason` then says why."""
        if time.monotonic() - self._noted_s >= NOTE_INTERVAL_S:
            self.note()
        config = self._study.config
        budget, price = config.budget, config.price_per_gpu_hour
        records = [record for record in self._study.records() if record.number not in self._failed_before]
        failure = repeated_failure(records, config.max_same_failures)
        if failure is not None:
            self.reason = f"{config.max_same_failures} trials failed alike: {failure}"
        elif budget.hours is not None and self.seconds >= 3600 * budget.hours:
            self.reason = f"the budget of {budget.hours:g} hours is spent"
        elif budget.usd is not None and price and self.gpu_seconds / 3600 * price >= budget.usd:
            self.reason = f"the budget of {budget.usd:g} USD is spent"
        return self.reason is not None


@contextmanager
def spending_after_trials(study: SearchStudy, config: TuneConfig, use_gpu: bool) -> Iterator[None]:
    """Count what the block takes: the finalists and the last runs, which no budget ends."""
    before, began_s = study.spent, time.monotonic()
    with ray_session(), metered_gpus(choose_layout(config, use_gpu).num_gpus) as meter:
        try:
            yield
        finally:
            study.spend(before["seconds"] + time.monotonic() - began_s, before["gpu_seconds"] + meter.gpu_seconds)
