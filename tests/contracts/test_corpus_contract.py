"""Every corpus keeps the contract of its family, each promise apart."""

import typing

import pytest
from corpus_cases import CORPUS_CASES, CorpusCase

from mer_ray.core.contract import Check
from mer_ray.corpora import AnyCorpus
from mer_ray.corpora.contract import CORPUS_CHECKS, CorpusSubject


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, id=case.label, marks=[pytest.mark.slow] if case.is_slow else []) for case in CORPUS_CASES],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CorpusSubject:
    case: CorpusCase = request.param
    return CorpusSubject(case.make_config(tmp_path_factory.mktemp(case.label)))


@pytest.mark.parametrize("check", CORPUS_CHECKS, ids=lambda check: check.name.replace(" ", "_"))
def test_it_keeps_the_contract(subject: CorpusSubject, check: Check[CorpusSubject]) -> None:
    reason = check.run(subject)
    if reason is not None:
        pytest.skip(reason)


def test_the_clips_of_the_small_trees_are_found(subject: CorpusSubject) -> None:
    assert subject.scan.table.num_rows >= 2
    assert subject.faults == []


def test_the_union_holds_every_corpus_that_is_tested() -> None:
    members = typing.get_args(typing.get_args(AnyCorpus)[0])
    assert {member.model_fields["name"].default for member in members} == {case.label for case in CORPUS_CASES}
