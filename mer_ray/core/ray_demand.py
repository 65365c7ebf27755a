"""What an autoscaler is asked for before there are tasks that say so, and what of it is there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from rich.console import Console

from mer_ray.core.ray_machines import autoscaling_limit, size_now

WATCH_INTERVAL_S = 2.0
NOTE_INTERVAL_S = 30.0


@ray.remote(num_cpus=0, max_retries=-1)
def _be_there() -> None:
    """Ask for resources by waiting for them."""


class MachineRequest:
    """Tasks that wait for machines, and do nothing there; whatever becomes of this process, they end with it.

    Ray's own `request_resources` would stand until somebody asks for something else: a killed driver would leave machines that run for
    nobody.
    """

    def __init__(self, gpus_each: float, count: int) -> None:
        self._waiting = [_be_there.options(num_gpus=gpus_each).remote() for _ in range(count if autoscaling_limit() is not None else 0)]

    def release(self) -> None:
        """Ask for no more of them."""
        for task in self._waiting:
            ray.cancel(task)
        self._waiting = []


@contextmanager
def requested_machines(gpus_each: float, count: int) -> Iterator[MachineRequest]:
    """Ask for so many GPUs, or bundles of them, at once, for the block or until `release`; nothing without an autoscaler."""
    request = MachineRequest(gpus_each, count)
    try:
        yield request
    finally:
        request.release()


class GpuMeter:
    """Seconds in which GPUs were there for a run, summed over GPUs, at most `most` at a time; says while there is none yet."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._seconds = 0.0
        self._present = 0.0
        self._began_s = self._last_s = self._noted_s = time.monotonic()
        self._lock = threading.Lock()

    @property
    def gpu_seconds(self) -> float:
        """Until now."""
        with self._lock:
            return self._seconds + self._present * (time.monotonic() - self._last_s)

    def watch(self, ended: threading.Event) -> None:
        """Look every few seconds until it has ended."""
        console = Console(stderr=True)
        self._look()
        while not ended.wait(WATCH_INTERVAL_S):
            self._look()
            if self._most and not self._seconds and time.monotonic() - self._noted_s >= NOTE_INTERVAL_S:
                self._noted_s = time.monotonic()
                console.print(
                    f"waiting for machines: 0 of {self._most:g} GPUs are there after {self._last_s - self._began_s:.0f} s", highlight=False
                )

    def _look(self) -> None:
        present = min(self._most, size_now().num_gpus)
        with self._lock:
            now_s = time.monotonic()
            # What came or went since the last look is counted with what is there now.
            self._seconds += present * (now_s - self._last_s)
            self._last_s, self._present = now_s, present


@contextmanager
def metered_gpus(most: float) -> Iterator[GpuMeter]:
    """Count GPU seconds while the block runs."""
    meter, ended = GpuMeter(most), threading.Event()
    watcher = threading.Thread(target=meter.watch, args=[ended], daemon=True)
    watcher.start()
    try:
        yield meter
    finally:
        ended.set()
        watcher.join()
