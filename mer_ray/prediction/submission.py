"""Predictions in the files that challenges take: exactly the candidates' names, once, in their order.

MER2023: name,discrete,valence. MER2024 and MER2025 (track 1): name,discrete.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from mer_ray.core.errors import ConfigError
from mer_ray.corpora.mertools_labels import CLASSES
from mer_ray.prediction.prediction_table import prior_rows
from mer_ray.training.bundle_facts import BundleFacts

NO_SUCH_CLIP = "no such clip in the manifest, or in the splits chosen"
SubmissionFormat = Literal["mer2023", "mer2024", "mer2025"]
COLUMNS: dict[SubmissionFormat, dict[str, str]] = {
    "mer2023": {"clip_id": "name", "emotion": "discrete", "valence": "valence"},
    "mer2024": {"clip_id": "name", "emotion": "discrete"},
    "mer2025": {"clip_id": "name", "emotion": "discrete"},
}


def read_candidates(path: Path) -> list[str]:
    """The names of a candidates file: the column `name` of a CSV, or a name per line.

    Raises:
        ConfigError: no such file, no names, or a name twice.

    """
    if not path.is_file():
        raise ConfigError(f"candidates: {path}: no such file; give the challenge's list of names")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"candidates: {path}: not a CSV of names in UTF-8 ({error})") from error
    column = 0
    if rows and "name" in rows[0]:
        column = rows[0].index("name")
        rows = rows[1:]
    elif any(len(row) > 1 for row in rows):
        raise ConfigError(f"candidates: {path}: has several columns, and none is called name; give a header with name, or a name per line")
    short = next((number for number, row in enumerate(rows, start=1) if len(row) <= column or not row[column]), None)
    if short is not None or not rows:
        raise ConfigError(f"candidates: {path}: {f'row {short} has no name' if rows else 'holds no names'}; a name per row is needed")
    names = [row[column] for row in rows]
    doubled = next((name for name, number in zip(names, _counts(names), strict=True) if number > 1), None)
    if doubled is not None:
        raise ConfigError(f"candidates: {path}: {doubled!r} is listed twice; a submission has each name once")
    return names


def _counts(names: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [seen[name] for name in names]


def check_task(facts: BundleFacts, chosen: SubmissionFormat) -> None:
    """Refuse a bundle that cannot fill the file, before anything is encoded.

    Raises:
        ConfigError: other classes than the challenge's, or no valence where the file has one.

    """
    foreign = [name for name in facts.classes if name not in CLASSES]
    if foreign:
        raise ConfigError(
            f"format: {chosen}: the bundle predicts {foreign[0]!r}, the challenge has {', '.join(CLASSES)}; train with a label_map to them"
        )
    if "valence" in COLUMNS[chosen] and "valence" not in facts.values:
        raise ConfigError(f"format: {chosen}: its file has a valence, the bundle predicts none; train with values: [valence]")


def complete(table: pa.Table, names: Sequence[str], facts: BundleFacts) -> pa.Table:
    """The rows of exactly these names, in their order; a name without a clip gets the prior and a note."""
    row_of = {clip_id: row for row, clip_id in enumerate(table["clip_id"].to_pylist())}
    absent = [name for name in names if name not in row_of]
    priors = prior_rows(absent, facts.prior_probs, facts.prior_values, facts.task, NO_SUCH_CLIP)
    both = pa.concat_tables([table, priors])
    row_of |= {name: table.num_rows + number for number, name in enumerate(absent)}
    return both.take(pa.array([row_of[name] for name in names], pa.int64()))


def to_submission(table: pa.Table, chosen: SubmissionFormat) -> pa.Table:
    """The columns of the challenge's file."""
    columns = COLUMNS[chosen]
    return table.select(list(columns)).rename_columns(list(columns.values()))
