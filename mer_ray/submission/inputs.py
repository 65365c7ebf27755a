"""What a job reads must be there before it is sent away."""

from pathlib import Path

from mer_ray.core.errors import ConfigError
from mer_ray.workflow.job import Job, Step


def check_inputs(job: Job, where: str) -> None:
    """Look for the local files and folders that the first step reads; what later ones read may be made on the way.

    Raises:
        ConfigError: one that is not there, a line each.

    """
    step = job.steps[0]
    missing = [path for path in _read_by(step) if "://" not in path and not Path(path).exists()]
    if missing:
        raise ConfigError("\n".join(f"{where}: {step.verb.name} reads {path}, which is not there; mend the path" for path in missing))


def _read_by(step: Step) -> list[str]:
    """What the verb lists; a verb that finds its own rest lists nothing, but reads its manifest."""
    listed = step.verb.reads(step.config)
    if listed is not None:
        return listed
    manifest = getattr(step.config, "manifest", None)
    return [] if manifest is None or str(manifest) in step.verb.writes(step.config) else [str(manifest)]
