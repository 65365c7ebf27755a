"""The best possible scores of a corpus, where its maker knows them."""

import json
from pathlib import Path

from mer_ray.core.errors import RunError

FUSED = "fused"


def read_ceilings(path: Path) -> dict[str, float]:
    """Weighted F1 by modality, and `fused` for all together, from a JSON file with the key `ceilings`.

    Raises:
        RunError: no such file, not JSON, or without that key.

    """
    if not path.is_file():
        raise RunError(f"{path}: no such file of ceilings; give the corpus.json of a synthetic corpus, or leave `ceilings` out")
    try:
        ceilings = json.loads(path.read_text(encoding="utf-8"))["ceilings"]
        return {str(name): float(value) for name, value in ceilings.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f'{path}: needs {{"ceilings": {{"audio": 0.7, ..., "fused": 0.9}}}} with numbers') from error


def ceiling_of(modalities: tuple[str, ...], ceilings: dict[str, float]) -> float | None:
    """The ceiling that applies to a run: of its one modality, or `fused` where it reads all that have a ceiling."""
    if len(modalities) == 1:
        return ceilings.get(modalities[0])
    return ceilings.get(FUSED) if set(modalities) == ceilings.keys() - {FUSED} else None
