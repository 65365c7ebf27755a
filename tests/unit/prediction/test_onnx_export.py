import numpy as np
import onnxruntime
import pytest

from mer_ray.batching import build_streams
from mer_ray.core.errors import ConfigError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.clip_features import read_clip_features
from mer_ray.prediction.onnx_export import export_onnx
from mer_ray.training import train
from mer_ray.training.bundle_facts import BundleFacts

pytestmark = pytest.mark.slow


def feeds_of(bundle, features, rows):
    """What the file's inputs take, found from its own description in the bundle."""
    feeds = {}
    for group in bundle.facts.groups:
        found = [features[one.encoder].__class__(**{**vars(features[one.encoder]), "layers": tuple(one.layers)}) for one in group.inputs]
        for stream in build_streams(group.inputs, found):
            name = stream.spec.name if stream.spec.name not in feeds else f"{group.run}/{stream.spec.name}"
            feeds |= {name: stream.x_RD[rows], f"{name}/present": stream.present_N[rows]}
    return feeds


def compare(folder, out, corpus, rows, num_inputs):
    export_onnx(folder, out)
    bundle = load_bundle(folder, "cpu")
    clip_ids = [row["clip_id"] for row in corpus.rows]
    features = read_clip_features(str(corpus.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, clip_ids).by_key
    expected = bundle.predict_features(features, [None] * len(clip_ids))
    session = onnxruntime.InferenceSession(out)
    assert len(session.get_inputs()) == 2 * num_inputs
    feeds = feeds_of(bundle, features, rows)
    probs_BC, values_BV = session.run(["probabilities", "values"], feeds)
    assert probs_BC == pytest.approx(expected.probs_NC[rows], abs=1e-6)
    assert values_BV[:, 0] == pytest.approx(expected.values["valence"][rows], abs=1e-5)
    return bundle, session, feeds


def test_onnxruntime_gives_the_same_numbers_for_any_number_of_clips(corpus, folds_bundle, tmp_path):
    # Every seventh clip has no picture.
    bundle, session, feeds = compare(folds_bundle, tmp_path / "fusion.onnx", corpus, slice(0, 15), num_inputs=2)
    one = {name: values[:1] for name, values in feeds.items()}
    assert not one["face/present"][0]
    nothing = one | {"tone/present": np.array([False])}
    probs_BC, values_BV = session.run(None, nothing)
    assert probs_BC[0] == pytest.approx(np.array(bundle.facts.prior_probs), abs=1e-6)
    assert values_BV[0] == pytest.approx(np.array(bundle.facts.prior_values), abs=1e-6)
    assert BundleFacts.model_validate_json(session.get_modelmeta().custom_metadata_map["mer_ray"]) == bundle.facts


def test_joint_bundles_share_inputs_that_are_the_same(corpus, folds_bundle, splits_bundle, tmp_path):
    train(corpus.config("runs/narrow", inputs=[{"encoder": "tone", "layers": ["low"]}], epochs=2))
    join_bundles(BundleConfig(runs=(folds_bundle, splits_bundle, corpus.folder / "runs" / "narrow"), out=tmp_path / "joint"))
    folder = tmp_path / "joint"
    export_onnx(folder, tmp_path / "joint.onnx")
    names = [one.name for one in onnxruntime.InferenceSession(tmp_path / "joint.onnx").get_inputs()]
    assert names == ["tone", "face", "narrow/tone", "tone/present", "face/present", "narrow/tone/present"]


def test_what_cannot_be_one_network_is_refused(corpus, folds_bundle, tmp_path):
    with pytest.raises(ConfigError, match=r"written as .onnx; name the file so"):
        export_onnx(folds_bundle, tmp_path / "fusion.pb")
    train(corpus.config("runs/by_speaker", normalise="speaker", epochs=1))
    with pytest.raises(ConfigError, match="normalises by each speaker's own clips"):
        export_onnx(corpus.folder / "runs" / "by_speaker" / "bundle", tmp_path / "fusion.onnx")


def test_runs_of_one_name_have_inputs_of_their_own(corpus, folds_bundle, tmp_path):
    runs = [folds_bundle]
    for layer in ("low", "high"):
        train(corpus.config(f"runs/{layer}/folds", inputs=[{"encoder": "tone", "layers": [layer]}], epochs=1))
        runs.append(corpus.folder / "runs" / layer / "folds")
    join_bundles(BundleConfig(runs=tuple(runs), out=tmp_path / "joint"))
    export_onnx(tmp_path / "joint", tmp_path / "joint.onnx")
    names = [one.name for one in onnxruntime.InferenceSession(tmp_path / "joint.onnx").get_inputs()]
    assert names[:4] == ["tone", "face", "folds/tone", "folds-2/tone"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joint", "joint.onnx"]


def test_a_bundle_without_values_has_one_output(corpus, tmp_path):
    train(corpus.config("runs/classes", values=[], epochs=1))
    export_onnx(corpus.folder / "runs" / "classes" / "bundle", tmp_path / "fusion.onnx")
    assert [one.name for one in onnxruntime.InferenceSession(tmp_path / "fusion.onnx").get_outputs()] == ["probabilities"]
