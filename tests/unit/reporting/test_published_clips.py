import pytest

from mer_ray.reporting.published_clips import ScoredClips, compare_clips, is_same_corpus
from mer_ray.reporting.references import find_references


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("mer2023", "MER2023", True), ("msp_improv", "MSP-IMPROV", True), ("crema_d", "CREMA-D", True), ("mer2024", "MER2023", False)],
)
def test_names_of_corpora_compare_without_case_and_punctuation(one: str, other: str, same: bool) -> None:
    assert is_same_corpus(one, other) is same


def held_out(**changes) -> ScoredClips:
    return ScoredClips(
        **{"name": "fused", "corpus": "mer2023", "split": "test1", "num_clips": 411, "num_folds": None, "protocol": "splits", **changes}
    )


def test_runs_on_the_official_split_are_not_told_off_but_asked_to_check() -> None:
    (said,) = compare_clips([held_out()], find_references("MER2023/MULTI"))
    assert said.endswith("ours on 411 test1 clips of mer2023 (splits): as many as the official ones; check that they are the same.")


@pytest.mark.parametrize("changes", [{"split": "test2", "num_clips": 412}, {"num_clips": 410}, {"num_folds": 5}, {"corpus": "mer2024"}])
def test_other_splits_counts_folds_and_corpora_are_other_clips(changes) -> None:
    said = compare_clips([held_out(), held_out(**changes)], find_references("MER2023/MULTI"))
    assert said[0].endswith("not the same clips, compare with care.")
    assert len(said) == (2 if "corpus" in changes else 1)


def test_all_tracks_of_a_corpus_and_corpora_without_official_clips() -> None:
    assert (
        "the official test clips of MER2023 MULTI, MER2023 NOISE, MER2023 SEMI;"
        in compare_clips([held_out()], find_references("MER2023"))[0]
    )
    said = compare_clips([held_out(corpus="crema_d")], find_references("CREMA-D"))
    assert len(said) == 1
    assert said[0].startswith("Published rows were scored on the clips that their source chose of CREMA-D (5 folds, acted labels); ours on")
