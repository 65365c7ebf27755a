"""How long the demo takes, and how much fusion gains and leaves on the table."""

import json
import tempfile
from pathlib import Path

from mer_ray.bench.command import checkout_file, run_command
from mer_ray.bench.figure import Figure

SINGLE_RUNS = ("audio", "vision", "text")
METRIC = "weighted_f1"


def measure_demo() -> list[Figure]:
    """`demo.*`: weighted F1 over pooled, speaker-disjoint folds, mean of the seeds, against Bayes' rule on the latent draws."""
    job = checkout_file("jobs/demo.yaml")
    with tempfile.TemporaryDirectory() as folder:
        seconds = run_command(["mer_ray.cli", "run", str(job), f"vars.out={folder}"])
        score = {name: _score(Path(folder) / "runs" / name) for name in (*SINGLE_RUNS, "fused")}
        corpus = json.loads((Path(folder) / "corpus" / "corpus.json").read_text())
    best_single = max(SINGLE_RUNS, key=lambda name: score[name])
    ceiling = corpus["ceilings"]["fused"]
    scores = ", ".join(f"{name} {value:.3f}" for name, value in score.items())
    return [
        Figure("demo.seconds", seconds, "s", "lower", 180, "`mer-ray run jobs/demo.yaml` in an empty folder, after set-up"),
        Figure("demo.fused_minus_best_single", score["fused"] - score[best_single], "weighted F1", "higher", 0.08, scores),
        Figure("demo.ceiling_minus_fused", ceiling - score["fused"], "weighted F1", "lower", 0.10, f"ceiling {ceiling:.3f}"),
    ]


def _score(run: Path) -> float:
    scores = json.loads((run / "scores.json").read_text())
    return float(scores["splits"]["test"]["mean"][METRIC])
