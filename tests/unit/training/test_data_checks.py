"""What is told in one line before a training starts, or leaves anything behind."""

import pytest
from training_corpus import make_corpus

from mer_ray.core.errors import MerRayError
from mer_ray.training import train

DEV = range(2, 61, 4)
LATE, VAVL = {"name": "late_fusion"}, {"name": "vavl", "width": 8, "num_heads": 2}


def refused(corpus, message, **changes):
    config = corpus.config(**changes)
    with pytest.raises(MerRayError, match=message) as caught:
        train(config)
    assert "\n" not in str(caught.value) and not config.out.exists()


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
    refused(corpus, message, **changes)


def test_a_metric_that_dev_leaves_undefined(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"valence": None} for number in DEV})
    splits = {"protocol": {"name": "splits"}}
    for metric in ("valence_ccc", "valence_mse", "mer2023"):
        stopping, undefined = {"metric": metric, "patience": 2}, f"{metric} is undefined on dev, which have too few labels"
        refused(
            corpus, f"early_stopping.metric: {metric} is undefined on dev, which have too few labels", early_stopping=stopping, **splits
        )
        refused(corpus, f"select_metric: {undefined}", select_metric=metric, candidates=[{"epochs": 1}], **splits)


def test_values_without_any_label_to_learn_from(tmp_path):
    refused(make_corpus(tmp_path), "values: no clip of the training part of fold 0 has a known arousal", values=["valence", "arousal"])


def test_a_clip_without_a_speaker_whose_statistics_are_wanted(tmp_path):
    refused(make_corpus(tmp_path, change={3: {"speaker_id": None}}), "1 of 61 have none: use normalise: train", normalise="speaker")


def test_too_few_folds_to_choose_between_candidates(tmp_path):
    refused(make_corpus(tmp_path, num_folds=2), "candidates need an inner loop over at least 2 folds", candidates=[{"epochs": 1}])


def test_a_dev_split_without_labels_is_named_as_one(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"emotion": None, "valence": None} for number in DEV})
    refused(corpus, r"^dev: no clip with a known emotion or value; set protocol.dev: null", protocol={"name": "splits"})


def test_an_input_that_no_clip_has(tmp_path):
    corpus = make_corpus(tmp_path, failed=tuple(range(1, 61)))
    refused(corpus, r"inputs: no clip has face \(face@\w+\); 60 clips failed in its extraction: mend them and extract again")


def test_an_input_whose_extraction_failed_for_a_whole_part(tmp_path):
    corpus = make_corpus(tmp_path, failed=tuple(range(0, 61, 4)))
    refused(corpus, r"no clip of test of fold 0 has face \(face@\w+\), others have; 16 clips failed in its extraction: mend them")
