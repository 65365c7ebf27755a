"""A study in a real PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PASSWORD, find_postgres, postgres_server
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.core.errors import RunError
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_study import open_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL server on this machine: install the package postgresql"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


def config_of(tmp_path: Path, database: str, study: str, **changes: object) -> TuneConfig:
    config = search_config(TrainingCorpus(tmp_path, []), storage=database, study=study, sampler={"name": "random"})
    return config.model_copy(update=changes)


def test_a_search_in_a_database_goes_on_where_it_was(tmp_path, database):
    config = config_of(tmp_path, database, "goes on", resume=True)
    space = config.space
    with open_study(config, space, "same") as study:
        first, _ = study.ask()
        left, _ = study.ask()
        study.complete(first, {"weighted_f1": 0.5}, 1.0)
    with open_study(config, space, "same") as study:
        assert study.close_stale() == 1
        again, _ = study.ask()
        study.prune(again, {"weighted_f1": 0.25}, 1.0)
        records = study.records()

    assert again.params == left.params
    assert [(record.state, record.values) for record in records] == [("complete", {"weighted_f1": 0.5}), ("pruned", {})]


def test_one_database_holds_many_searches_and_one_searcher_each(tmp_path, database):
    one, other = config_of(tmp_path, database, "one", resume=True), config_of(tmp_path, database, "other")
    space = one.space
    with open_study(one, space, "same"), open_study(other, space, "same") as study:
        study.ask()
        with pytest.raises(RunError, match="'one' is being searched by process"), open_study(one, space, "same"):
            pass

        assert len(study.records()) == 1


def test_a_wrong_password_and_a_dead_server_are_one_clear_line(tmp_path, database, monkeypatch):
    config = config_of(tmp_path, database, "refused")
    space = config.space
    monkeypatch.setenv("PGPASSWORD", "wrong")
    wrong = r"storage: postgresql://searcher@127.*password authentication failed"
    with pytest.raises(RunError, match=wrong) as refused, open_study(config, space, "same"):
        pass
    dead = config_of(tmp_path, "postgresql://searcher@127.0.0.1:9/postgres", "dead")
    with pytest.raises(RunError, match=r"cannot be used .*refused") as unreachable, open_study(dead, space, "same"):
        pass

    assert "\n" not in str(refused.value) + str(unreachable.value)
