"""All verbs that a job can have: the config each takes, the function it calls, and what it reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from mer_ray.core.config import Config
from mer_ray.core.degradation import SPEECH_LIKE
from mer_ray.core.plugins import shown_name
from mer_ray.core.table import Table
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.dry_run import plan_tables
from mer_ray.extraction.extract import extract
from mer_ray.extraction.feature_export import ExportConfig, export_features
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.mertools_import import ImportConfig, choose_folders, import_mertools
from mer_ray.extraction.synth import synthesise
from mer_ray.extraction.transcription import TranscribeConfig, plan_transcription, transcribe
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.finetune import finetune
from mer_ray.finetuning.plan import plan_finetuning, state_of_finetuning
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.config import PredictConfig
from mer_ray.prediction.evaluate import evaluate
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.predict import plan_prediction, predict
from mer_ray.prediction.robustness import evaluate_robustness, plan_robustness
from mer_ray.prediction.vote_files import VoteConfig, plan_vote, vote
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.probe import plan_probe, probe
from mer_ray.reporting.paper_report import write_paper_report
from mer_ray.reporting.probe_page import write_probe_page
from mer_ray.reporting.report import ReportConfig, write_report
from mer_ray.reporting.robustness_page import write_robustness_page
from mer_ray.reporting.search_page import write_search_page
from mer_ray.reporting.search_report import is_search, search_page_path, write_search_report
from mer_ray.reporting.selftrain_page import write_selftrain_page
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.selftrain import plan_selftraining, selftrain, state_of_selftraining
from mer_ray.training.config import TrainConfig
from mer_ray.training.plan import plan_training, state_of_training
from mer_ray.training.train import train
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.search_folder import SearchFolder
from mer_ray.tuning.tune import plan_search, tune

ConfigType = TypeVar("ConfigType", bound=Config)


@dataclass(frozen=True)
class Verb(Generic[ConfigType]):
    """One verb: `run` does the work, `plan` says what it would do, `writes` are the files and folders it makes.

    `reads` are the local files and folders that decide what it makes, for a verb that a job may skip; None for a verb that
    compares what is wanted with what is there itself and does only what is left. Then `state` is what a dry run says of it once one of the
    places is there that `begins` names: where it works before it writes, for a verb that writes at its end.
    """

    name: str
    config_class: type[ConfigType]
    run: Callable[[ConfigType], list[Table]]
    plan: Callable[[ConfigType], list[Table]]
    writes: Callable[[ConfigType], list[str]]
    reads: Callable[[ConfigType], list[str] | None]
    state: Callable[[ConfigType], str] = lambda config: "does what is left"
    begins: Callable[[ConfigType], list[str]] | None = None


def _plan_from(title: str, **facts: object) -> list[Table]:
    return [Table(title, ("what", "value"), tuple((name.replace("_", " "), str(value)) for name, value in facts.items()))]


def _manifest_reads(config: ManifestConfig) -> list[str] | None:
    """Tables, folders and corrections; media that a table names are compared by the extraction. A bucket is listed anew each time."""
    places = config.corpus.places()
    return None if any("://" in place for place in places) else [*places, *map(str, config.corrections)]


def _export_reads(config: ExportConfig) -> list[str] | None:
    return None if "://" in config.store else [str(config.manifest), config.store]


def _probe(config: ProbeConfig) -> list[Table]:
    summary = probe(config)
    write_probe_page(summary.facts, config.page_out)
    return summary.tables()


def _probe_reads(config: ProbeConfig) -> list[str] | None:
    return None if "://" in config.store else [str(config.manifest), config.store]


def _bundle_reads(config: BundleConfig) -> list[str] | None:
    return [str(run) for run in config.runs]


def _predict_reads(config: PredictConfig) -> list[str] | None:
    """With a store, what is lacking is found there each time; without, features are made again only for other clips or another bundle."""
    local = [path for path in (config.manifest, config.candidates) if path is not None]
    is_remote = any("://" in file for file in config.files)
    return None if config.store is not None or is_remote else [str(config.bundle), *map(str, local), *config.files]


def _finds_its_own_rest(config: Config) -> None:
    return None


def _synth_writes(config: SynthConfig) -> list[str]:
    return [str(config.out / "corpus.json")]


def _plan_synth(config: SynthConfig) -> list[Table]:
    what = "planted features" if config.features else "media files"
    return _plan_from("Synthetic corpus", makes=what, labelled=config.num_clips, unlabelled=config.num_unlabelled, out=config.out)


def _plan_manifest(config: ManifestConfig) -> list[Table]:
    facts: dict[str, object] = {
        "corpus": shown_name(config.corpus),
        "path": ", ".join(config.corpus.places()),
        "folds": config.folds or "none",
    }
    if config.label_map is not None:
        facts["label map"] = ", ".join(config.label_map.target_classes)
    if config.corrections:
        facts["corrections"] = ", ".join(map(str, config.corrections))
    return _plan_from("Manifest", **facts, out=config.out)


def _plan_import(config: ImportConfig) -> list[Table]:
    names = ", ".join(f"{folder.name} ({modality})" for folder, modality in choose_folders(config))
    return _plan_from("Import", path=config.source.path, encoders=names, manifest=config.manifest, store=config.store)


def _plan_export(config: ExportConfig) -> list[Table]:
    what = f"{config.encoder}, layer {config.layer or 'the only one'}"
    return _plan_from("Export", features=what, format=config.features, clips_of=config.manifest, out=config.out)


def _evaluate(config: EvaluateConfig) -> list[Table]:
    if config.noise is None:
        return evaluate(config).tables()
    summary = evaluate_robustness(config)
    write_robustness_page(summary.facts, config.page_out)
    return _with_page(summary.tables(), config.page_out)


def _with_page(tables: list[Table], page: Path) -> list[Table]:
    *others, last = tables
    return [*others, replace(last, notes=(*last.notes, f"page: {page}"))]


def _tune(config: TuneConfig) -> list[Table]:
    summary = tune(config)
    folder = SearchFolder(summary.folder)
    write_search_page(folder, folder.page_path)
    return _with_page(summary.tables(), folder.page_path)


def _report(config: ReportConfig) -> list[Table]:
    if is_search(config):
        return _with_page(write_search_report(config).tables(), search_page_path(config))
    return (write_paper_report(config) if config.table else write_report(config)).tables()


def _evaluate_writes(config: EvaluateConfig) -> list[str]:
    made = [config.out] if config.noise is None else [config.out, config.predictions_out, config.page_out]
    return [str(path) for path in made]


def _evaluate_reads(config: EvaluateConfig) -> list[str] | None:
    """On degraded media as `_predict_reads`."""
    if config.noise is not None:
        recordings = [config.noise.source] if config.noise.source != SPEECH_LIKE else []
        return None if config.noise.store is not None else [str(config.noise.bundle), str(config.labels), *recordings]
    return [str(path) for path in (*config.predictions, config.labels, config.train_labels) if path is not None]


def _plan_evaluate(config: EvaluateConfig) -> list[Table]:
    if config.noise is not None:
        return plan_robustness(config)
    predictions = ", ".join(map(str, config.predictions))
    return _plan_from("Evaluation", predictions=predictions, labels=config.labels, protocol=config.protocol, out=config.out)


def _selftrain(config: SelftrainConfig) -> list[Table]:
    summary = selftrain(config)
    page = summary.folder / "selftrain.html"
    write_selftrain_page(summary.facts, page)
    *tables, last = summary.tables()
    return [*tables, replace(last, notes=(*last.notes, f"page: {page}"))]


def _vote_reads(config: VoteConfig) -> list[str] | None:
    return [str(path) for path in (*config.predictions, config.train_labels, config.candidates) if path is not None]


def _plan_bundle(config: BundleConfig) -> list[Table]:
    return _plan_from("Bundle", runs=", ".join(map(str, config.runs)), out=config.out)


def _plan_report(config: ReportConfig) -> list[Table]:
    return _plan_from("Report", runs=", ".join(map(str, config.runs)), out=_report_out(config))


def _report_out(config: ReportConfig) -> Path:
    return search_page_path(config) if is_search(config) else config.out


VERBS: dict[str, Verb[Any]] = {
    "synth": Verb(
        "synth",
        SynthConfig,
        run=lambda config: synthesise(config).tables(),
        plan=_plan_synth,
        writes=_synth_writes,
        reads=_finds_its_own_rest,
        begins=lambda config: [str(config.out)],
    ),
    "manifest": Verb(
        "manifest",
        ManifestConfig,
        run=lambda config: build_manifest(config).tables(),
        plan=_plan_manifest,
        writes=lambda config: [str(config.out)],
        reads=_manifest_reads,
    ),
    "import": Verb(
        "import",
        ImportConfig,
        run=lambda config: import_mertools(config).tables(),
        plan=_plan_import,
        writes=lambda config: [str(config.manifest), config.store],
        reads=_finds_its_own_rest,
    ),
    "transcribe": Verb(
        "transcribe",
        TranscribeConfig,
        run=lambda config: transcribe(config).tables(),
        plan=lambda config: [plan_transcription(config).table(config)],
        writes=lambda config: [str(config.new_manifest)],
        reads=_finds_its_own_rest,
        begins=lambda config: [config.parts_folder],
    ),
    "extract": Verb(
        "extract",
        ExtractConfig,
        run=lambda config: extract(config).tables(),
        plan=plan_tables,
        writes=lambda config: [config.store],
        reads=_finds_its_own_rest,
    ),
    "export": Verb(
        "export",
        ExportConfig,
        run=lambda config: export_features(config).tables(),
        plan=_plan_export,
        writes=lambda config: [str(config.out)],
        reads=_export_reads,
    ),
    "train": Verb(
        "train",
        TrainConfig,
        run=lambda config: [train(config).table()],
        plan=lambda config: [plan_training(config)],
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
        state=state_of_training,
    ),
    "tune": Verb(
        "tune",
        TuneConfig,
        run=_tune,
        plan=lambda config: [plan_search(config)],
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
    ),
    "probe": Verb(
        "probe",
        ProbeConfig,
        run=_probe,
        plan=plan_probe,
        writes=lambda config: [str(config.page_out), str(config.train_out)],
        reads=_probe_reads,
    ),
    "selftrain": Verb(
        "selftrain",
        SelftrainConfig,
        run=_selftrain,
        plan=plan_selftraining,
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
        state=state_of_selftraining,
    ),
    "finetune": Verb(
        "finetune",
        FinetuneConfig,
        run=lambda config: finetune(config).tables(),
        plan=lambda config: [plan_finetuning(config)],
        writes=lambda config: [str(config.out)],
        reads=_finds_its_own_rest,
        state=state_of_finetuning,
    ),
    "evaluate": Verb(
        "evaluate",
        EvaluateConfig,
        run=_evaluate,
        plan=_plan_evaluate,
        writes=_evaluate_writes,
        reads=_evaluate_reads,
    ),
    "vote": Verb(
        "vote",
        VoteConfig,
        run=vote,
        plan=plan_vote,
        writes=lambda config: [str(config.out)],
        reads=_vote_reads,
    ),
    "bundle": Verb(
        "bundle",
        BundleConfig,
        run=join_bundles,
        plan=_plan_bundle,
        writes=lambda config: [str(config.out)],
        reads=_bundle_reads,
    ),
    "predict": Verb(
        "predict",
        PredictConfig,
        run=lambda config: predict(config).tables(),
        plan=lambda config: [plan_prediction(config)],
        writes=lambda config: [str(config.out)],
        reads=_predict_reads,
    ),
    "report": Verb(
        "report",
        ReportConfig,
        run=_report,
        plan=_plan_report,
        writes=lambda config: [str(_report_out(config))],
        reads=_finds_its_own_rest,
        state=lambda config: "is written each time",
    ),
}
