"""The command line: parse, call one function, print.

The packages behind the verbs load torch and Ray, which takes seconds: each command imports its own when it runs,
so that `--help` and a mistyped word answer at once.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from mer_ray.core.config import apply_overrides, dump_yaml, load_yaml, parse_config
from mer_ray.core.errors import ConfigError, MerRayError
from mer_ray.core.table import Table

if TYPE_CHECKING:
    from mer_ray.submission.ray_jobs import SentJob

app = typer.Typer(
    name="mer-ray",
    help="Emotion recognition from video, audio and text: raw clips -> features -> trained models -> report, on a laptop or a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

store_app = typer.Typer(help="Look at a feature store, check it, merge its parts, delete clips from it.", no_args_is_help=True)
app.add_typer(store_app, name="store")
encoders_app = typer.Typer(help="List encoders and their published weights, convert and collect weights.", no_args_is_help=False)
app.add_typer(encoders_app, name="encoders")
jobs_app = typer.Typer(help="Watch and stop the jobs of a cluster.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")

# What the command line toolkit exits with after Ctrl-C.
INTERRUPTED = 130
TERMINATED = 143
PIPE_WIDTH = 160

Words = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG.yaml] [key.sub=value]...", show_default=False)]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the resolved config and stop.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="The cluster's dashboard, e.g. http://127.0.0.1:8265; RAY_API_SERVER_ADDRESS by default.", show_default=False
    ),
]
Shared = Annotated[
    list[Path] | None,
    typer.Option("--shared", help="A folder that all machines of the cluster mount at this path; may be given again.", show_default=False),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="As `mer-ray jobs ls` shows it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, without starting Ray, and stop.")]


class LeftRunningError(SystemExit):
    """The user turned away from a job that goes on elsewhere."""


def main() -> None:
    """Run the command line; an error that the user can mend is one line per fault and a non-zero exit."""
    try:
        app()
    except MerRayError as error:
        _fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())
        _fail(f"{error.filename or 'a file'}: {reason}; check that it exists, that you may use it and that there is room", 1)
    except LeftRunningError:
        raise
    except SystemExit as ended:
        if ended.code in (INTERRUPTED, TERMINATED):
            how = "interrupted" if ended.code == INTERRUPTED else "ended by SIGTERM"
            print(f"mer-ray: {how}; what is done is kept, the same command goes on from there (a search: with --resume)", file=sys.stderr)
        raise


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        print(f"mer-ray: error: {line}", file=sys.stderr)
    sys.exit(code)


@app.command()
def run(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Run a job file: its steps in order, finished ones skipped."""
    from mer_ray.workflow.job import load_job
    from mer_ray.workflow.runner import StepResult, run_job, state_of

    path, overrides = _split(words)
    if path is None:
        raise ConfigError("run: name a job file: mer-ray run JOB.yaml [vars.name=value]...")
    job = load_job(path, overrides)
    console = _console()
    if print_config:
        _print(job.to_yaml())
        return
    if dry_run:
        for number, step in enumerate(job.steps, start=1):
            _print(f"step {number}: {step.verb.name} -> {', '.join(step.verb.writes(step.config))}: {state_of(step.verb, step.config)}")
        return

    def show(result: StepResult) -> None:
        _show(result.tables, console)
        _print("  finished before: skipped" if result.skipped else f"  {result.verb}: {result.seconds:.1f} s")

    run_job(job, announce=_print, show=show)


@app.command()
def submit(
    words: Annotated[list[str], typer.Argument(metavar="JOB.yaml [vars.name=value]...", show_default=False)],
    address: Address = None,
    shared: Shared = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log, and exit as the job does.")] = True,
    slurm: Annotated[Path | None, typer.Option("--slurm", help="Give it to Slurm, as this site file says.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --slurm: write the batch script, and stop.")] = False,
) -> None:
    """Send a job file to a Ray cluster, follow its log, and exit with its status; Ctrl-C leaves it running. Or give it to Slurm."""
    path, overrides = _split(words)
    if path is None:
        raise ConfigError("submit: name a job file: mer-ray submit JOB.yaml [vars.name=value]... --address URL")
    if slurm is not None:
        from mer_ray.submission.slurm import submit_to_slurm

        if address or shared or not wait:
            raise ConfigError("submit: --address, --shared and --no-wait belong to a Ray cluster; leave them out with --slurm")
        _show([submit_to_slurm(path, overrides, slurm, send=not dry_run).table()], _console())
        return
    if dry_run:
        raise ConfigError("submit: --dry-run belongs to --slurm; `mer-ray run JOB.yaml --dry-run` shows the steps of a job")
    from mer_ray.submission.submit import submit as send

    sent = send(path, overrides, address, shared or [], announce=_tell)
    if wait:
        _follow(sent)
    else:
        _tell(sent.how_to_come_back())


@jobs_app.command("ls")
def jobs_ls(address: Address = None) -> None:
    """List the jobs of a cluster, newest first."""
    from mer_ray.submission.ray_jobs import ClusterJobs, describe

    jobs = ClusterJobs(address)
    rows = [describe(details) for details in jobs.list()]
    columns = ("job", "status", "file", "began", "seconds")
    _show([Table(f"Jobs at {jobs.address}", columns, tuple(tuple(row[name] for name in columns) for row in rows))], _console())


@jobs_app.command("logs")
def jobs_logs(
    job: JobId, address: Address = None, follow: Annotated[bool, typer.Option("-f", "--follow", help="Until it ends.")] = False
) -> None:
    """Show what a job has printed."""
    from mer_ray.submission.ray_jobs import ClusterJobs, SentJob

    jobs = ClusterJobs(address)
    if follow:
        jobs.status(job)
        _follow(SentJob(jobs, job))
    else:
        _print(jobs.logs(job).rstrip("\n"))


@jobs_app.command("status")
def jobs_status(job: JobId, address: Address = None) -> None:
    """Show how a job is; exits as the job did, with 0 while it runs."""
    from mer_ray.submission.ray_jobs import ClusterJobs, describe, exit_code

    details = ClusterJobs(address).status(job)
    for name, value in describe(details).items():
        if value not in ("", None):
            _print(f"{name}: {value}")
    if details.status.is_terminal():
        raise typer.Exit(exit_code(details))


@jobs_app.command("stop")
def jobs_stop(job: JobId, address: Address = None) -> None:
    """Ask a job to end; what is done is kept, and the same job submitted again goes on from there."""
    from mer_ray.submission.ray_jobs import ClusterJobs

    jobs = ClusterJobs(address)
    _print(f"{job}: is being stopped" if jobs.stop(job) else f"{job}: has ended already")


def _follow(sent: "SentJob") -> None:
    from mer_ray.submission.ray_jobs import exit_code

    try:
        details = sent.jobs.follow(sent.job_id, lambda text: print(text, end="", flush=True))
    except (KeyboardInterrupt, BrokenPipeError):
        _tell(f"job {sent.job_id} goes on. {sent.how_to_come_back()}")
        # Python would try once more to show what a reader who left does not take.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise LeftRunningError(INTERRUPTED) from None
    _tell(f"job {sent.job_id}: {details.status.value.lower()}")
    if exit_code(details):
        raise typer.Exit(exit_code(details))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command()
def synth(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    features: Annotated[bool, typer.Option("--features", help="Make a store of planted features instead of media.")] = False,
) -> None:
    """Make a synthetic corpus of real .mp4 files, with the best possible scores stored beside it."""
    _run_verb("synth", words, print_config, dry_run, {}, {"features": {}} if features else {})


@app.command()
def manifest(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Write the good rows and a table of the bad.")] = False,
) -> None:
    """Turn a corpus into a manifest: scan, probe headers, validate, fold."""
    _run_verb("manifest", words, print_config, dry_run, {"keep_going": True} if keep_going else {}, {})


@app.command("import")
def import_(
    words: Annotated[list[str] | None, typer.Argument(metavar="mertools DIR | CONFIG.yaml  [key.sub=value]...", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where manifest.parquet and store/ go; ./work by default.")] = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Import the good rows and write a table of the bad.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Read files again that failed before.")] = False,
) -> None:
    """Make manifest and store from a folder of another toolkit, ready to train on."""
    words = list(words or [])
    if len(words) > 1 and "=" not in words[0] and "=" not in words[1]:
        source, folder = words[:2]
        words = [f"source.name={json.dumps(source)}", f"source.path={json.dumps(folder)}", *words[2:]]
        out = out or Path("work")
    if out is not None:
        words += [f"manifest={json.dumps(str(out / 'manifest.parquet'))}", f"store={json.dumps(str(out / 'store'))}"]
    given = {"keep_going": keep_going, "retry_failed": retry_failed}
    _run_verb("import", words, print_config, dry_run, {key: True for key, is_given in given.items() if is_given}, {})


@app.command()
def transcribe(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")] = False,
) -> None:
    """Give the clips of a manifest that have no sentence one, by Whisper, on Ray Data."""
    _run_verb("transcribe", words, print_config, dry_run, {"retry_failed": True} if retry_failed else {}, {})


@app.command()
def extract(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")] = False,
    part: Annotated[str | None, typer.Option("--part", help="Part i/n of the clips, e.g. 2/5: for the tasks of a job array.")] = None,
) -> None:
    """Encode the clips of a manifest into a feature store, on Ray Data."""
    flags = ({"retry_failed": True} if retry_failed else {}) | ({"part": part} if part else {})
    _run_verb("extract", words, print_config, dry_run, flags, {})


@app.command()
def export(
    source: Annotated[str, typer.Argument(metavar="STORE|BUNDLE", help="The store or the bundle to read.")],
    out: Annotated[Path, typer.Option("--out", help="The folder, or the .onnx file, to write.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write a bundle's fusion model as ONNX.")] = False,
    allow_plugins: Annotated[bool, typer.Option("--allow-plugins", help="Let Python files in the bundle run.")] = False,
    features: Annotated[str | None, typer.Option("--features", help="Of a store: mertools (.npy) or datasets (Hugging Face).")] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="Of a store: whose clips, with their labels.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Of a store: name, or name@identity8.")] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Needed where the encoder has several.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let a folder go that is there already.")] = False,
) -> None:
    """Write the features of a store's encoder as files for other tools, or a bundle's fusion model as ONNX."""
    of_store = {"features": features, "manifest": None if manifest is None else str(manifest), "encoder": encoder}
    if onnx:
        from mer_ray.prediction.onnx_export import export_onnx

        given = [f"--{name}" for name, value in of_store.items() if value is not None]
        if given:
            raise ConfigError(f"export: {given[0]} belongs to a store, --onnx to a bundle; give one of them")
        _show(export_onnx(Path(source), out, allow_plugins), _console())
        return
    wanted = {name: value for name, value in of_store.items() if value is not None}
    _run_verb("export", None, False, False, {**wanted, "store": source, "layer": layer, "out": str(out), "replace": replace}, {})


@app.command()
def bundle(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or bundles.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle to write.")],
    weights: Annotated[str | None, typer.Option("--weights", help="One per run, e.g. 2,1,1; equal by default.")] = None,
) -> None:
    """Join several runs into one bundle, whose predictions are averaged."""
    try:
        parts = None if weights is None else [float(weight) for weight in weights.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights {weights}: numbers with commas between them, e.g. 2,1,1") from error
    _run_verb("bundle", None, False, False, {"runs": [str(run) for run in runs], "out": str(out), "weights": parts}, {})


@app.command()
def predict(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="BUNDLE (FILE|FOLDER|s3://...)... | CONFIG.yaml  [key.sub=value]...", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The .csv or .parquet to write.")] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="Predict the clips of a manifest.")] = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="Only this split of the manifest; may be given again.")] = None,
    store: Annotated[str | None, typer.Option("--store", help="Features that are there are read, what is lacking is added.")] = None,
    window: Annotated[float | None, typer.Option("--window", help="A timeline: seconds of each window.")] = None,
    hop: Annotated[float | None, typer.Option("--hop", help="Seconds from one window to the next.")] = None,
    without: Annotated[list[str] | None, typer.Option("--without", help="Leave out audio, vision or text.")] = None,
    abstain_below: Annotated[float | None, typer.Option("--abstain-below", help="Mark predictions of lower confidence.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="A challenge's file: mer2023, mer2024 or mer2025.")] = None,
    candidates: Annotated[Path | None, typer.Option("--candidates", help="Exactly these names, in their order.")] = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
) -> None:
    """Predict files, or the clips of a manifest, with a trained bundle and its own encoders."""
    words = list(words or [])
    sources = [word for word in words if "=" not in word or word.startswith("s3://") or Path(word).exists()]
    overrides = [word for word in words if word not in sources]
    config_file = [sources.pop(0)] if sources and Path(sources[0]).suffix in (".yaml", ".yml") else []
    given: dict[str, Any] = {"out": out, "manifest": manifest, "store": store, "format": file_format, "candidates": candidates}
    given |= {"window_s": window, "hop_s": hop, "abstain_below": abstain_below, "splits": split, "without": without}
    if sources and not config_file:
        given["bundle"] = sources.pop(0)
    given["files"] = sources or None
    if out is None and not config_file and not any(word.startswith("out=") for word in overrides):
        raise ConfigError("predict: name the file to write: -o predictions.csv (or .parquet)")
    flags = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    _run_verb("predict", [*config_file, *overrides], print_config, dry_run, flags, {})


@app.command()
def train(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Train a fusion model over folds and seeds."""
    _run_verb("train", words, print_config, dry_run, {}, {})


@app.command()
def tune(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a search that was interrupted.")] = False,
) -> None:
    """Search the values of a training's config: layers, models, loss weights; on Ray Tune with Optuna."""
    _run_verb("tune", words, print_config, dry_run, {"resume": True} if resume else {}, {})


@app.command()
def probe(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="STORE --manifest M | CONFIG.yaml  [key.sub=value]...", show_default=False)
    ] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="The clips, their labels and folds.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder for ranking, page and config; ./probe by default.")] = None,
    top: Annotated[int | None, typer.Option("--top", help="How many layers the config of train gets; 3 by default.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What ranks: weighted_f1 (default), uar, valence_ccc, ...")] = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
) -> None:
    """Rank all layers of a store by ridge regression over folds of speakers, and write a training of the best."""
    words = list(words or [])
    store = words.pop(0) if words and "=" not in words[0] and Path(words[0]).suffix not in (".yaml", ".yml") else None
    given: dict[str, Any] = {"store": store, "manifest": manifest, "out": out, "top": top, "metric": metric}
    flags = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    _run_verb("probe", words, print_config, dry_run, flags, {})


@app.command()
def vote(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PREDICTIONS... | CONFIG.yaml  [key.sub=value]...", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The .csv or .parquet to write.")] = None,
    rule: Annotated[
        Literal["mean", "weighted", "majority", "prior_aware"] | None,
        typer.Option("--rule", help="mean by default; keys: rule.weight=3."),
    ] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="A challenge's file: mer2023, mer2024 or mer2025.")] = None,
    candidates: Annotated[Path | None, typer.Option("--candidates", help="Exactly these names, in their order.")] = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
) -> None:
    """Combine several files of predictions of the same clips by a rule."""
    sources = [word for word in words or [] if "=" not in word or Path(word).exists()]
    overrides = [word for word in words or [] if word not in sources]
    config_file = [sources.pop(0)] if sources and Path(sources[0]).suffix in (".yaml", ".yml") else []
    overrides += [] if rule is None else [f"rule.name={rule}"]
    given: dict[str, Any] = {"out": out, "format": file_format, "candidates": candidates, "predictions": sources or None}
    flags = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    _run_verb("vote", [*config_file, *overrides], print_config, dry_run, flags, {})


@app.command()
def selftrain(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Label unlabelled clips by trained models, select, and train again on both, round after round."""
    _run_verb("selftrain", words, print_config, dry_run, {}, {})


@app.command()
def finetune(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Train an encoder on the labels, a network per fold; the result is adapters for `extract`."""
    _run_verb("finetune", words, print_config, dry_run, {}, {})


@app.command()
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PREDICTIONS... | --noise BUNDLE | CONFIG.yaml  [key.sub=value]...",
            help="CSV or Parquet; the first is compared with the rest.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="CSV or Parquet with the labels, or a manifest.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Whose rule: mer2023-multi, mer2024-semi, emotion, values, ...")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Take the labels of one split only.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Put this figure first, for emotion and values.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="The allowed emotions in order, with commas.")] = None,
    train_labels: Annotated[Path | None, typer.Option("--train-labels", help="Compare the balance of classes with these.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the scores as JSON there; nowhere by default.")] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Score a BUNDLE on the labels' media: clean, noisy, blurred, without a modality.")
    ] = False,
    store: Annotated[str | None, typer.Option("--store", help="With --noise: features that are there are read, others added.")] = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
) -> None:
    """Score files of predictions by a challenge's rule and compare several; or a bundle on degraded media."""
    sources = [word for word in words or [] if "=" not in word or Path(word).exists()]
    overrides = [word for word in words or [] if word not in sources]
    config_file = [sources.pop(0)] if sources and Path(sources[0]).suffix in (".yaml", ".yml") else []
    given: dict[str, Any] = {"labels": labels, "protocol": protocol, "split": split, "metric": metric, "out": out}
    given |= {"classes": classes.split(",") if classes else None, "train_labels": train_labels}
    if noise:
        if len(sources) > 1:
            raise ConfigError(f"evaluate --noise: {', '.join(sources)}: one bundle at a time")
        overrides += [f"noise.bundle={json.dumps(bundle)}" for bundle in sources]
        overrides += [] if store is None else [f"noise.store={json.dumps(store)}"]
    elif store is not None:
        raise ConfigError("evaluate: --store belongs to --noise; files of predictions need no features")
    else:
        given["predictions"] = sources or None
    flags = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    data = {**apply_overrides(load_yaml(Path(config_file[0])) if config_file else {}, overrides), **flags}
    if noise or print_config or dry_run or data.get("out") is not None or data.get("noise") is not None:
        _run_verb("evaluate", [*config_file, *overrides], print_config, dry_run, flags, {})
        return
    from mer_ray.prediction.evaluate import score_predictions
    from mer_ray.prediction.evaluation_config import ScoringConfig

    # Scores that go nowhere.
    data = {key: value for key, value in data.items() if key not in ("out", "noise")}
    _show(score_predictions(parse_config(ScoringConfig, data, "mer-ray evaluate")).tables(), _console())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN... | SEARCH")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The HTML page (report.html; a search's in its folder), or the table's file.", show_default=False),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="What orders the runs: weighted_f1 (or the first of --metrics), uar, ...")
    ] = None,
    ceilings: Annotated[Path | None, typer.Option("--ceilings", help="JSON with the best possible scores.")] = None,
    media: Annotated[
        Literal["none", "small"], typer.Option("--media", help="Small copies of the listed clips beside the page, to play there, or none.")
    ] = "small",
    table: Annotated[str | None, typer.Option("--table", help="Print a table for a paper instead: md, latex or csv.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Published rows below it: a corpus, or one split: MER2023/MULTI.")
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="The table's metrics in order, with commas; all by default.")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The name of the run that the table compares the others with; the best by default.")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="Add seeds, parameters, time, memory and losses to the table.")] = False,
) -> None:
    """Write one self-contained HTML page about runs or about a search, or one table for a paper."""
    from mer_ray.workflow.verbs import VERBS

    verb = VERBS["report"]
    given: dict[str, Any] = {"runs": runs, "out": out, "metric": metric, "ceilings": ceilings, "media": media}
    given |= {"table": table, "reference": reference, "metrics": metrics.split(",") if metrics else None}
    given |= {"baseline": baseline, "costs": costs or None}
    config = parse_config(verb.config_class, {key: value for key, value in given.items() if value is not None}, "mer-ray report")
    from mer_ray.reporting.search_report import is_search

    if table is None or is_search(config):
        _show(verb.run(config), _console())
    else:
        _print_table(config, to_file=out is not None)


def _print_table(config: Any, to_file: bool) -> None:
    """The table alone on stdout, so that it can go into a file; what its author must know on stderr."""
    from mer_ray.reporting.paper_report import make_paper_report, write_paper_report

    report = write_paper_report(config).report if to_file else make_paper_report(config)
    print(report.text, end="", flush=True)
    for note in report.notes:
        print(f"mer-ray: note: {note}", file=sys.stderr)


@encoders_app.callback(invoke_without_command=True)
def encoders(context: typer.Context) -> None:
    """List all encoders with size, layers, licence and source of their published weights, and whether these are here."""
    if context.invoked_subcommand is None:
        from mer_ray.encoders.catalogue import list_encoders

        _show(list_encoders(), _console())


@encoders_app.command("convert")
def encoders_convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published checkpoint of any age.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="The safetensors file to write; beside FILE by default.")] = None,
) -> None:
    """Turn a pickled checkpoint into safetensors, without running what lies in it."""
    from mer_ray.encoders.convert import convert_checkpoint

    convert_checkpoint(file, out).table().show(_console())


@encoders_app.command("fetch")
def encoders_fetch(
    words: Words = None,
    to: Annotated[Path, typer.Option("--to", help="The folder that gets the weights and the job's copy.")] = Path("weights"),
) -> None:
    """Collect what the encoders of a job read, and write the job that reads it there, for nodes without network."""
    from mer_ray.workflow.fetching import fetch_job

    path, overrides = _split(words)
    if path is None:
        raise ConfigError("encoders fetch: name a job file: mer-ray encoders fetch JOB.yaml [vars.name=value]... --to DIR")
    _show(fetch_job(path, overrides, to).tables(), _console())


StorePlace = Annotated[str, typer.Argument(metavar="STORE", help="A folder or s3://bucket/prefix.", show_default=False)]


@store_app.command("ls")
def store_ls(store: StorePlace) -> None:
    """Show what a store holds: a row per corpus and encoder."""
    from mer_ray.store.layout import open_store
    from mer_ray.store.overview import list_store

    list_store(open_store(store)).show(_console())


@store_app.command("check")
def store_check(
    store: StorePlace, deep: Annotated[bool, typer.Option("--deep", help="Read every value, not only the ids.")] = False
) -> None:
    """Open every part and name every fault; exits with 1 where there is one."""
    from mer_ray.store.checking import check_store
    from mer_ray.store.layout import open_store

    report = check_store(open_store(store), deep)
    report.table().show(_console())
    if report.faults:
        _fail("\n".join(report.faults), 1)


@store_app.command("compact")
def store_compact(
    store: StorePlace,
    corpus: Annotated[str | None, typer.Argument(help="One corpus; all by default.", show_default=False)] = None,
    encoder: Annotated[
        str | None, typer.Argument(help="One encoder, by name or name@identity; all by default.", show_default=False)
    ] = None,
) -> None:
    """Merge parts into few big ones that hold each clip once."""
    from mer_ray.store.layout import open_store
    from mer_ray.store.overview import compact_store

    compact_store(open_store(store), corpus, encoder).show(_console())


@store_app.command("remove")
def store_remove(
    store: StorePlace,
    clips: Annotated[
        Path, typer.Option("--clips", help="A clip_id per line, or CSV or Parquet with a column clip_id.", show_default=False)
    ],
    corpus: Annotated[str | None, typer.Option("--corpus", help="One corpus; all by default.", show_default=False)] = None,
) -> None:
    """Delete all rows of clips, from all encoders, and prove that they are gone."""
    from mer_ray.store.layout import open_store
    from mer_ray.store.removal import read_clip_ids, remove_clips

    remove_clips(open_store(store), read_clip_ids(clips), corpus).table().show(_console())


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[GROUP]...", show_default=False, help="Which groups of figures; all by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("bench.json"),
) -> None:
    """Measure the project's figures side by side, print a table, write them as JSON."""
    from mer_ray.bench.run import run_bench

    run_bench(names or [], out).show(_console())


@app.command()
def doctor(
    words: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="Fields of a plug-in.", show_default=False)] = None,
    plugin: Annotated[
        Path | None,
        typer.Option("--plugin", help="RUN this Python file and check the models, encoders and corpora in it.", show_default=False),
    ] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="One config class of the file.", show_default=False)] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Look at this cluster: closed, one version, storage.", show_default=False),
    ] = None,
    shared: Shared = None,
    store: Annotated[str | None, typer.Option("--store", help="With --address: where features go: s3://...", show_default=False)] = None,
) -> None:
    """Show versions, hardware, free disk, and whether the Ray cluster answers; or check a cluster, or a plug-in against its contract."""
    if address is not None:
        from mer_ray.submission.cluster_doctor import examine as examine_cluster

        table, well = examine_cluster(address, shared or [], store)
        tables = [table]
    elif shared or store:
        raise ConfigError("doctor: --shared and --store belong to --address URL")
    elif plugin is None:
        if words or class_name:
            raise ConfigError("doctor: key=value and --class belong to --plugin FILE")
        from mer_ray.workflow.doctor import examine

        table, well = examine(Path.cwd())
        tables = [table]
    else:
        from mer_ray.workflow.plugin_doctor import examine_plugin

        tables, well = examine_plugin(plugin, words or [], class_name)
    _show(tables, _console())
    if not well:
        raise typer.Exit(1)


@app.command()
def schema(verb: Annotated[str | None, typer.Argument(help="A verb; the job file by default.", show_default=False)] = None) -> None:
    """Print the JSON schema of a job file or of one verb's config, for editors."""
    from mer_ray.workflow.job import job_schema
    from mer_ray.workflow.verbs import VERBS

    if verb is not None and verb not in VERBS:
        raise ConfigError(f"schema: no verb {verb!r}. Allowed: {', '.join(VERBS)}")
    _print(json.dumps(job_schema() if verb is None else VERBS[verb].config_class.model_json_schema(), indent=2))


def _run_verb(
    name: str, words: list[str] | None, print_config: bool, dry_run: bool, flags: dict[str, Any], defaults: dict[str, Any]
) -> None:
    from mer_ray.workflow.verbs import VERBS

    verb = VERBS[name]
    path, overrides = _split(words)
    data = apply_overrides(load_yaml(path) if path else {}, overrides)
    config = parse_config(verb.config_class, {**defaults, **data, **flags}, str(path or f"mer-ray {name}"))
    console = _console()
    if print_config:
        _print(dump_yaml(config))
    elif dry_run:
        _show(verb.plan(config), console)
    else:
        _show(verb.run(config), console)


def _split(words: list[str] | None) -> tuple[Path | None, list[str]]:
    """The config file, if the first word is one, and the overrides."""
    words = words or []
    if words and "=" not in words[0]:
        return Path(words[0]), words[1:]
    return None, words


def _show(tables: list[Table] | tuple[Table, ...], console: Console) -> None:
    for table in tables:
        table.show(console)


def _console() -> Console:
    """The terminal as wide as it is; files and pipes get room for tables."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
