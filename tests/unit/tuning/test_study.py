"""The study as the only truth: real storages, no Ray."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import TrialState
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_study import SearchStudy, open_study

pytestmark = pytest.mark.slow

STORAGES = ["sqlite", "journal"]


def study_config(tmp_path: Path, storage: str = "sqlite", **changes: Any) -> TuneConfig:
    place = {"storage": None if storage == "sqlite" else f"journal:{tmp_path}/study.journal"}
    config = search_config(TrainingCorpus(tmp_path, []), sampler={"name": "random"})
    return config.model_copy(update={**place, **changes})


def run_some(study: SearchStudy, count: int, left_running: int = 0) -> list[dict[str, Any]]:
    """Parameters of trials that end well, and then of those that never end."""
    asked = []
    for number in range(count + left_running):
        trial, _ = study.ask()
        asked.append(dict(trial.params))
        if number < count:
            study.complete(trial, {"weighted_f1": trial.params["learning_rate"]}, 1.0)
    return asked


@pytest.mark.parametrize("storage", STORAGES)
def test_a_search_that_was_killed_ends_with_the_trials_of_an_unbroken_one(tmp_path: Path, storage: str) -> None:
    unbroken = study_config(tmp_path / "unbroken", storage)
    with open_study(unbroken, unbroken.space, "same") as study:
        wanted = run_some(study, 8)
    killed = study_config(tmp_path / "killed", storage, resume=True)
    found = []
    for count, left_running in ((2, 2), (1, 2), (5, 0)):
        with open_study(killed, killed.space, "same") as study:
            assert study.close_stale() == (0 if not found else 2)
            found += run_some(study, count, left_running)[:count]
            records = study.records()

    assert found == wanted
    assert [record.params for record in records if record.state == "complete"] == wanted


def test_a_trial_that_was_left_behind_is_asked_again_once_whenever_the_kill_comes(tmp_path: Path) -> None:
    config = study_config(tmp_path, resume=True)
    with open_study(config, config.space, "same") as study:
        asked = run_some(study, 0, left_running=1)
        # Killed after the new one was queued, before the old one was closed.
        study._study.enqueue_trial(asked[0], user_attrs={"again_of": 0, "again_for": 0})
    with open_study(config, config.space, "same") as study:
        study.close_stale()
        again = run_some(study, 2)

    assert again[0] == asked[0]
    assert again[1] != asked[0]


def test_known_good_settings_come_first(tmp_path: Path) -> None:
    config = study_config(tmp_path, starts=[{"learning_rate": 0.002, "inputs.tone.layers": ["high"]}, {"model": "early_fusion"}])
    with open_study(config, config.space, "same") as study:
        first, second, third = run_some(study, 3)

    assert first["learning_rate"] == 0.002
    assert (first["inputs.tone.layers.low"], first["inputs.tone.layers.high"]) == (False, True)
    assert second["model"] == "early_fusion"
    assert len({first["learning_rate"], second["learning_rate"], third["learning_rate"]}) == 3


def test_a_study_that_is_there_goes_on_only_when_asked_to(tmp_path: Path) -> None:
    config = study_config(tmp_path)
    with open_study(config, config.space, "same") as study:
        run_some(study, 2)

    with (
        pytest.raises(RunError, match=r"'search' has 2 finished trials; go on with --resume"),
        open_study(config, config.space, "same"),
    ):
        pass


def test_a_study_of_another_search_is_refused(tmp_path: Path) -> None:
    config = study_config(tmp_path, resume=True)
    with open_study(config, config.space, "one"):
        pass

    with (
        pytest.raises(RunError, match="is of another search: its config or its data differ"),
        open_study(config, config.space, "other"),
    ):
        pass


def test_a_second_search_on_the_same_study_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    config = study_config(tmp_path, resume=True)
    with (
        open_study(config, config.space, "same"),
        pytest.raises(RunError, match="is being searched by process"),
        open_study(config, config.space, "same"),
    ):
        pass


def test_the_study_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    config = study_config(tmp_path, resume=True)
    code = (
        "import os, signal, sys; from mer_ray.tuning.config import TuneConfig\n"
        "from mer_ray.tuning.ray_study import open_study\n"
        "config = TuneConfig.model_validate_json(sys.argv[1])\n"
        "with open_study(config, config.space, 'same') as study:\n"
        "    study.ask(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, config.model_dump_json()], check=False)
    assert killed.returncode == -9

    with open_study(config, config.space, "same") as study:
        assert study.close_stale() == 1
        assert study.records() == []


def test_failed_and_pruned_trials_keep_reason_and_curve(tmp_path: Path) -> None:
    config = study_config(tmp_path)
    with open_study(config, config.space, "same") as study:
        trial, _ = study.ask()
        study.report(trial, 1, 0.25)
        study.prune(trial, {"weighted_f1": 0.25}, 2.0)
        trial, _ = study.ask()
        study.fail(trial, "the loss is nan", 1.0)
        pruned, failed = study.records()

    assert (pruned.state, pruned.curve, pruned.values, pruned.seconds) == ("pruned", {1: 0.25}, {}, 2.0)
    assert (failed.state, failed.reason) == ("failed", "the loss is nan")


def test_a_journal_with_half_a_line_goes_on(tmp_path: Path) -> None:
    config = study_config(tmp_path, "journal", resume=True)
    with open_study(config, config.space, "same") as study:
        run_some(study, 1)
    with (tmp_path / "study.journal").open("a") as journal:
        journal.write('{"op_code": 5, "wor')
    with open_study(config, config.space, "same") as study:
        run_some(study, 1)
        records = study.records()

    assert [record.state for record in records] == ["complete", "complete"]


@pytest.mark.parametrize("content", ["precious, without an end", "lines\nof another\n", '{"a": 1}\n'])
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path: Path, content: str) -> None:
    config = study_config(tmp_path, "journal")
    (tmp_path / "study.journal").write_text(content)

    with pytest.raises(RunError, match="is no journal of Optuna; name another file"), open_study(config, config.space, "same"):
        pass

    assert (tmp_path / "study.journal").read_text() == content


def test_a_damaged_journal_is_one_clear_line(tmp_path: Path) -> None:
    config = study_config(tmp_path, "journal", resume=True)
    with open_study(config, config.space, "same") as study:
        run_some(study, 1)
    journal = tmp_path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:60] + b"\n" + journal.read_bytes()[60:])

    with pytest.raises(RunError, match=r"study.journal: is damaged"), open_study(config, config.space, "same"):
        pass


@pytest.mark.parametrize("storage", ["journal:{}", "journal:{}/file/study", "sqlite:{}/file/study"])
def test_a_storage_that_cannot_be_written_is_one_clear_line(tmp_path: Path, storage: str) -> None:
    (tmp_path / "file").write_text("")
    config = study_config(tmp_path).model_copy(update={"storage": storage.format(tmp_path)})

    with pytest.raises(RunError, match=r"cannot be used \(.*\); name a file"), open_study(config, config.space, "same"):
        pass


def test_a_second_search_waits_for_a_line_that_is_being_written(tmp_path: Path) -> None:
    config = study_config(tmp_path, "journal", resume=True)
    with open_study(config, config.space, "same") as study:
        run_some(study, 1)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    last_begins = whole.rstrip(b"\n").rfind(b"\n") + 1
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    journal.write_bytes(whole[: last_begins + 5])

    def end_the_line() -> None:
        with journal.open("ab") as opened:
            opened.write(whole[last_begins + 5 :])
        lock.release()

    writer = threading.Timer(0.2, end_the_line)
    writer.start()
    with open_study(config, config.space, "same") as study:
        records = study.records()
    writer.join()

    assert [record.state for record in records] == ["complete"]
    assert journal.read_bytes().startswith(whole)


def test_known_good_settings_survive_a_kill_while_they_are_queued_or_drawn(tmp_path: Path) -> None:
    starts = [{"learning_rate": 0.002, "model": "early_fusion"}, {"learning_rate": 0.003, "model": "early_fusion"}]
    config = study_config(tmp_path, starts=starts, resume=True)
    with open_study(config, config.space, "same") as study:
        # Killed when the first was asked, before anything was drawn; and before the second was queued.
        study._study._storage.set_trial_state_values(study._study.get_trials()[1]._trial_id, TrialState.FAIL)
        killed = study._study.ask()
    assert killed.params == {}
    with open_study(config, config.space, "same") as study:
        study.close_stale()
        (again,) = run_some(study, 1)

    assert (again["learning_rate"], again["model"]) == (0.002, "early_fusion")


def test_starts_that_were_not_queued_before_a_kill_are_queued_once(tmp_path: Path) -> None:
    starts = [{"learning_rate": 0.002}, {"learning_rate": 0.003}]
    one = study_config(tmp_path, starts=starts[:1])
    with open_study(one, one.space, "same"):
        pass
    both = study_config(tmp_path, starts=starts, resume=True)
    for _ in range(2):
        with open_study(both, both.space, "same") as study:
            pass
    with open_study(both, both.space, "same") as study:
        rates = [params["learning_rate"] for params in run_some(study, 3)]

    assert rates[:2] == [0.002, 0.003]
    assert rates[2] not in rates[:2]


def test_a_study_that_was_killed_before_it_knew_its_search_is_taken_over(tmp_path: Path) -> None:
    config = study_config(tmp_path)
    with open_study(config, config.space, "same"):
        pass
    storage = RDBStorage(f"sqlite:///{config.out}/study.sqlite")
    optuna.delete_study(study_name="search", storage=storage)
    optuna.create_study(study_name="search", storage=storage, directions=["maximize"])
    storage.engine.dispose()

    with open_study(config, config.space, "same") as study:
        assert len(run_some(study, 1)) == 1


def test_a_killed_owner_that_nobody_has_buried_is_dead(tmp_path: Path) -> None:
    config = study_config(tmp_path, resume=True)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = psutil.Process(child.pid).create_time()
    with open_study(config, config.space, "same") as study:
        optuna_study = study._study
        lease = {"owner": "other", "host": socket.gethostname(), "pid": child.pid, "process_began": began, "beat": 0}
    storage = RDBStorage(f"sqlite:///{config.out}/study.sqlite")
    optuna.load_study(study_name=optuna_study.study_name, storage=storage).set_user_attr("lease", lease)
    storage.engine.dispose()
    with pytest.raises(RunError, match="is being searched by process"), open_study(config, config.space, "same"):
        pass
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    with open_study(config, config.space, "same") as study:
        assert study.records() == []
    child.communicate()


def test_gaussian_processes_need_every_parameter_in_every_trial(tmp_path: Path) -> None:
    config = search_config(TrainingCorpus(tmp_path, []), sampler={"name": "gp"})

    space = config.space
    with (
        pytest.raises(ConfigError, match=r"gp needs every parameter .*, model.attention.hidden"),
        open_study(config, space, "same"),
    ):
        pass


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_all_samplers_draw_from_conditional_spaces(tmp_path: Path, sampler: str) -> None:
    config = search_config(TrainingCorpus(tmp_path, []), sampler={"name": sampler})
    with open_study(config, config.space, "same") as study:
        asked = run_some(study, 14)

    assert {params["model"] for params in asked} == {"attention", "early_fusion"}
    assert all(("model.attention.hidden" in params) == (params["model"] == "attention") for params in asked)
