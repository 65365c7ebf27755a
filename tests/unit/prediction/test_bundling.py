import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError
from training_corpus import make_corpus

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.clip_features import absent_features, read_clip_features
from mer_ray.training import train
from mer_ray.training.bundle_facts import read_bundle_facts, write_bundle_facts


def features_of(bundle, corpus):
    clip_ids = [row["clip_id"] for row in corpus.rows]
    return read_clip_features(str(corpus.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, clip_ids).by_key


@pytest.fixture(scope="module")
def face_bundle(corpus):
    """A run that reads the face only, one layer's mean, under the name of the other runs' stream."""
    train(corpus.config("runs/face", inputs=[{"encoder": "face", "statistics": ["mean"]}], epochs=4))
    return corpus.folder / "runs" / "face" / "bundle"


def test_runs_are_averaged_by_their_weights(corpus, folds_bundle, face_bundle, tmp_path):
    join_bundles(BundleConfig(runs=(folds_bundle.parent, face_bundle), weights=(3.0, 1.0), out=tmp_path / "joint"))
    joint = load_bundle(tmp_path / "joint", "cpu")
    speakers = [None] * len(corpus.rows)
    parts = [load_bundle(folder, "cpu") for folder in (folds_bundle, face_bundle)]
    both, face = (part.predict_features(features_of(part, corpus), speakers) for part in parts)
    found = joint.predict_features(features_of(joint, corpus), speakers)
    has_face = face.used["vision"]
    assert 0 < has_face.sum() < len(has_face)
    assert found.probs_NC[has_face] == pytest.approx((3 * both.probs_NC + face.probs_NC)[has_face] / 4, abs=1e-6)
    assert found.values["valence"][has_face] == pytest.approx((3 * both.values["valence"] + face.values["valence"])[has_face] / 4, abs=1e-5)
    # A run that sees nothing of a clip has no say.
    assert found.probs_NC[~has_face] == pytest.approx(both.probs_NC[~has_face], abs=1e-6)
    card = (tmp_path / "joint" / "README.md").read_text()
    assert card.startswith("# folds + face: emotion recognition on planted") and "with the weight 3" in card


def test_a_clip_without_anything_gets_the_prior(folds_bundle, face_bundle, tmp_path):
    join_bundles(BundleConfig(runs=(folds_bundle, face_bundle), out=tmp_path / "joint"))
    joint = load_bundle(tmp_path / "joint", "cpu")
    absent = {key: absent_features(record, joint.wanted[key], 1) for key, record in joint.facts.encoders.items()}
    assert joint.predict_features(absent, [None]).probs_NC[0] == pytest.approx(np.array(joint.facts.prior_probs))


def test_joining_again_replaces_the_bundle_as_a_whole(folds_bundle, face_bundle, tmp_path):
    join_bundles(BundleConfig(runs=(folds_bundle, face_bundle), out=tmp_path / "joint"))
    join_bundles(BundleConfig(runs=(face_bundle,), out=tmp_path / "joint"))
    assert len(load_bundle(tmp_path / "joint").facts.groups) == 1
    assert len(list((tmp_path / "joint" / "members").iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["joint"]


def test_nothing_else_is_replaced(folds_bundle, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match="is not empty and holds no bundle"):
        join_bundles(BundleConfig(runs=(folds_bundle,), out=tmp_path))
    with pytest.raises(ConfigError, match="holds one of the runs, which would be lost"):
        join_bundles(BundleConfig(runs=(folds_bundle.parent,), out=folds_bundle))
    with pytest.raises(ConfigError, match="holds one of the runs"):
        join_bundles(BundleConfig(runs=(folds_bundle.parent,), out=folds_bundle.parent))


def test_only_runs_that_predict_the_same_are_joined(folds_bundle, tmp_path):
    other = make_corpus(tmp_path / "other", num_clips=24)
    train(other.config(values=[], epochs=1))
    with pytest.raises(ConfigError, match=r"predicts neutral, angry, happy; .* neutral, angry, happy, valence: only runs"):
        join_bundles(BundleConfig(runs=(folds_bundle, other.folder / "run"), out=tmp_path / "joint"))


def test_weights_are_one_per_run(folds_bundle):
    with pytest.raises(ValueError, match="weights: 2 for 1 runs"):
        BundleConfig(runs=(folds_bundle,), weights=(1.0, 2.0), out="x")


def test_a_run_of_before_bundles_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({}))
    with pytest.raises(RunError, match="no bundle"):
        join_bundles(BundleConfig(runs=(tmp_path,), out=tmp_path / "joint"))


def test_a_joint_bundle_counts_as_one_whatever_its_own_weights(folds_bundle, face_bundle, splits_bundle, tmp_path):
    join_bundles(BundleConfig(runs=(folds_bundle, face_bundle), weights=(2.0, 1.0), out=tmp_path / "two"))
    join_bundles(BundleConfig(runs=(tmp_path / "two", splits_bundle), out=tmp_path / "three"))
    weights = [group.weight for group in read_bundle_facts(tmp_path / "three").groups]
    assert weights == pytest.approx([2 / 3, 1 / 3, 1])


def test_the_prior_is_averaged_by_the_weights_too(folds_bundle, face_bundle, tmp_path):
    facts = read_bundle_facts(face_bundle)
    shutil.copytree(face_bundle, tmp_path / "other")
    write_bundle_facts(tmp_path / "other", facts.model_copy(update={"prior_values": (4.0,)}))
    join_bundles(BundleConfig(runs=(folds_bundle, tmp_path / "other"), weights=(3.0, 1.0), out=tmp_path / "joint"))
    (own,) = read_bundle_facts(folds_bundle).prior_values
    assert read_bundle_facts(tmp_path / "joint").prior_values == pytest.approx(((3 * own + 4) / 4,))


def test_values_of_other_scales_are_not_averaged(folds_bundle, face_bundle, tmp_path):
    shutil.copytree(face_bundle, tmp_path / "other")
    facts = read_bundle_facts(face_bundle)
    write_bundle_facts(tmp_path / "other", facts.model_copy(update={"value_ranges": {"valence": (1.0, 7.0)}}))
    with pytest.raises(ConfigError, match=r"values of .*other lie in valence 1 to 7, of .*bundle in valence -5 to 5: only values of one"):
        join_bundles(BundleConfig(runs=(folds_bundle, tmp_path / "other"), out=tmp_path / "joint"))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_finite_and_above_zero(weight):
    with pytest.raises(ValidationError):
        BundleConfig(runs=("a",), weights=(weight,), out="x")


def test_a_joint_bundle_that_cannot_be_written_leaves_nothing(folds_bundle, tmp_path):
    shutil.copytree(folds_bundle, tmp_path / "torn")
    (tmp_path / "torn" / "members" / "fold3-seed1.safetensors").unlink()
    with pytest.raises(RunError, match=r"fold3-seed1\.safetensors: is missing"):
        join_bundles(BundleConfig(runs=(folds_bundle, tmp_path / "torn"), out=tmp_path / "joint"))
    assert [path.name for path in tmp_path.iterdir()] == ["torn"]
