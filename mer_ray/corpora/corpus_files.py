"""What adapters of released folders share: which label file is meant, its lines, rows as a table, names in notes."""

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, resolve_path
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem, what_happened
from mer_ray.corpora._base import manifest_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.listing import Listed

# What str.splitlines takes for ends of lines besides these can stand inside a sentence.
_LINE_END = re.compile(r"\r\n|\r|\n")
MAX_NAMED = 3
# Remote ones wait for answers most of the time.
NUM_READERS = 16


def nearest_to_root(found: Iterable[Listed], names: Collection[str]) -> str | None:
    """The path with the fewest folders whose file has one of these names, None where there is none.

    Raises:
        ManifestError: two of them are equally near, so that nobody knows which is meant.

    """
    paths = [item.path for item in found if item.problem is None and posixpath.basename(item.path) in names]
    least = min((path.count("/") for path in paths), default=0)
    nearest = [path for path in paths if path.count("/") == least]
    if len(nearest) > 1:
        raise ManifestError(f"{' and '.join(nearest)}: only one of them can hold the labels; rename or remove the others")
    return nearest[0] if nearest else None


def read_files(root: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The bytes of small files below the root, in the order of `paths`, several at a time.

    Raises:
        ManifestError: one of them cannot be read.

    """
    filesystem, _ = find_filesystem(root)
    names = [find_filesystem(resolve_path(root, path))[1] for path in paths]
    try:
        with ThreadPoolExecutor(NUM_READERS) as pool:
            # Not `cat`, which would take brackets in a name for a pattern.
            return dict(zip(paths, pool.map(filesystem.cat_file, names), strict=True))
    except STORAGE_FAULTS as error:
        raise ManifestError(f"{root}: a file of labels or words cannot be read: {what_happened(error)}") from error


def split_lines(path: str, content: bytes) -> list[str]:
    """The lines of a UTF-8 file, with Unix, Windows or old Macintosh ends, without them.

    Raises:
        ManifestError: it is not UTF-8.

    """
    try:
        return _LINE_END.split(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}: line {line} is not UTF-8; save the file with the encoding UTF-8") from error


def rows_to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table with all columns of the manifest; what a row does not name is null."""
    return manifest_table({name: [row.get(name) for row in rows] for name in MANIFEST_SCHEMA.names}, len(rows))


def listing_faults(found: Iterable[Listed]) -> list[Fault]:
    """Faults of folders that were not followed, numbered from 1: they come first, because labels without media follow from them."""
    closed = [item for item in found if item.is_closed_folder]
    return [
        Fault(row, None, "path", f"{item.path!r} {item.problem}", "folders that can be listed") for row, item in enumerate(closed, start=1)
    ]


def name_some(names: Collection[str]) -> str:
    """The first names in order and how many more there are, for a note."""
    first = sorted(names)[:MAX_NAMED]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
