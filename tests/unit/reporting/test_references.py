import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.reporting.references import PERCENT_METRICS, find_references, read_references


def test_percent_becomes_a_share_and_the_rest_stays() -> None:
    row = next(row for row in find_references("mer2023/multi") if row.system == "HuBERT-L + MacBERT-L + ResNet-FER")
    assert row.printed == {"weighted_f1": "77.57", "valence_mse": "0.88", "mer2023": "0.56"}
    assert (row.score("weighted_f1"), row.score("valence_mse"), row.score("mer2023")) == (0.7757, 0.88, 0.56)
    assert row.score("uar") is None


def test_the_combined_metric_is_weighted_f1_less_a_quarter_of_the_error_on_our_scale() -> None:
    """Ties the scales of the file's columns to each other: a wrong factor would show in nearly every row."""
    rows = [row for row in read_references() if {"weighted_f1", "valence_mse", "mer2023"} <= row.printed.keys()]
    assert len(rows) > 50
    close = [abs(row.score("weighted_f1") - 0.25 * row.score("valence_mse") - row.score("mer2023")) < 0.011 for row in rows]
    assert sum(close) > 0.95 * len(close)


def test_every_row_has_a_source_and_a_score_in_range() -> None:
    for row in read_references():
        assert row.source and row.system and row.modalities
        for metric in row.printed:
            if metric in PERCENT_METRICS:
                # Nobody publishes an F1 under 2 %: such a number would be a share.
                assert 0.02 < row.score(metric) < 1


def test_a_corpus_gives_all_its_splits() -> None:
    assert {row.split for row in find_references("MER2023")} == {"MULTI", "NOISE", "SEMI"}
    assert [row.split for row in find_references("CREMA-D")] == ["5 folds, acted labels"]


def test_what_is_not_published_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no published scores of 'MER2032'; did you mean 'MER202"):
        find_references("MER2032")
    with pytest.raises(ConfigError, match="no published scores of MER2024 on 'MULTI'"):
        find_references("MER2024/MULTI")
