"""What is told in one line before a training starts, or leaves anything behind."""

import re

import pytest
from training_corpus import make_corpus

from mer_ray.core.errors import MerRayError
from mer_ray.training import train

DEV = range(2, 61, 4)
LATE, VAVL = {"name": "late_fusion"}, {"name": "vavl", "width": 8, "num_heads": 2}


def refusal_of(corpus, **changes) -> str:
    """The one line that a training is refused with, which leaves nothing behind."""
    config = corpus.config(**changes)
    with pytest.raises(MerRayError) as caught:
        train(config)
    assert "\n" not in str(caught.value) and not config.out.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weights": {"glad": 1.0}}, "class_weights: name every class once: neutral, angry, happy; given: glad"),
        ({"candidates": [{"epochs": 1}, {"class_weights": {"glad": 1.0}}]}, "class_weights: name every class once"),
        ({"candidates": [{"modality_dropout": 0.2, "model": LATE}]}, "modality_dropout: this model trains steps of their own"),
        ({"candidates": [{"epochs": 1}, {"model": VAVL}]}, "model vavl reads frames only"),
        (
            {"vectorised": True, "model": LATE},
            "vectorised: 6 of the 45 clips of the training part of fold 0 lack vision, which the model's step vision learns from",
        ),
    ],
    ids=["class_weights", "candidates_class_weights", "candidates_modality_dropout", "candidates_frames", "vectorised_steps"],
)
def test_options_that_the_corpus_or_the_model_does_not_take(corpus, changes, message):
    assert message in refusal_of(corpus, **changes)


def test_a_metric_that_dev_leaves_undefined(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"valence": None} for number in DEV})
    splits = {"protocol": {"name": "splits"}}
    for metric in ("valence_ccc", "valence_mse", "mer2023"):
        stopping, undefined = {"metric": metric, "patience": 2}, f"{metric} is undefined on dev, which have too few labels"
        assert f"early_stopping.metric: {undefined}" in refusal_of(corpus, early_stopping=stopping, **splits)
        assert f"select_metric: {undefined}" in refusal_of(corpus, select_metric=metric, candidates=[{"epochs": 1}], **splits)


def test_values_without_any_label_to_learn_from(tmp_path):
    found = refusal_of(make_corpus(tmp_path), values=["valence", "arousal"])
    assert "values: no clip of the training part of fold 0 has a known arousal" in found


def test_a_clip_without_a_speaker_whose_statistics_are_wanted(tmp_path):
    corpus = make_corpus(tmp_path, change={3: {"speaker_id": None}})
    assert "1 of 61 have none: use normalise: train" in refusal_of(corpus, normalise="speaker")


def test_too_few_folds_to_choose_between_candidates(tmp_path):
    corpus = make_corpus(tmp_path, num_folds=2)
    assert "candidates need an inner loop over at least 2 folds" in refusal_of(corpus, candidates=[{"epochs": 1}])


def test_a_dev_split_without_labels_is_named_as_one(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"emotion": None, "valence": None} for number in DEV})
    found = refusal_of(corpus, protocol={"name": "splits"})
    assert found.startswith("dev: no clip with a known emotion or value; set protocol.dev: null")


def test_an_input_that_no_clip_has(tmp_path):
    corpus = make_corpus(tmp_path, failed=tuple(range(1, 61)))
    expected = r"inputs: no clip has face \(face@\w+\); 60 clips failed in its extraction: mend them and extract again"
    assert re.search(expected, refusal_of(corpus))


def test_an_input_whose_extraction_failed_for_a_whole_part(tmp_path):
    corpus = make_corpus(tmp_path, failed=tuple(range(0, 61, 4)))
    expected = r"no clip of test of fold 0 has face \(face@\w+\), others have; 16 clips failed in its extraction: mend them"
    assert re.search(expected, refusal_of(corpus))
