"""The verb `tune`: a config with searched values -> a finished search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import git_revision, hardware, versions
from mer_ray.core.config import identity_of
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.table import Table
from mer_ray.objectives import is_better
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.draws import sample_draws, settle_record
from mer_ray.tuning.final import FinalRun, compare_runs
from mer_ray.tuning.records import TrialRecord, finalists_of, pareto_front
from mer_ray.tuning.search_data import SearchData, check_layers
from mer_ray.tuning.search_folder import SearchFolder, granted
from mer_ray.tuning.space import Dimension, Space
from mer_ray.tuning.trials import Trials

# Drawn at random and looked at with the data before Ray starts.
NUM_CHECKED = 8


@dataclass(frozen=True)
class SearchSummary:
    """A complete search: `facts` is search.json; `was_complete` where nothing was left to do."""

    folder: Path
    facts: dict[str, Any]
    was_complete: bool

    def tables(self) -> list[Table]:
        """What was found, and the best trials."""
        return [_found_table(self), _best_table(self.facts)]


def tune(config: TuneConfig) -> SearchSummary:
    """Search, score the finalists with several seeds, judge the best on test; a search of this config that is complete is returned at once.

    Raises:
        ConfigError: a searched value that is not well formed, or that cannot be trained.
        ManifestError, StoreError: manifest or store cannot be read.
        RunError: the study holds another search, or is being searched; no trial ended; the same failure came again and again.
        ClusterError: Ray cannot be reached.

    """
    # Optuna and Ray are loaded where they are used only.
    from mer_ray.tuning.ray_spending import spending_after_trials
    from mer_ray.tuning.ray_study import open_study
    from mer_ray.tuning.ray_tuner import run_trials

    config = _with_absolute_paths(config)
    space = config.space
    folder = SearchFolder(config.out)
    target = config.target
    samples = list(sample_draws(space, config.seed, NUM_CHECKED))
    trials = target.read(samples[0])
    identity = identity_of(config, data=trials.digest())
    if folder.is_over(config, identity):
        return SearchSummary(folder.root, folder.read_facts(), was_complete=True)
    _check_with_data(config, space, trials)
    config.start_params()
    shared = target.training(samples[0])
    # Plug-ins stay those that the search began with, whatever becomes of their files.
    with shared.same_plugins(), open_study(config, space, identity) as study:
        folder.write_config(config)
        num_steps = max(trials.num_steps(target.parse(drawn)) for drawn in samples)
        use_gpu = shared.device != "cpu"
        ended_by = run_trials(study, trials, num_steps, target.parse, use_gpu)
        records = [settle_record(record, space, trials.data.layers) for record in study.records()]
        folder.write_trials(records)
        finalists = finalists_of(records, config.objectives[0], config.finalists, len(config.starts))
        if not finalists:
            raise RunError(f"{config.out}: no trial is complete{f': {ended_by}' if ended_by else ''}; see trials.parquet for their reasons")
        if ended_by is not None and "failed alike" in ended_by:
            raise RunError(f"{config.out}: {ended_by}; mend it and go on with --resume")
        with spending_after_trials(study, config, use_gpu):
            best, dev = _choose(config, trials, folder, finalists, use_gpu)
            facts = _finish(config, trials.data, folder, records, best, dev)
        facts |= {
            "identity": identity,
            "ended_by": ended_by,
            "granted": granted(config),
            "importances": study.importances(),
            "spent": study.spent,
        }
        folder.write_facts(facts)
    return SearchSummary(folder.root, facts, was_complete=False)


def plan_search(config: TuneConfig) -> Table:
    """What a search would do, without features, Ray or Optuna; layers are looked up where the store is there already.

    Raises:
        ConfigError, StoreError: as `tune`.

    """
    config = _with_absolute_paths(config)
    space, target = config.space, config.target
    check_layers(target.raw, target.training(next(sample_draws(space, config.seed, 1))), target.where)
    rows = [
        ("study", config.study_name),
        ("storage", config.storage or "a SQLite file in out"),
        ("objectives", ", ".join(config.objectives)),
        ("sampler", config.sampler.name),
        ("pruner", "none" if config.pruner is None or len(config.objectives) > 1 else config.pruner.name),
        ("trials", str(config.budget.trials)),
        ("known good settings first", str(len(config.starts))),
        ("parameters", str(len(space.dimensions))),
        *[(f"  {dimension.name}", _range(dimension)) for dimension in space.dimensions.values()],
        ("finalists", str(config.finalists)),
        ("finalists scored with seeds", ", ".join(map(str, config.final_seeds))),
        ("out", str(config.out)),
    ]
    return Table("Search", ("what", "value"), tuple(rows))


def _with_absolute_paths(config: TuneConfig) -> TuneConfig:
    """Paths that hold in any process."""
    return config.model_copy(update={"out": config.out.resolve(), config.target.where: config.target.absolute()})


def _check_with_data(config: TuneConfig, space: Space, trials: Trials) -> None:
    """Refuse a search of which nothing can be trained; single draws that cannot are trials that fail."""
    faults: list[ConfigError | RunError] = []
    for drawn in sample_draws(space, config.seed, NUM_CHECKED):
        try:
            trials.check(config.target.parse(drawn))
        except (ConfigError, RunError) as error:
            faults.append(error)
    if len(faults) == NUM_CHECKED:
        raise faults[0]


def _choose(
    config: TuneConfig, trials: Trials, folder: SearchFolder, finalists: Sequence[TrialRecord], use_gpu: bool
) -> tuple[TrialRecord, dict[int, float]]:
    """The best of the finalists on development data, and the scores of all by number, with the final seeds."""
    # Ray is loaded where it is used only.
    from mer_ray.tuning.ray_finalists import score_finalists

    objective = config.objectives[0]
    configs = {record.number: config.target.parse(_with_final_seeds(config, record)) for record in finalists}
    scores = score_finalists(config, trials, configs, folder.finalists_path, use_gpu)
    dev = {number: found[objective] for number, found in scores.items() if objective in found}
    able = [record for record in finalists if record.number in dev]
    if not able:
        raise RunError(f"{config.out}: none of the finalists has a {objective} with the final seeds; search again with other final_seeds")
    best = able[0]
    for record in able[1:]:
        if is_better(objective, dev[record.number], dev[best.number]):
            best = record
    return best, dev


def _finish(
    config: TuneConfig, data: SearchData, folder: SearchFolder, records: Sequence[TrialRecord], best: TrialRecord, dev: Mapping[int, float]
) -> dict[str, Any]:
    """Train the best and the first start anew, compare them on test, and say all that was found."""
    objective = config.objectives[0]
    chosen, final = _run_again(config, best)
    folder.write_best(chosen)
    facts = {
        "name": config.study_name,
        "corpus": data.clips.corpus,
        "objectives": dict(zip(config.objectives, config.directions, strict=True)),
        "counts": {state: sum(record.state == state for record in records) for state in ("complete", "pruned", "failed")},
        "best": _record_facts(best),
        "finalists": {str(number): score for number, score in dev.items()},
        "pareto": [record.number for record in pareto_front(records, dict(zip(config.objectives, config.directions, strict=True)))],
        "final": {"dev": dev[best.number], **final.facts()},
        "optimism": best.values[objective] - final.mean,
        "num_starts": len(config.starts),
        "start": None,
        "encoders": {name: _encoder_facts(data, name) for name in data.records},
        "dimensions": {dimension.name: dimension.facts() for dimension in config.space.dimensions.values()},
        "versions": versions(),
        "hardware": hardware(),
        "git": git_revision(),
    }
    start = next((record for record in records if record.start_number == 0), None) if config.starts else None
    if start is not None and start.state != "failed" and start.number != best.number:
        _, started = _run_again(config, start)
        gain = compare_runs(started, final, objective)
        facts["start"] = {**_record_facts(start), "final": started.facts(), "gain": dict(gain)}
    return facts


def _run_again(config: TuneConfig, record: TrialRecord) -> tuple[dict[str, Any], FinalRun]:
    """A trial's config with the final seeds, run by its own verb."""
    return config.target.finish(_with_final_seeds(config, record), config.out / "runs" / f"trial{record.number}", config.objectives[0])


def _with_final_seeds(config: TuneConfig, record: TrialRecord) -> dict[str, Any]:
    drawn = config.space.fill(lambda dimension: record.params[dimension.name])
    return config.target.with_seeds(drawn, config.final_seeds)


def _encoder_facts(data: SearchData, name: str) -> dict[str, Any]:
    record, cost = data.records[name], data.costs[name]
    measured = None if cost is None else {**cost.model_dump(), "milliseconds_per_clip": cost.milliseconds_per_clip}
    return {"key": record.key, "modality": record.modality, "layers": record.layers, "cost": measured}


def _record_facts(record: TrialRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("number", "values", "params", "scores", "seconds")}


def _range(dimension: Dimension) -> str:
    if dimension.kind == "choice":
        return "yes or no" if dimension.options == (False, True) else f"one of {', '.join(map(str, dimension.options))}"
    how = ", by powers" if dimension.log else f", in steps of {dimension.step:g}" if dimension.step else ""
    return f"{dimension.low:g} to {dimension.high:g}{how}"


def _found_table(summary: SearchSummary) -> Table:
    facts = summary.facts
    objective = next(iter(facts["objectives"]))
    counts, best, final = facts["counts"], facts["best"], facts["final"]
    rows = [
        ("trials", f"{counts['complete']} complete, {counts['pruned']} pruned, {counts['failed']} failed"),
        (f"best trial, {objective} on development data in the search", f"{best['values'][objective]:.3f} (trial {best['number']})"),
        (_with_seeds(facts, f"{objective} on development data"), f"{final['dev']:.3f}, the best of {len(facts['finalists'])} finalists"),
        (
            _with_seeds(facts, f"{objective} on {final['split']}"),
            _with_interval(final["mean"], final["interval"]),
        ),
        ("optimism of the search (its score minus that on test)", f"{facts['optimism']:+.3f}"),
    ]
    if facts["start"] is not None:
        start, gain = facts["start"]["final"], facts["start"]["gain"]
        rows.append((f"first known setting, {objective} on {start['split']}", _with_interval(start["mean"], start["interval"])))
        rows.append(("gain over it, same clips", f"{_with_interval(gain['mean'], gain['interval'], sign='+')}, p {gain['p_value']:.3f}"))
    notes = [f"{summary.folder} was complete already; nothing was searched"] if summary.was_complete else []
    notes += [f"ended before all trials were done: {facts['ended_by']}"] if facts["ended_by"] else []
    notes.append(f"the best as a config of train: {summary.folder / 'best.yaml'}; its run: {final['out']}")
    return Table(f"Search {facts['name']} ({facts['corpus']})", ("what", "value"), tuple(rows), tuple(notes))


def _with_seeds(facts: dict[str, Any], what: str) -> str:
    return f"trained with {say_count(facts['final']['num_seeds'], 'seed')}, {what}"


def _with_interval(mean: float, interval: list[float] | None, sign: str = "") -> str:
    shown = "" if interval is None else f" ({interval[0]:{sign}.3f} to {interval[1]:{sign}.3f})"
    return f"{mean:{sign}.3f}{shown}"


def _best_table(facts: dict[str, Any]) -> Table:
    importances = facts["importances"]
    params = sorted(facts["best"]["params"].items(), key=lambda item: -importances.get(item[0], 0.0))
    rows = tuple((name, _shown(value), importances.get(name)) for name, value in params)
    return Table("The best trial", ("parameter", "value", "share of the variance it explains"), rows)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
