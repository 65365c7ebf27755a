"""The command line: parse, call one function, print.

The packages behind the verbs load torch and Ray, which takes seconds: each command imports its own when it runs,
so that `--help` and a mistyped word answer at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mer_ray.core.config import apply_overrides, dump_yaml, load_yaml, parse_config
from mer_ray.core.errors import ConfigError, MerRayError
from mer_ray.core.table import Table

app = typer.Typer(
    name="mer-ray",
    help="Emotion recognition from video, audio and text: raw clips -> features -> trained models -> report, on a laptop or a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# What the command line toolkit exits with after Ctrl-C.
INTERRUPTED = 130

Words = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG.yaml] [key.sub=value]...", show_default=False)]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the resolved config and stop.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, without starting Ray, and stop.")]


def main() -> None:
    """Run the command line; an error that the user can mend is one line per fault and a non-zero exit."""
    try:
        app()
    except MerRayError as error:
        _fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        _fail(
            f"{error.filename or 'a file'}: {error.strerror or error}; check that it exists, that you may use it and that there is room",
            1,
        )
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("mer-ray: interrupted; what is done is kept, the same command goes on from there", file=sys.stderr)
        raise


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        print(f"mer-ray: error: {line}", file=sys.stderr)
    sys.exit(code)


@app.command()
def run(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Run a job file: its steps in order, finished ones skipped."""
    from mer_ray.workflow.job import load_job
    from mer_ray.workflow.runner import StepResult, is_finished, run_job

    path, overrides = _split(words)
    if path is None:
        raise ConfigError("run: name a job file: mer-ray run JOB.yaml [vars.name=value]...")
    job = load_job(path, overrides)
    console = Console()
    if print_config:
        _print(job.to_yaml())
        return
    if dry_run:
        for number, step in enumerate(job.steps, start=1):
            finds_rest = step.verb.reads(step.config) is None
            state = "finished, would be skipped" if is_finished(step.verb, step.config) else "does what is left" if finds_rest else "to do"
            _print(f"step {number}: {step.verb.name} -> {', '.join(step.verb.writes(step.config))}: {state}")
        return

    def show(result: StepResult) -> None:
        _show(result.tables, console)
        _print("  finished before: skipped" if result.skipped else f"  {result.verb}: {result.seconds:.1f} s")

    run_job(job, announce=_print, show=show)


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


@app.command()
def extract(
    words: Words = None,
    print_config: PrintConfig = False,
    dry_run: DryRun = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")] = False,
) -> None:
    """Encode the clips of a manifest into a feature store, on Ray Data."""
    _run_verb("extract", words, print_config, dry_run, {"retry_failed": True} if retry_failed else {}, {})


@app.command()
def train(words: Words = None, print_config: PrintConfig = False, dry_run: DryRun = False) -> None:
    """Train a fusion model over folds and seeds."""
    _run_verb("train", words, print_config, dry_run, {}, {})


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...")],
    out: Annotated[Path, typer.Option("--out", help="The HTML page to write.")] = Path("report.html"),
    metric: Annotated[str, typer.Option("--metric", help="What orders the runs: weighted_f1, uar, ...")] = "weighted_f1",
    ceilings: Annotated[Path | None, typer.Option("--ceilings", help="JSON with the best possible scores.")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    from mer_ray.workflow.verbs import VERBS

    verb = VERBS["report"]
    _show(verb.run(verb.config_class(runs=tuple(runs), out=out, metric=metric, ceilings=ceilings)), Console())


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[GROUP]...", show_default=False, help="Which groups of figures; all by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("bench.json"),
) -> None:
    """Measure the project's figures side by side, print a table, write them as JSON."""
    from mer_ray.bench.run import run_bench

    run_bench(names or [], out).show(Console())


@app.command()
def doctor() -> None:
    """Show versions, hardware, free disk, and whether the Ray cluster answers and is authenticated."""
    from mer_ray.workflow.doctor import examine

    table, well = examine(Path.cwd())
    table.show(Console())
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
    console = Console()
    if print_config:
        _print(dump_yaml(config))
    elif dry_run:
        verb.plan(config).show(console)
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


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
