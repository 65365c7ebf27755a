"""What Prometheus would know of a cluster: the file that Ray writes for its service discovery, and the pages that the file names."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PREFIX = "ray_mer_ray_"
INTERVAL_S = 2.0


def scrape(discovery: Path) -> dict[str, float]:
    """The values of our metrics by name, summed over processes."""
    found: dict[str, float] = {}
    for target in json.loads(discovery.read_text())[0]["targets"]:
        # Nodes go between two looks.
        with suppress(OSError), urllib.request.urlopen(f"http://{target}/metrics", timeout=5) as page:
            for family in text_string_to_metric_families(page.read().decode()):
                for sample in family.samples:
                    if sample.name.startswith(PREFIX):
                        name = sample.name.removeprefix(PREFIX)
                        found[name] = found.get(name, 0.0) + sample.value
    return found


class Scraper:
    """Scrapes again and again; what was seen of a metric, in order, changes only."""

    def __init__(self, discovery: Path) -> None:
        self._discovery = discovery
        self.seen: dict[str, list[float]] = {}

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(INTERVAL_S):
            for name, value in scrape(self._discovery).items():
                values = self.seen.setdefault(name, [])
                if not values or values[-1] != value:
                    values.append(value)


@contextmanager
def scraped(discovery: Path) -> Iterator[Scraper]:
    """Scrape while the block runs."""
    scraper, ended = Scraper(discovery), threading.Event()
    thread = threading.Thread(target=scraper.run, args=[ended], daemon=True)
    thread.start()
    try:
        yield scraper
    finally:
        ended.set()
        thread.join()
