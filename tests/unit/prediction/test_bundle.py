import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from training_corpus import CLASSES, make_corpus

from mer_ray.batching import Normalisation, build_streams
from mer_ray.core.batch import Batch, StreamSpec, TaskSpec
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.models import AttentionConfig
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.clip_features import absent_features, read_clip_features
from mer_ray.prediction.prediction_table import TRAINED_ON
from mer_ray.prediction.recogniser import predict_table
from mer_ray.prediction.wanted_clips import clips_of_manifest
from mer_ray.training import train
from mer_ray.training.bundle_facts import read_bundle_facts, write_bundle_facts


def features_of(bundle, corpus):
    clip_ids = [row["clip_id"] for row in corpus.rows]
    return clip_ids, read_clip_features(str(corpus.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, clip_ids).by_key


def predict(bundle, features, num_clips):
    return bundle.predict_features(features, [None] * num_clips)


def copy_with(folder, new, change):
    shutil.copytree(folder, new)
    facts = read_bundle_facts(new)
    write_bundle_facts(new, change(facts))
    return load_bundle(new, "cpu")


def test_a_bundle_of_one_model_predicts_what_its_run_predicted(corpus, splits_bundle):
    bundle = load_bundle(splits_bundle, "cpu")
    clip_ids, features = features_of(bundle, corpus)
    found = predict(bundle, features, len(clip_ids))
    stored = {row["clip_id"]: row for row in pq.read_table(splits_bundle.parent / "predictions" / "test.parquet").to_pylist()}
    assert len(stored) == 12
    temperature = bundle.facts.groups[0].temperature
    for clip_id, row in stored.items():
        number = clip_ids.index(clip_id)
        logits = np.log([row[f"prob_{name}"] for name in CLASSES]) / temperature
        assert found.probs_NC[number] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)
        assert found.values["valence"][number] == pytest.approx(np.clip(row["valence"], -5, 5), abs=1e-5)


def test_members_are_averaged_after_temperature(corpus, folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    clip_ids, features = features_of(bundle, corpus)
    (group,) = bundle.facts.groups
    assert [(member.fold, member.seed) for member in group.members] == [(fold, seed) for fold in range(4) for seed in (0, 1)]
    streams = build_streams(group.inputs, [replace(features[one.encoder], layers=tuple(one.layers)) for one in group.inputs])
    expected = []
    for member in group.members:
        state = torch.load(folds_bundle.parent / "checkpoints" / f"fold{member.fold}-seed{member.seed}" / "best.pt", weights_only=True)
        specs = [StreamSpec(*one) for one in state["streams"]]
        model = AttentionConfig.model_validate(state["model_config"]).build(specs, TaskSpec(CLASSES, ("valence",))).eval()
        model.load_state_dict(state["model"])
        x, present = {}, {}
        for stream in streams:
            statistics = state["normalisation"][stream.spec.name]
            present[stream.spec.name] = torch.tensor(stream.present_N)
            normalisation = Normalisation(statistics["mean"], statistics["scale"])
            x[stream.spec.name] = normalisation.apply(torch.tensor(stream.x_RD), present[stream.spec.name])
        logits_NC = model(Batch(x, present, torch.zeros(len(clip_ids), dtype=torch.int64), {})).logits
        expected.append(torch.softmax(logits_NC / group.temperature, dim=1).detach().numpy())
    assert predict(bundle, features, len(clip_ids)).probs_NC == pytest.approx(np.mean(expected, axis=0), abs=1e-6)


def test_without_any_input_the_prior_is_predicted(corpus, folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    features = {key: absent_features(record, bundle.wanted[key], 3) for key, record in bundle.facts.encoders.items()}
    found = predict(bundle, features, 3)
    labels = [row["emotion"] for row in corpus.rows]
    shares = [labels.count(name) / len(labels) for name in CLASSES]
    assert found.probs_NC == pytest.approx(np.tile(shares, (3, 1)), abs=1e-6)
    known = [row["valence"] for row in corpus.rows if row["valence"] is not None]
    assert found.values["valence"] == pytest.approx(np.full(3, np.mean(known)), abs=1e-5)
    assert {name: used.tolist() for name, used in found.used.items()} == {"audio": [False] * 3, "vision": [False] * 3}


def test_a_missing_modality_changes_only_the_clips_that_lack_it(corpus, folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    clip_ids, features = features_of(bundle, corpus)
    whole = predict(bundle, features, len(clip_ids))
    face = next(key for key in features if key.startswith("face@"))
    assert (~whole.used["vision"]).sum() == 7
    absent = features[face].present_N.copy()
    absent[1] = False
    found = predict(bundle, features | {face: replace(features[face], present_N=absent)}, len(clip_ids))
    changed = np.abs(found.probs_NC - whole.probs_NC).max(axis=1) > 1e-6
    assert changed.tolist() == [number == 1 for number in range(len(clip_ids))]
    assert found.probs_NC.sum(axis=1) == pytest.approx(np.ones(len(clip_ids)), abs=1e-5)


def test_no_clips_give_no_predictions(folds_bundle):
    bundle = load_bundle(folds_bundle, "cpu")
    features = {key: absent_features(record, bundle.wanted[key], 0) for key, record in bundle.facts.encoders.items()}
    assert predict(bundle, features, 0).probs_NC.shape == (0, 3)


def test_values_stay_in_the_range_of_the_corpus(corpus, folds_bundle, tmp_path):
    wide = load_bundle(folds_bundle, "cpu")
    assert wide.facts.value_ranges == {"valence": (-5.0, 5.0)}
    narrow = copy_with(folds_bundle, tmp_path / "narrow", lambda facts: facts.model_copy(update={"value_ranges": {"valence": (-0.1, 0.2)}}))
    clip_ids, features = features_of(wide, corpus)
    before, after = (predict(bundle, features, len(clip_ids)).values["valence"] for bundle in (wide, narrow))
    assert before.min() < -0.1 and before.max() > 0.2
    assert after == pytest.approx(np.clip(before, -0.1, 0.2))


def test_a_higher_temperature_softens(corpus, folds_bundle, tmp_path):
    def warm(facts):
        return facts.model_copy(update={"groups": (facts.groups[0].model_copy(update={"temperature": 5.0}),)})

    cold, softened = load_bundle(folds_bundle, "cpu"), copy_with(folds_bundle, tmp_path / "warm", warm)
    clip_ids, features = features_of(cold, corpus)
    confident, soft = (predict(bundle, features, len(clip_ids)).probs_NC.max(axis=1) for bundle in (cold, softened))
    assert (soft < confident).all()


def test_a_run_normalised_by_speaker_needs_speakers(corpus):
    train(corpus.config("runs/speakers", normalise="speaker", epochs=2))
    bundle = load_bundle(corpus.folder / "runs" / "speakers" / "bundle", "cpu")
    assert bundle.needs_speakers
    clip_ids, features = features_of(bundle, corpus)
    found = bundle.predict_features(features, [row["speaker_id"] for row in corpus.rows])
    assert found.probs_NC.shape == (len(clip_ids), 3)
    with pytest.raises(RunError, match="normalise: speaker needs a speaker_id for every clip"):
        predict(bundle, features, len(clip_ids))


def test_a_changed_or_missing_member_is_refused(folds_bundle, tmp_path):
    shutil.copytree(folds_bundle, tmp_path / "b")
    member = tmp_path / "b" / "members" / "fold2-seed1.safetensors"
    content = bytearray(member.read_bytes())
    content[-1] ^= 1
    member.write_bytes(content)
    with pytest.raises(RunError, match=r"fold2-seed1\.safetensors: is not what the bundle was made with"):
        load_bundle(tmp_path / "b")
    member.unlink()
    with pytest.raises(RunError, match=r"fold2-seed1\.safetensors: is missing; copy the bundle again"):
        load_bundle(tmp_path / "b")


def test_other_folders_are_no_bundles(folds_bundle, tmp_path):
    with pytest.raises(RunError, match=r"no bundle: it has no bundle.json; give the folder `bundle` of a finished run$"):
        load_bundle(tmp_path)
    with pytest.raises(RunError, match=rf"no bundle: it has no bundle\.json; give its bundle, {folds_bundle}$"):
        load_bundle(folds_bundle.parent)
    shutil.copytree(folds_bundle, tmp_path / "later")
    facts = json.loads((folds_bundle / "bundle.json").read_text())
    (tmp_path / "later" / "bundle.json").write_text(json.dumps(facts | {"format": 2}))
    with pytest.raises(RunError, match=r"not a bundle that this version reads .format: "):
        load_bundle(tmp_path / "later")


def test_a_run_that_goes_on_leaves_no_half_bundle(corpus):
    config = corpus.config("runs/again", epochs=2)
    train(config)
    run = corpus.folder / "runs" / "again"
    (run / "bundle" / "members" / "leftover.safetensors").touch()
    (run / "scores.json").unlink()
    train(config)
    assert not (run / "bundle" / "members" / "leftover.safetensors").exists()
    load_bundle(run / "bundle")


def replaced(data, keys, value):
    """A copy of nested JSON with one value replaced."""
    if not keys:
        return value
    changed = list(data) if isinstance(data, list) else dict(data)
    changed[keys[0]] = replaced(changed[keys[0]], keys[1:], value)
    return changed


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("groups", 0, "weight"), float("inf")),
        (("groups", 0, "temperature"), float("inf")),
        (("prior_probs", 0), float("nan")),
        (("prior_probs",), [1.0]),
        (("prior_values",), []),
        (("prior_values", 0), float("nan")),
        (("value_ranges",), {"valence": [5.0, -5.0]}),
        (("classes",), ["neutral", "neutral", "happy"]),
        (("encoders",), {}),
        (("groups", 0, "inputs", 0, "layers"), ["deepest"]),
    ],
    ids=lambda one: ".".join(map(str, one)) if isinstance(one, tuple) else None,
)
def test_facts_that_would_predict_nonsense_are_refused(folds_bundle, tmp_path, keys, value):
    facts = json.loads((folds_bundle / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps(replaced(facts, keys, value)))
    with pytest.raises(RunError, match="not a bundle that this version reads"):
        read_bundle_facts(tmp_path)


def test_a_device_that_is_not_there_is_refused(folds_bundle, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="device: cuda, but this machine has no GPU that torch can use"):
        load_bundle(folds_bundle, "cuda")
    with pytest.raises(ConfigError, match=r"device: 'gpu' is not allowed. Allowed: auto, cpu, cuda"):
        load_bundle(folds_bundle, "gpu")


def test_a_run_trained_on_values_alone_has_equal_shares_as_its_prior(tmp_path):
    unlabelled = {number: {"emotion": None} for number in range(24) if number % 4 < 2}
    made = make_corpus(tmp_path, num_clips=24, change=unlabelled)
    train(made.config(protocol={"name": "splits"}, epochs=1))
    assert read_bundle_facts(tmp_path / "run" / "bundle").prior_probs == pytest.approx((1 / 3,) * 3)


def test_a_model_with_tied_weights_becomes_a_bundle(tmp_path):
    tied = (
        (Path(__file__).parents[2] / "plugins" / "mean_model.py")
        .read_text()
        .replace("        self.dropout =", "        self.same = self.projections[0]\n        self.dropout =")
    )
    (tmp_path / "tied.py").write_text(tied)
    made = make_corpus(tmp_path, num_clips=24)
    model = {"name": "plugin", "file": str(tmp_path / "tied.py"), "class": "MeanConfig"}
    train(made.config(model=model, allow_plugins=True, epochs=1))
    bundle = load_bundle(tmp_path / "run" / "bundle", "cpu", allow_plugins=True)
    model = bundle.network.groups[0].members[0].model
    assert model.same.weight is model.projections[0].weight and model.same.weight.any()


def test_clips_that_the_models_were_trained_on_are_named(corpus, splits_bundle):
    bundle = load_bundle(splits_bundle, "cpu")
    wanted = clips_of_manifest(corpus.folder / "manifest.parquet", None, None)
    read = read_clip_features(str(corpus.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, wanted.clip_ids)
    noted = {row["clip_id"] for row in predict_table(bundle, wanted, read, 0.0).to_pylist() if row["note"] == TRAINED_ON}
    assert noted == {row["clip_id"] for row in corpus.rows if row["split"] == "train"}
    assert bundle.facts.groups[0].num_trained == len(noted) == 24
    assert not any(row["clip_id"] in (splits_bundle / "train_clips.txt").read_text() for row in corpus.rows)
