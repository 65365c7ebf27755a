"""Teachers and seeds of a round in parallel give what they give one after the other."""

import json

import pyarrow.parquet as pq
import pytest
from selftrain_corpus import make_shifted

from mer_ray.selftraining.selftrain import selftrain

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_fits_of_all_teachers_share_the_cluster(ray_cluster, tmp_path):
    shifted = make_shifted(tmp_path / "corpus")
    found = []
    for num_parallel_fits in (1, 2):
        training = {"epochs": 3, "seeds": [0, 1], "num_parallel_fits": num_parallel_fits}
        config = shifted.config(tmp_path / f"out{num_parallel_fits}", train=training, selection={"threshold": 0.2})
        found.append(selftrain(config))
    one, other = found
    assert one.facts["rounds"][1]["pseudo"]["num_selected"] > 0
    for key in ("rounds", "compared", "votes", "best_round"):
        assert json.dumps(other.facts[key]) == json.dumps(one.facts[key])
    tables = [pq.read_table(summary.folder / "round1" / "pseudo_labels.parquet") for summary in found]
    assert tables[0].equals(tables[1])
