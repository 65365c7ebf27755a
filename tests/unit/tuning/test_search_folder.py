from pathlib import Path

import pytest
from searches import search_config
from training_corpus import TrainingCorpus
from written_search import complete, write_search

from mer_ray.tuning.search_folder import granted


@pytest.mark.parametrize(
    ("spent", "allowed", "is_over"),
    [
        ({"trials": 40, "hours": 1.0}, {"trials": 40, "hours": 1.0}, True),
        ({"trials": 40, "hours": 1.0}, {"trials": 40, "hours": 2.0}, False),
        ({"trials": 40, "hours": 1.0}, {"trials": 40}, False),
        ({"trials": 40}, {"trials": 2}, True),
    ],
    ids=["the same hours", "more hours", "all hours", "fewer trials than there are"],
)
def test_a_search_is_over_when_no_more_is_granted(spent: dict, allowed: dict, is_over: bool, tmp_path: Path):
    corpus = TrainingCorpus(tmp_path, [])
    facts = {"identity": "it", "granted": granted(search_config(corpus, budget=spent))}
    search = write_search(tmp_path / "search", [complete(0, 0.5), complete(1, 0.6)], **facts)

    config = search_config(corpus, budget=allowed)
    assert search.is_over(config, "it") == is_over
    assert not search.is_over(config, "another")
