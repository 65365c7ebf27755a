"""`mer-ray bench`: measure groups of figures, print a table, write bench.json."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mer_ray.bench.demo import measure_demo
from mer_ray.bench.emodb import measure_emodb
from mer_ray.bench.estimate import measure_estimate
from mer_ray.bench.extraction import measure_extraction
from mer_ray.bench.figure import Figure
from mer_ray.bench.gpu import measure_gpu
from mer_ray.bench.object_store import measure_object_store
from mer_ray.bench.padding import measure_padding
from mer_ray.bench.planning import measure_planning
from mer_ray.bench.probing import measure_probing
from mer_ray.bench.ray_scaling import measure_scaling
from mer_ray.bench.ray_tuning import measure_tuning
from mer_ray.bench.store import measure_store
from mer_ray.bench.suite import measure_tests
from mer_ray.bench.training import measure_training
from mer_ray.core.artefacts import hardware, versions, write_json
from mer_ray.core.errors import ConfigError
from mer_ray.core.progress import track
from mer_ray.core.table import Table

GROUPS: dict[str, Callable[[], list[Figure]]] = {
    "demo": measure_demo,
    "emodb": measure_emodb,
    "extract": measure_extraction,
    "s3": measure_object_store,
    "gpu": measure_gpu,
    "padding": measure_padding,
    "store": measure_store,
    "plan": measure_planning,
    "estimate": measure_estimate,
    "train": measure_training,
    "tune": measure_tuning,
    "probe": measure_probing,
    "cluster": measure_scaling,
    "tests": measure_tests,
}


def run_bench(names: Sequence[str], out: Path) -> Table:
    """Measure the named groups, or all, one after the other on an otherwise idle machine.

    Raises:
        ConfigError: an unknown group.

    """
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise ConfigError(f"bench: no group {', '.join(unknown)}. Allowed: {', '.join(GROUPS)}")
    figures: list[Figure] = []
    chosen = list(names) or list(GROUPS)
    with track("bench", len(chosen), "groups") as bar:
        for name in chosen:
            figures += GROUPS[name]()
            bar.advance(1, name)
    write_json(out, {"machine": {**hardware(), "versions": versions()}, "figures": [figure.to_json() for figure in figures]})
    rows = tuple((figure.name, figure.value, figure.unit, figure.bar_text(), figure.verdict(), figure.note) for figure in figures)
    return Table("Figures", ("name", "value", "unit", "bar", "", "note"), rows, (f"Written to {out}",))
