"""What is done again and again beside the work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(action: Callable[[], None], interval_s: float) -> Iterator[None]:
    """Call `action` every `interval_s` seconds, in a thread, while the block runs; the first time after one interval."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
