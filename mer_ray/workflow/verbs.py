"""All verbs that a job can have: the config each takes, the function it calls, and what it reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mer_ray.core.config import Config
from mer_ray.core.table import Table
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.plan import plan_extraction
from mer_ray.extraction.synth import synthesise
from mer_ray.reporting.report import ReportConfig, write_report
from mer_ray.training.config import TrainConfig
from mer_ray.training.plan import plan_training
from mer_ray.training.train import train

ConfigType = TypeVar("ConfigType", bound=Config)


@dataclass(frozen=True)
class Verb(Generic[ConfigType]):
    """One verb: `run` does the work, `plan` says what it would do, `writes` are the files and folders it makes.

    `reads` are the local files and folders that decide what it makes, for a verb that a job may skip; None for a verb that
    compares what is wanted with what is there itself and does only what is left.
    """

    name: str
    config_class: type[ConfigType]
    run: Callable[[ConfigType], list[Table]]
    plan: Callable[[ConfigType], Table]
    writes: Callable[[ConfigType], list[str]]
    reads: Callable[[ConfigType], list[str] | None]


def _plan_from(title: str, **facts: object) -> Table:
    return Table(title, ("what", "value"), tuple((name.replace("_", " "), str(value)) for name, value in facts.items()))


def _manifest_reads(config: ManifestConfig) -> list[str] | None:
    """The table or folder; media that a table names are compared by the extraction. A bucket is listed anew each time."""
    return None if "://" in config.corpus.path else [config.corpus.path]


def _finds_its_own_rest(config: Config) -> None:
    return None


def _synth_writes(config: SynthConfig) -> list[str]:
    return [str(config.out / "corpus.json")]


def _plan_synth(config: SynthConfig) -> Table:
    what = "planted features" if config.features else "media files"
    return _plan_from("Synthetic corpus", makes=what, labelled=config.num_clips, unlabelled=config.num_unlabelled, out=config.out)


def _plan_manifest(config: ManifestConfig) -> Table:
    return _plan_from("Manifest", corpus=config.corpus.name, path=config.corpus.path, folds=config.folds or "none", out=config.out)


def _plan_report(config: ReportConfig) -> Table:
    return _plan_from("Report", runs=", ".join(map(str, config.runs)), out=config.out)


VERBS: dict[str, Verb[Any]] = {
    "synth": Verb(
        "synth",
        SynthConfig,
        run=lambda config: synthesise(config).tables(),
        plan=_plan_synth,
        writes=_synth_writes,
        reads=_finds_its_own_rest,
    ),
    "manifest": Verb(
        "manifest",
        ManifestConfig,
        run=lambda config: build_manifest(config).tables(),
        plan=_plan_manifest,
        writes=lambda config: [str(config.out)],
        reads=_manifest_reads,
    ),
    "extract": Verb(
        "extract",
        ExtractConfig,
        run=lambda config: extract(config).tables(),
        plan=lambda config: plan_extraction(config).table(),
        writes=lambda config: [config.store],
        reads=_finds_its_own_rest,
    ),
    "train": Verb(
        "train",
        TrainConfig,
        run=lambda config: [train(config).table()],
        plan=plan_training,
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
    ),
    "report": Verb(
        "report",
        ReportConfig,
        run=lambda config: write_report(config).tables(),
        plan=_plan_report,
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
    ),
}
