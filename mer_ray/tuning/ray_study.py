"""The Optuna study of a search: the only truth about its trials.

Everything that a resumed search must know lies in it: parameters, curves, results, reasons of failures, seconds spent, and who is at
work on it. Samplers are seeded anew for every trial from the search's seed and the trial's number, so that a search that goes on draws
what an unbroken one draws.
"""

import contextlib
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.samplers import RandomSampler as OptunaRandomSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.repeating import repeated
from mer_ray.core.seeding import derive_seed
from mer_ray.tuning.config import GpSampler, NsgaSampler, RandomSampler, TpeSampler, TuneConfig
from mer_ray.tuning.records import TrialRecord, TrialStateName
from mer_ray.tuning.space import Dimension, Space

STUDY_FILE = "study.sqlite"
BEAT_INTERVAL_S = 3.0
# A search of another machine that has not moved for so many of its beats is dead.
SILENT_BEATS = 5
RACE_S = 0.5
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
STATE_NAMES: dict[TrialState, TrialStateName] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
# What a trial says of itself, in its attributes.
SCORES, SECONDS, REASON, IS_STALE = "scores", "seconds", "reason", "stale"
# Of a trial that stands for one which a killed search left behind: the first of these, and the last.
AGAIN_OF, AGAIN_FOR = "again_of", "again_for"
# Of a trial that waits with known good values: which of the starts it is. Optuna keeps the values there until the trial draws them.
START, FIXED_PARAMS = "start", "fixed_params"
LEASE = "lease"
# How Optuna begins every line of a journal.
JOURNAL_BEGIN = b'{"op_code":'


class SearchStudy:
    """An open study that this process owns until `close`."""

    def __init__(self, config: TuneConfig, space: Space, study: optuna.Study) -> None:
        self.config, self.space, self._study = config, space, study
        self._lock = threading.Lock()
        # Nobody else writes: records are read anew only after a change of ours.
        self._records: list[TrialRecord] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles what it runs for its own restore, which this project never uses: the study is what a search resumes from."""
        return object, ()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
            self._records = None

    def ask(self) -> tuple[Trial, dict[str, Any]]:
        """A new trial, and the training's config with its values drawn."""
        with self._changing():
            self._study.sampler = _build_sampler(self.config, derive_seed(self.config.seed, "trial", self._next_draw()) % 2**32)
            trial = self._study.ask()
            return trial, self.space.fill(lambda dimension: suggest(trial, dimension))

    def report(self, trial: Trial, step: int, score: float) -> None:
        """A point of a trial's curve; the first of a step counts."""
        with self._changing():
            trial.report(score, step)

    def complete(self, trial: Trial, scores: Mapping[str, float], seconds: float) -> None:
        """A trial that ran to its end."""
        self._tell(trial, TrialState.COMPLETE, [scores[name] for name in self.config.objectives], scores, seconds)

    def prune(self, trial: Trial, scores: Mapping[str, float], seconds: float) -> None:
        """A trial that the pruner ended, with its curve until then."""
        self._tell(trial, TrialState.PRUNED, None, scores, seconds)

    def fail(self, trial: Trial, reason: str, seconds: float) -> None:
        """A trial that could not end."""
        with self._changing():
            trial.set_user_attr(REASON, reason)
        self._tell(trial, TrialState.FAIL, None, {}, seconds)

    def _tell(self, trial: Trial, state: TrialState, values: Sequence[float] | None, scores: Mapping[str, float], seconds: float) -> None:
        with self._changing():
            trial.set_user_attr(SCORES, dict(scores))
            trial.set_user_attr(SECONDS, seconds)
            self._study.tell(trial.number, values, state=state)

    def _next_draw(self) -> int:
        """The number of the next trial among those that stand for no other one: waiting ones are asked first, in their order."""
        trials = self._all()
        waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
        number = len(trials) if waiting is None else waiting.user_attrs.get(AGAIN_OF, waiting.number)
        return sum(trial.number < number and AGAIN_OF not in trial.user_attrs for trial in trials)

    def close_stale(self) -> int:
        """End trials that a killed search left behind, and queue others of the same values; gives how many."""
        trials = self._all()
        stood_in_for = {trial.user_attrs.get(AGAIN_FOR) for trial in trials}
        stale = [trial for trial in trials if trial.state == TrialState.RUNNING]
        for trial in stale:
            self._put_back(trial, has_stand_in=trial.number in stood_in_for)
        self._records = None
        return len(stale)

    def put_back(self, trial: Trial) -> None:
        """End a trial that was lost without a fault of its own, and queue another of the same values."""
        with self._changing():
            self._put_back(next(one for one in self._all() if one.number == trial.number), has_stand_in=False)

    def _put_back(self, trial: FrozenTrial, has_stand_in: bool) -> None:
        # In this order nothing is lost or doubled by a kill in between.
        if not has_stand_in:
            self._study.enqueue_trial(self._values_of(trial), user_attrs={AGAIN_OF: first_number(trial), AGAIN_FOR: trial.number})
        Trial(self._study, trial._trial_id).set_user_attr(IS_STALE, value=True)
        self._study.tell(trial.number, None, state=TrialState.FAIL)

    def _values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a trial drew; one that was killed while it drew begins with what was given to it, and draws the rest as it would have."""
        try:
            self.space.fill(lambda dimension: trial.params[dimension.name])
        except KeyError:
            return dict(trial.system_attrs.get(FIXED_PARAMS, {}))
        return trial.params

    def records(self) -> list[TrialRecord]:
        """All trials that began, but those that a killed search left behind."""
        if self._records is None:
            begun = [trial for trial in self._all() if trial.state != TrialState.WAITING and not trial.user_attrs.get(IS_STALE)]
            self._records = [_to_record(trial, self.config.objectives) for trial in begun]
        return self._records

    def spend(self, seconds: float, gpu_seconds: float) -> None:
        """Note what the search has taken so far, all resumes together."""
        with self._lock:
            self._study.set_user_attr("spent", {"seconds": seconds, "gpu_seconds": gpu_seconds})

    @property
    def spent(self) -> dict[str, float]:
        """`seconds` and `gpu_seconds` before now."""
        return dict(self._study.user_attrs.get("spent", {"seconds": 0.0, "gpu_seconds": 0.0}))

    def importances(self) -> dict[str, float]:
        """How much of the first objective's variance each parameter explains (fANOVA); empty where too few trials tell."""
        complete = [trial for trial in self._all() if trial.state == TrialState.COMPLETE]
        if len(complete) < 2 or len({tuple(trial.values) for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.config.seed)
        try:
            return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator, target=lambda trial: trial.values[0]))
        except ValueError:
            # No parameter that all complete trials have.
            return {}

    def _all(self) -> list[FrozenTrial]:
        return list(self._study.get_trials(deepcopy=False))


def read_span_s(storage_url: str, study_name: str) -> float:
    """Seconds from the first trial's begin to the last one's end."""
    storage = RDBStorage(storage_url)
    trials = optuna.load_study(study_name=study_name, storage=storage).get_trials(deepcopy=False)
    storage.engine.dispose()
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return (max(ends) - min(trial.datetime_start for trial in trials if trial.datetime_start is not None)).total_seconds()


@contextlib.contextmanager
def open_study(config: TuneConfig, space: Space, identity: str) -> Iterator[SearchStudy]:
    """Make the study, or go on with it, as its only owner for the block.

    Raises:
        ConfigError: the sampler does not take this space, or the storage's driver is not installed.
        RunError: the study is there and `resume` is not set, is of another search, or another search is at work on it.

    """
    _check_sampler(config, space)
    starts = config.start_params()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = _open_storage(config)
    name = config.study_name
    try:
        found = {summary.study_name: summary for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}
        if name in found:
            study = optuna.load_study(study_name=name, storage=storage)
        else:
            study = optuna.create_study(study_name=name, storage=storage, directions=config.directions)
        if name in found and study.user_attrs:
            _refuse_other(config, study, identity)
        else:
            # New, or of a search that was killed before it wrote anything.
            study.set_user_attr("identity", identity)
        with _owned(study):
            queued = {trial.user_attrs.get(START) for trial in study.get_trials(deepcopy=False)}
            for number, start in enumerate(starts):
                if number not in queued:
                    study.enqueue_trial(start, user_attrs={START: number})
            yield SearchStudy(config, space, study)
    finally:
        storage.remove_session()
        if isinstance(storage, RDBStorage):
            storage.engine.dispose()


def _refuse_other(config: TuneConfig, study: optuna.Study, identity: str) -> None:
    num_finished = sum(trial.state in FINISHED for trial in study.get_trials(deepcopy=False))
    where = config.storage or config.out / STUDY_FILE
    if study.user_attrs.get("identity") != identity:
        raise RunError(
            f"{where}: the study {study.study_name!r} is of another search: its config or its data differ; give another `study` or `out`"
        )
    if not config.resume:
        raise RunError(
            f"{where}: the study {study.study_name!r} has {num_finished} finished trials; go on with --resume (in a job: resume: true), "
            "or give another `study` or `out`"
        )


@contextlib.contextmanager
def _owned(study: optuna.Study) -> Iterator[None]:
    """Hold the study by a beat that others see; a dead owner's is taken over."""
    _refuse_living_owner(study)
    me = psutil.Process()
    lease = {"owner": uuid.uuid4().hex, "host": socket.gethostname(), "pid": me.pid, "process_began": me.create_time(), "beat": 0}
    study.set_user_attr(LEASE, lease)
    # Of two that come at once the last to write stays.
    time.sleep(RACE_S)
    if _lease_of(study).get("owner") != lease["owner"]:
        raise RunError(_is_at_work(study))

    def beat() -> None:
        lease["beat"] += 1
        study.set_user_attr(LEASE, lease)

    try:
        with repeated(beat, BEAT_INTERVAL_S):
            yield
    finally:
        study.set_user_attr(LEASE, {})


def _refuse_living_owner(study: optuna.Study) -> None:
    before = _lease_of(study)
    if not before:
        return
    if before["host"] == socket.gethostname():
        if _is_alive(before):
            raise RunError(_is_at_work(study))
        return
    # Clocks of machines differ: whether the beat goes on is seen, not computed.
    time.sleep(SILENT_BEATS * BEAT_INTERVAL_S)
    if _lease_of(study) not in ({}, before):
        raise RunError(_is_at_work(study))


def _is_at_work(study: optuna.Study) -> str:
    lease = _lease_of(study)
    return (
        f"the study {study.study_name!r} is being searched by process {lease.get('pid')} on {lease.get('host')}; wait for it, stop it, or "
        "give another `study`"
    )


def _lease_of(study: optuna.Study) -> dict[str, Any]:
    lease: dict[str, Any] = study.user_attrs.get(LEASE, {})
    return lease


def _is_alive(lease: Mapping[str, Any]) -> bool:
    """Whether the owner runs on this machine; another process may have its number by now."""
    try:
        process = psutil.Process(lease["pid"])
        # In containers killed processes often stay as zombies.
        return bool(abs(process.create_time() - lease["process_began"]) < 1.0 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _open_storage(config: TuneConfig) -> BaseStorage:
    kind, _, place = (config.storage or f"sqlite:{config.out / STUDY_FILE}").partition(":")
    path = (config.storage_file or config.out / STUDY_FILE).absolute()
    try:
        if kind != "postgresql":
            path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "journal":
            return _open_journal(path)
        url = f"sqlite:///{path}" if kind == "sqlite" else f"postgresql+psycopg:{place}"
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True} if kind == "postgresql" else {})
    except ImportError as error:
        raise ConfigError(f"storage: {config.storage}: needs a driver that is not installed: pip install 'mer-ray[postgres]'") from error
    except OSError as error:
        raise RunError(f"storage: {path}: cannot be used ({error.strerror}); name a file that can be written") from error
    except Exception as error:
        # SQLAlchemy's own errors are a family of another package, loaded with a database only.
        if type(error).__module__.partition(".")[0] not in ("sqlalchemy", "psycopg"):
            raise
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        shown = config.storage or path
        raise RunError(f"storage: {shown}: cannot be used ({reason}); check that it exists and lets you write") from error


def _open_journal(path: Path) -> JournalStorage:
    lock = JournalFileSymlinkLock(str(path))
    # Another search may be writing a line at this moment.
    lock.acquire()
    try:
        _cut_torn_line(path)
    finally:
        lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(path), lock))
    except (ValueError, KeyError) as error:
        raise RunError(f"storage: {path}: is damaged ({error!r}); name another file, and begin anew") from error


def _cut_torn_line(path: Path) -> None:
    """A process killed in the middle of a write leaves half a line, which would spoil the next one; the journal's lock is held.

    Raises:
        RunError: the file is no journal; it stays as it is.

    """
    if not path.exists():
        return
    with path.open("rb+") as opened:
        content = opened.read()
        if content[: len(JOURNAL_BEGIN)] != JOURNAL_BEGIN[: len(content)]:
            raise RunError(f"storage: {path}: is no journal of Optuna; name another file")
        if not content.endswith(b"\n"):
            opened.truncate(content.rfind(b"\n") + 1)


def _check_sampler(config: TuneConfig, space: Space) -> None:
    if isinstance(config.sampler, GpSampler) and not space.is_flat:
        conditional = next(dimension.name for dimension in space.dimensions.values() if dimension.is_conditional)
        raise ConfigError(f"sampler: gp needs every parameter in every trial, {conditional} is drawn only sometimes; use sampler.name=tpe")


def _build_sampler(config: TuneConfig, seed: int) -> BaseSampler:
    sampler = config.sampler
    if isinstance(sampler, RandomSampler):
        return OptunaRandomSampler(seed=seed)
    if isinstance(sampler, NsgaSampler):
        return NSGAIISampler(population_size=sampler.population, seed=seed)
    if isinstance(sampler, GpSampler):
        return GPSampler(seed=seed, n_startup_trials=sampler.num_random)
    assert isinstance(sampler, TpeSampler)
    with warnings.catch_warnings():
        # Optuna calls the grouping experimental; it has been there since version 2.8.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed, n_startup_trials=sampler.num_random)


def first_number(trial: Trial | FrozenTrial) -> int:
    """The number of the trial that this one stands for, its own where it is the first."""
    number: int = trial.user_attrs.get(AGAIN_OF, trial.number)
    return number


def suggest(trial: Trial, dimension: Dimension) -> Any:
    """A value that a trial draws."""
    if dimension.kind == "float":
        return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    if dimension.kind == "int":
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1))
    return trial.suggest_categorical(dimension.name, list(dimension.options))


def _to_record(trial: FrozenTrial, objectives: Sequence[str]) -> TrialRecord:
    started, ended = trial.datetime_start, trial.datetime_complete
    return TrialRecord(
        number=trial.number,
        state=STATE_NAMES.get(trial.state, "running"),
        values=dict(zip(objectives, trial.values, strict=True)) if trial.state == TrialState.COMPLETE else {},
        scores=dict(trial.user_attrs.get(SCORES, {})),
        params=dict(trial.params),
        curve=dict(sorted(trial.intermediate_values.items())),
        seconds=float(trial.user_attrs.get(SECONDS, 0.0)),
        reason=trial.user_attrs.get(REASON),
        stands_for=trial.user_attrs.get(AGAIN_OF, trial.number),
        started_s=None if started is None else started.timestamp(),
        ended_s=None if ended is None else ended.timestamp(),
    )
