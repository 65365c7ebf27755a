import numpy as np
import pytest
from training_corpus import CLASSES, make_corpus

from mer_ray.core.errors import ConfigError, ManifestError, RunError, StoreError
from mer_ray.training.loading import load_training_data
from mer_ray.training.run_facts import notes_on


def test_features_and_labels_come_in_the_order_of_the_manifest(corpus):
    data = load_training_data(corpus.config())
    assert data.num_clips == 61 and data.clip_ids == [f"clip{number:03d}" for number in range(61)]
    assert [spec.name for spec in data.specs] == ["tone", "face"] and [spec.dim for spec in data.specs] == [24, 12]
    assert data.streams[0].present_N.all()
    assert np.flatnonzero(~data.streams[1].present_N).tolist() == list(range(0, 61, 7))
    assert np.flatnonzero(np.isnan(data.values["valence"])).tolist() == list(range(0, 61, 5))
    assert data.folds_N.tolist() == [number % 4 for number in range(61)]
    tone_ND = data.streams[0].x_RD
    for label in range(3):
        assert tone_ND[data.emotion_N == label, label].mean() > tone_ND[data.emotion_N != label, label].mean() + 1


def test_splits_read_only_the_clips_that_they_name(corpus):
    data = load_training_data(corpus.config(protocol={"name": "splits", "dev": None}))
    assert data.num_clips == 46 and set(data.splits) == {"train", "test"}


def test_layers_and_statistics_are_those_asked_for(corpus):
    data = load_training_data(corpus.config(inputs=[{"encoder": "tone", "layers": [-1], "statistics": ["mean"]}]))
    assert data.specs[0].dim == 7 and data.streams[0].layers == ("high",)


def test_failed_clips_count_as_lacking_the_modality(tmp_path):
    data = load_training_data(make_corpus(tmp_path, failed=(3, 4)).config())
    assert not data.streams[1].present_N[[3, 4]].any() and data.streams[1].present_N[5]
    assert list(data.num_failed.values()) == [2]


def test_clips_never_extracted_are_an_error_that_says_what_to_do(tmp_path):
    config = make_corpus(tmp_path, failed=(3,), left_out=(8, 9)).config()
    with pytest.raises(RunError, match=r"lacks features of 2 of 61 clips \(one is 'clip008'\); run `mer-ray extract`"):
        load_training_data(config)


def test_soft_labels_become_rows_and_hard_ones_one_hot(tmp_path):
    change = {0: {"emotion_probs": [0.5, 0.25, 0.25]}, 1: {"emotion": None}, 2: {"emotion": "happy"}}
    data = load_training_data(make_corpus(tmp_path, change=change).config())
    assert data.emotion_probs_NC[:3].tolist() == [[0.5, 0.25, 0.25], [0, 0, 0], [0, 0, 1]]
    assert data.emotion_N[1] == -1 and data.is_labelled[1]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inputs": [{"encoder": "tine"}]}, StoreError, "tine"),
        ({"inputs": [{"encoder": "tone", "layers": ["top"]}]}, ConfigError, "allowed: low, high"),
        ({"manifest": "nowhere.parquet"}, ManifestError, "no such manifest"),
        ({"protocol": {"name": "splits", "train": "a", "dev": "b", "test": ["c"]}}, RunError, "none of the protocol's splits"),
    ],
)
def test_inputs_that_do_not_fit_are_named(corpus, changes, error, message):
    with pytest.raises(error, match=message):
        load_training_data(corpus.config(**changes))


def test_an_emotion_outside_the_classes_is_refused(tmp_path):
    config = make_corpus(tmp_path, change={0: {"emotion": "bored"}}).config()
    with pytest.raises(RunError, match=f"emotions bored outside its classes {', '.join(CLASSES)}"):
        load_training_data(config)


def test_the_digest_follows_labels_and_encoders(corpus, tmp_path_factory):
    digest = load_training_data(corpus.config()).digest()
    assert load_training_data(corpus.config(out="elsewhere", seeds=[4])).digest() == digest
    other = make_corpus(tmp_path_factory.mktemp("other"), change={0: {"emotion": None}})
    assert load_training_data(other.config()).digest() != digest


def test_inputs_that_no_clip_has_are_refused(tmp_path):
    """Every seventh clip has no picture: a corpus of only these."""
    corpus = make_corpus(tmp_path, num_clips=29, change={number: {"fold": None} for number in range(29) if number % 7})
    with pytest.raises(RunError, match="none of the 5 clips has any of the inputs face; take inputs that this corpus has"):
        load_training_data(corpus.config(inputs=[{"encoder": "face"}]))
    data = load_training_data(corpus.config())
    assert notes_on(data, []) == ["0 of 5 clips have the input face: it decides little"]
