"""Which column of a user's table is which column of the manifest."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mer_ray.core.manifest import MANIFEST_SCHEMA, MEDIA_COLUMNS
from mer_ray.corpora.faults import Fault


@dataclass(frozen=True)
class ColumnMatch:
    """`sources`: manifest column -> the table's; `class_columns`: those of a soft label, in the order of the classes."""

    sources: dict[str, str]
    class_columns: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def has_source(self) -> bool:
        """Whether the table can say what its clips are: a medium or text."""
        return bool({*MEDIA_COLUMNS, "text"} & set(self.sources))


def match_columns(header: Collection[str], renamed: Mapping[str, str], ignored: Collection[str], classes: Sequence[str]) -> ColumnMatch:
    """Match by name, or by `renamed` (manifest column -> the table's); columns left over are faults."""
    wanted = {name: renamed.get(name, name) for name in MANIFEST_SCHEMA.names if name in renamed or name not in renamed.values()}
    sources = {name: source for name, source in wanted.items() if source in header and source not in ignored}
    taken = {*sources.values(), *ignored}
    class_columns = tuple(name for name in classes if name in header and name not in taken)
    has = f"the table has {', '.join(map(repr, header))}"
    faults = [Fault(None, None, name, f"column {source!r} is missing", has) for name, source in renamed.items() if source not in header]
    faults += [Fault(None, None, name, "is in ignore_columns but not in the table", has) for name in ignored if name not in header]
    if not {*MEDIA_COLUMNS, "text"} & {*sources, *renamed}:
        allowed = f"at least one of {', '.join(MEDIA_COLUMNS)}, text; for another name write `columns: {{path: <name>}}`"
        faults.append(Fault(None, None, "path", "column is missing", allowed))
    unknown = [name for name in header if name not in taken and name not in class_columns]
    all_columns = f"{', '.join(MANIFEST_SCHEMA.names)}; others: name them in `columns`, or list them in `ignore_columns`"
    faults += [
        Fault(None, None, name, f"unknown column {name!r}{nearest_column(name)}", f"as for {unknown[0]!r}" if place else all_columns)
        for place, name in enumerate(unknown)
    ]
    lacking = [name for name in classes if name not in class_columns]
    if class_columns and lacking:
        faults.append(Fault(None, None, lacking[0], "soft label without this class", f"a column for each of {', '.join(classes)}"))
    return ColumnMatch(sources, class_columns if not lacking else (), tuple(faults))


def nearest_column(name: str) -> str:
    """A hint at the manifest column that a name most resembles, empty where none does."""
    close = difflib.get_close_matches(name.lower(), MANIFEST_SCHEMA.names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
