"""What every corpus promises: facts and rows that hold together, and the same ones at each scan."""

import math
import os
import pickle
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, partial

from mer_ray.core.contract import Check, require
from mer_ray.core.manifest import CORPUS_NAME, MANIFEST_SCHEMA, PATH_COLUMNS, VALUE_COLUMNS, ManifestFacts
from mer_ray.corpora._base import BaseCorpusConfig, Scan
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.stored_files import FileFault, find_files
from mer_ray.corpora.validation import check_rows

SEXES = ("female", "male", "other")
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class CorpusSubject:
    """A corpus under examination, scanned once."""

    config: BaseCorpusConfig

    @cached_property
    def read(self) -> tuple[Scan, ManifestFacts]:
        """Scan and facts of one build."""
        corpus = self.config.build()
        return corpus.scan(), corpus.facts()

    @property
    def scan(self) -> Scan:
        """The rows."""
        return self.read[0]

    @property
    def facts(self) -> ManifestFacts:
        """What holds for all rows."""
        return self.read[1]

    @cached_property
    def faults(self) -> list[Fault]:
        """What the validation finds in rows that the scan itself does not name as faulty."""
        known = {fault.row for fault in self.scan.faults}
        found = [] if self.scan.is_checked else check_rows(self.scan, self.facts)
        return [fault for fault in found if fault.row not in known]


def check_facts(subject: CorpusSubject) -> None:
    """The facts name a folder of the store, differing classes, and ranges that are ranges."""
    facts = subject.facts
    require(CORPUS_NAME.fullmatch(facts.corpus) is not None, f"corpus {facts.corpus!r} cannot name a folder: letters, digits and . _ @ + -")
    require(len(set(facts.classes)) == len(facts.classes) and all(facts.classes), f"classes {facts.classes} are empty or named twice")
    for name, (low, high) in facts.value_ranges.items():
        require(name in VALUE_COLUMNS, f"value_ranges name {name!r}; allowed: {', '.join(VALUE_COLUMNS)}")
        require(math.isfinite(low) and math.isfinite(high) and low < high, f"the range of {name} is [lowest, highest], not [{low}, {high}]")
    require("://" in facts.root or os.path.isabs(facts.root), f"root {facts.root!r} depends on the working folder; make it absolute")


def check_table(subject: CorpusSubject) -> None:
    """The rows have the columns of a manifest, and each its number in the source."""
    table, numbers = subject.scan.table, subject.scan.row_numbers
    wanted = {field.name: field.type for field in MANIFEST_SCHEMA}
    found = {field.name: field.type for field in table.schema}
    differing = [name for name in dict.fromkeys((*wanted, *found)) if wanted.get(name) != found.get(name)]
    require(not differing, f"the table differs from a manifest in {', '.join(differing)}; make it with manifest_table")
    require(len(numbers) == table.num_rows, f"{len(numbers)} row_numbers for {table.num_rows} rows")
    require(len(set(numbers)) == len(numbers), "a number of row_numbers stands twice")
    require(table.num_rows > 0 or bool(subject.scan.faults), "finds neither clips nor faults; raise ManifestError where nothing is there")


def check_columns(columns: Collection[str], subject: CorpusSubject) -> None:
    """The validation finds no fault in some columns."""
    broken = [fault for fault in subject.faults if fault.column in columns]
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    require(not broken, f"{broken[0] if broken else ''}{more}")


def check_soft_labels(subject: CorpusSubject) -> str | None:
    """Soft labels are distributions over the classes."""
    rows = [(index, probs) for index, probs in enumerate(subject.scan.table["emotion_probs"].to_pylist()) if probs is not None]
    if not rows:
        return "it has none"
    for index, probs in rows:
        is_one = len(probs) == len(subject.facts.classes) and min(probs) >= 0 and abs(sum(probs) - 1) <= SUM_TOLERANCE
        require(
            is_one,
            f"clip {subject.scan.clip_ids[index]!r}: emotion_probs {probs} is no distribution over {len(subject.facts.classes)} classes",
        )
    return None


def check_sexes(subject: CorpusSubject) -> str | None:
    """Sexes are told in our words."""
    found = set(subject.scan.table["sex"].to_pylist()) - {None}
    require(found <= set(SEXES), f"sex {', '.join(sorted(map(repr, found - set(SEXES))))}; allowed: {', '.join(SEXES)}, or unknown")
    return None if found else "it tells none"


def check_faults(subject: CorpusSubject) -> str | None:
    """Faults say where, what and what is allowed, and agree with the rows they name."""
    scan = subject.scan
    ids = dict(zip(scan.row_numbers, scan.clip_ids, strict=True))
    for fault in scan.faults:
        require(bool(fault.what and fault.allowed), f"a fault does not say what is wrong and what is allowed: {fault}")
        require(
            fault.column in (None, *MANIFEST_SCHEMA.names), f"a fault names the column {fault.column!r}, which no manifest has: {fault}"
        )
        known = ids.get(fault.row, fault.clip_id) if fault.row is not None else fault.clip_id
        require(fault.clip_id in (None, known), f"a fault of row {fault.row} names clip {fault.clip_id!r}, the row is {known!r}")
    return None if scan.faults else "it has none"


def check_files(subject: CorpusSubject) -> str | None:
    """Paths lead to files below the root; single ones may be missing, which the manifest tells."""
    paths = {path for name in PATH_COLUMNS for path in subject.scan.table[name].to_pylist() if path is not None}
    if not paths:
        return "its clips have no files"
    found = find_files(paths, subject.facts.root)
    missing = [path for path, size in found.items() if isinstance(size, FileFault)]
    require(len(missing) < len(found), f"none of its {len(found)} files is there, e.g. {missing[:1]} below {subject.facts.root}")
    return None


def check_repeated_scan(subject: CorpusSubject) -> None:
    """Another build finds the same rows in the same order."""
    again = CorpusSubject(subject.config)
    require(again.facts == subject.facts, "the facts differ from build to build")
    require(again.scan.table.equals(subject.scan.table), "the rows differ from scan to scan; sort what is listed")
    same_numbers = list(again.scan.row_numbers) == list(subject.scan.row_numbers)
    require(same_numbers and list(again.scan.faults) == list(subject.scan.faults), "row numbers or faults differ from scan to scan")


def check_config(subject: CorpusSubject) -> None:
    """The config names what it reads, and travels to other processes."""
    require(bool(subject.config.places()), "places() names no file or folder")
    require(pickle.loads(pickle.dumps(subject.config)) == subject.config, "the config is another one after pickle")  # noqa: S301 - pickled in this line


CORPUS_CHECKS: tuple[Check[CorpusSubject], ...] = (
    Check("facts describe a corpus", check_facts),
    Check("rows are those of a manifest", check_table),
    Check("ids are unique", partial(check_columns, ("clip_id",))),
    Check("paths stay below the root", partial(check_columns, PATH_COLUMNS)),
    Check("files are there", check_files),
    Check("labels are known classes", partial(check_columns, ("emotion",))),
    Check("soft labels are distributions", check_soft_labels),
    Check("values are in range", partial(check_columns, VALUE_COLUMNS)),
    Check("segments have a length", partial(check_columns, ("start_s", "end_s"))),
    Check("splits and folds can be used", partial(check_columns, ("split", "fold"))),
    Check("sexes are known words", check_sexes),
    Check("faults say what is wrong", check_faults),
    Check("two scans are the same", check_repeated_scan),
    Check("the config says what it reads", check_config),
)
