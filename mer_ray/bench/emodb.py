"""Leave-one-speaker-out on the part of EmoDB that lies beside the checkout."""

import json
import tempfile
from pathlib import Path

from mer_ray.bench.command import checkout_file, run_command
from mer_ray.bench.figure import Figure

DATA = Path("../shared/data/emodb")


def measure_emodb() -> list[Figure]:
    """`emodb.*`: UAR over pooled folds, mean of the seeds; absent where the corpus is not there."""
    job = checkout_file("jobs/emodb/loso.yaml")
    if not DATA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        run_command(["mer_ray.cli", "run", str(job), f"vars.out={folder}", f"vars.emodb={DATA}"])
        transductive, strict = (_scores(Path(folder) / "runs" / name) for name in ("speaker_normalised", "strict"))
    return [
        _figure("emodb.loso_uar", transductive, 0.66, "transductive: each speaker normalised by its own unlabelled clips"),
        _figure("emodb.loso_uar_strict", strict, 0.58, "training statistics only"),
    ]


def _figure(name: str, scores: dict[str, dict[str, float]], bar: float, note: str) -> Figure:
    spread = f"sd over seeds {scores['std']['uar']:.3f}"
    return Figure(name, scores["mean"]["uar"], "UAR", "higher", bar, f"{note}; hyper-parameters from an inner speaker loop; {spread}")


def _scores(run: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((run / "scores.json").read_text())["splits"]["test"]
    return found
