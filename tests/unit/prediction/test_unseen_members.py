"""A clip is judged by the models that were not trained on it."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_corpus import CLASSES

from mer_ray.core.errors import RunError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.clip_features import read_clip_features
from mer_ray.prediction.unseen_members import unseen_members
from mer_ray.training.bundle_facts import clip_digest, read_bundle_facts, write_bundle_facts


def digests_of(corpus):
    return [clip_digest("planted", row["clip_id"]) for row in corpus.rows]


def features_of(bundle, corpus):
    clip_ids = [row["clip_id"] for row in corpus.rows]
    return read_clip_features(str(corpus.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, clip_ids).by_key


def test_a_clip_of_a_fold_belongs_to_the_models_of_that_fold(corpus, folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    (members_NM,) = unseen_members(bundle, [*digests_of(corpus), "a clip of another corpus"])
    folds = [member.fold for member in bundle.facts.groups[0].members]
    expected = [[fold == row["fold"] for fold in folds] for row in corpus.rows]
    assert members_NM[:-1].tolist() == expected
    assert members_NM[-1].all()


def test_predictions_out_of_fold_are_those_that_the_run_itself_made(corpus, folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    members = unseen_members(bundle, digests_of(corpus))
    found = bundle.predict_features(features_of(bundle, corpus), [None] * len(corpus.rows), members)
    stored = pq.read_table(folds_bundle.parent / "predictions" / "test.parquet").to_pylist()
    temperature = bundle.facts.groups[0].temperature
    for number, row in enumerate(corpus.rows):
        own = [one for one in stored if one["clip_id"] == row["clip_id"]]
        assert len(own) == 2, "a seed each"
        logits = np.log([[one[f"prob_{name}"] for name in CLASSES] for one in own]) / temperature
        expected = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).mean(axis=0)
        assert found.probs_NC[number] == pytest.approx(expected, abs=1e-5)


def test_a_model_of_a_split_was_trained_on_its_training_split_alone(corpus, splits_bundle):
    (members_N1,) = unseen_members(load_bundle(splits_bundle, "cpu"), digests_of(corpus))
    assert members_N1[:, 0].tolist() == [row["split"] != "train" for row in corpus.rows]


def test_joined_runs_keep_what_each_was_trained_on(corpus, folds_bundle, splits_bundle, tmp_path):
    join_bundles(BundleConfig(runs=(folds_bundle, splits_bundle), out=tmp_path / "joint"))
    joint = load_bundle(tmp_path / "joint", "cpu")
    of_folds, of_splits = unseen_members(joint, digests_of(corpus))
    assert of_folds.sum(axis=1).tolist() == [2] * len(corpus.rows)
    assert of_splits.any(axis=1).tolist() == [row["split"] != "train" for row in corpus.rows]
    features, speakers = features_of(joint, corpus), [None] * len(corpus.rows)
    found = joint.predict_features(features, speakers, [of_folds, of_splits])
    alone = load_bundle(folds_bundle, "cpu").predict_features(features, speakers, [of_folds])
    trained = np.array([row["split"] == "train" for row in corpus.rows])
    assert found.probs_NC[trained] == pytest.approx(alone.probs_NC[trained], abs=1e-6)
    assert np.abs(found.probs_NC[~trained] - alone.probs_NC[~trained]).max() > 1e-3


def test_a_bundle_of_before_counts_its_training_clips_as_known_to_all(corpus, folds_bundle, tmp_path):

    shutil.copytree(folds_bundle, tmp_path / "old")
    facts = read_bundle_facts(tmp_path / "old")
    write_bundle_facts(tmp_path / "old", facts.model_copy(update={"groups": (facts.groups[0].model_copy(update={"held_out": None}),)}))
    (members_NM,) = unseen_members(load_bundle(tmp_path / "old", "cpu"), [digests_of(corpus)[0], "another"])
    assert members_NM.any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(("text", "expected"), [(None, "is missing"), ("abc one\n", "is damaged")])
def test_a_bundle_that_is_not_whole_is_refused(folds_bundle, tmp_path, text, expected):

    shutil.copytree(folds_bundle, tmp_path / "broken")
    (tmp_path / "broken" / "held_out.txt").unlink()
    if text is not None:
        (tmp_path / "broken" / "held_out.txt").write_text(text)
    with pytest.raises(RunError, match=rf"held_out\.txt: {expected}; copy the bundle again"):
        unseen_members(load_bundle(tmp_path / "broken", "cpu"), ["abc"])
