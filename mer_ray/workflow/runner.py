"""Run a job's steps in order; a step that finished before is skipped while its config, inputs and outputs are unchanged."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import digest_of
from mer_ray.core.table import Table
from mer_ray.workflow.job import Job
from mer_ray.workflow.verbs import Verb


@dataclass(frozen=True)
class StepResult:
    """What one step gave: its tables, its seconds, and whether it was skipped."""

    verb: str
    tables: tuple[Table, ...]
    seconds: float
    skipped: bool


def run_job(job: Job, announce: Callable[[str], None], show: Callable[[StepResult], None]) -> list[StepResult]:
    """Run all steps; the first error ends the job, and starting it again goes on there."""
    results = []
    for number, step in enumerate(job.steps, start=1):
        announce(f"step {number} of {len(job.steps)}: {step.verb.name} {', '.join(step.verb.writes(step.config))}")
        result = _run_step(step.verb, step.config)
        show(result)
        results.append(result)
    return results


def _run_step(verb: Verb[Any], config: Any) -> StepResult:
    start_s = perf_counter()
    if is_finished(verb, config):
        return StepResult(verb.name, (), 0.0, skipped=True)
    marker, reads = _marker(verb, config), verb.reads(config)
    marker.unlink(missing_ok=True)
    inputs_before = None if reads is None else fingerprint(reads)
    tables = verb.run(config)
    if inputs_before is not None:
        write_json(marker, _record(verb, config, inputs_before))
    return StepResult(verb.name, tuple(tables), perf_counter() - start_s, skipped=False)


def is_finished(verb: Verb[Any], config: Any) -> bool:
    """Whether the step's marker stands, and neither what it read nor what it wrote has changed since."""
    reads, marker = verb.reads(config), _marker(verb, config)
    if reads is None or not marker.is_file():
        return False
    try:
        recorded = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        # A damaged marker proves nothing: the step runs again.
        return False
    return bool(recorded == _record(verb, config, fingerprint(reads)))


def state_of(verb: Verb[Any], config: Any) -> str:
    """What a dry run says of a step."""
    if verb.reads(config) is not None:
        return "finished, would be skipped" if is_finished(verb, config) else "to do"
    places = (verb.begins or verb.writes)(config)
    # Only the verb itself can tell what lies in a bucket.
    is_begun = any("://" in place or Path(place).exists() for place in places)
    return verb.state(config) if is_begun else "to do"


def _record(verb: Verb[Any], config: Any, inputs: str) -> dict[str, str]:
    return {"verb": verb.name, "config": _config_digest(config), "inputs": inputs, "outputs": fingerprint(verb.writes(config))}


def _marker(verb: Verb[Any], config: Any) -> Path:
    output = Path(verb.writes(config)[0])
    return output.with_name(f".{output.name}.{verb.name}.done.json")


def _config_digest(config: Any) -> str:
    return digest_of(config.model_dump(mode="json"))


def fingerprint(paths: Sequence[str]) -> str:
    """A digest over names, sizes and modification times of files, folders walked through; absent ones count as absent."""
    entries: list[Any] = []
    for path in map(Path, paths):
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        for file in files:
            status = file.stat() if file.exists() else None
            entries.append((str(file), status.st_size, status.st_mtime_ns) if status else (str(file), None, None))
    return digest_of(entries)
