"""The whole probe on a small planted store: tone (sound, layers low and high) and face (pictures, one layer), speakers are folds."""

import csv
import io

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from rich.console import Console
from training_corpus import CLASSES, TrainingCorpus, add_copy, make_corpus

from mer_ray.core.errors import ConfigError, RunError, StoreError
from mer_ray.core.manifest import read_manifest, write_manifest
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.probe import ProbeSummary, plan_probe, probe
from mer_ray.probing.ranking import Entry
from mer_ray.probing.ridge import predict_held_out
from mer_ray.probing.targets import EMOTION, ProbeClips, Target, make_problems, predict_without_features
from mer_ray.probing.train_config import choose_top
from mer_ray.training.config import TrainConfig
from mer_ray.training.loading import load_training_data
from mer_ray.training.plan import plan_training


def config_of(corpus: TrainingCorpus, **changes) -> ProbeConfig:
    base = {"manifest": corpus.folder / "manifest.parquet", "store": str(corpus.folder / "store"), "out": corpus.folder / "probe"}
    return ProbeConfig.model_validate({**base, "device": "cpu", "num_resamples": 100, **changes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> TrainingCorpus:
    return make_corpus(tmp_path_factory.mktemp("probed"))


@pytest.fixture(scope="module")
def summary(corpus) -> ProbeSummary:
    return probe(config_of(corpus))


def test_every_encoder_layer_and_pooling_is_ranked(summary):
    found = {(one["name"], one["layer"], one["pooling"], one["dim"]) for one in summary.facts["entries"]}
    layers = {("tone", "low"): 5, ("tone", "high"): 7, ("face", "last"): 6}
    wanted = {
        (*layer, pooling, dim * (2 if "+" in pooling else 1)) for layer, dim in layers.items() for pooling in ("mean", "std", "mean+std")
    }
    assert found == wanted and len(summary.facts["entries"]) == 9
    scores = [one["scores"]["weighted_f1"] for one in summary.facts["entries"]]
    assert scores == sorted(scores, reverse=True)


def test_what_carries_signal_is_above_chance_and_what_does_not_is_not(summary):
    chance = summary.facts["chance"]
    assert chance["uar"] == pytest.approx(1 / 3, abs=0.05) and abs(chance["valence_ccc"]) < 0.1
    for one in summary.facts["entries"]:
        if one["pooling"] == "std":
            assert one["scores"]["weighted_f1"] < chance["weighted_f1"] + 0.2
        else:
            assert one["scores"]["weighted_f1"] > chance["weighted_f1"] + 0.2 and one["scores"]["valence_ccc"] > 0.1


def test_the_best_is_level_with_itself_and_deviations_alone_are_not(summary):
    first, *_, last = summary.facts["entries"]
    assert first["is_level"] and first["behind"] == 0 and first["behind_interval"] == (0, 0)
    assert last["pooling"] == "std" and last["is_level"] is False
    low, high = first["interval"]
    assert low < first["scores"]["weighted_f1"] < high


def test_the_config_of_train_names_the_best_layers_and_trains(corpus, summary):
    data = yaml.safe_load((corpus.folder / "probe" / "train.yaml").read_text())
    config = TrainConfig.model_validate(data)
    named = {(one.encoder, layer) for one in config.inputs for layer in one.layers}
    best: dict[tuple[str, str], str] = {}
    for one in summary.facts["entries"]:
        best.setdefault((one["name"], one["layer"]), one["pooling"])
    assert named == set(list(best)[:3])
    for one in config.inputs:
        assert "+".join(one.statistics) == next(pooling for (name, _), pooling in best.items() if name == one.encoder)
    assert config.protocol.name == "folds" and config.values == ["valence"]
    assert load_training_data(config).num_clips == 61 and plan_training(config).rows


def test_files_and_table_say_the_same(corpus, summary):
    with (corpus.folder / "probe" / "ranking.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert [row["layer"] for row in rows] == [one["layer"] for one in summary.facts["entries"]]
    assert float(rows[0]["weighted_f1"]) == pytest.approx(summary.facts["entries"][0]["scores"]["weighted_f1"])
    stream = io.StringIO()
    for table in summary.tables():
        table.show(Console(file=stream, width=200))
    text = stream.getvalue()
    assert f"{float(rows[0]['weighted_f1']):.3f}" in text and "chance" in text and "mer-ray train" in text
    assert "9 of 61 clips have no vision features; they are predicted as the mean of the other folds" in text


def test_clips_without_features_are_predicted_as_the_mean_of_other_folds(tmp_path):
    corpus = make_corpus(tmp_path, failed=tuple(range(1, 61)))
    with pytest.raises(RunError, match=r"nothing to rank: face@\w+: left out, because 61 of 61 clips have no vision features, 60 of them"):
        probe(config_of(corpus, encoders=["face"]))
    facts = probe(config_of(corpus, poolings=["mean"])).facts
    assert {one["name"] for one in facts["entries"]} == {"tone"}
    assert [one["is_ranked"] for one in facts["encoders"]] == [False, True] and "left out" in facts["notes"][0]


def test_copies_of_degraded_media_are_probed_where_they_are_named(tmp_path):
    corpus = make_corpus(tmp_path)
    key = add_copy(corpus, "tone", {"noise": "speech_like", "snr_db": 5})
    assert key not in {one["encoder"] for one in probe(config_of(corpus, poolings=["mean"])).facts["entries"]}
    probe(config_of(corpus, encoders=[key], poolings=["mean"], top=1))
    (stream,) = TrainConfig.model_validate(yaml.safe_load((tmp_path / "probe" / "train.yaml").read_text())).inputs
    assert stream.encoder == key


def test_values_and_labels_that_some_clips_lack_are_probed_on_the_others(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"emotion": None} for number in range(1, 20, 5)})
    facts = probe(config_of(corpus, poolings=["mean"], metric="valence_ccc")).facts
    assert facts["num_clips"] == 61 and facts["values"] == ["valence"]
    scores = [one["scores"]["valence_ccc"] for one in facts["entries"]]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.4
    unlabelled = make_corpus(tmp_path / "some", change={number: {"emotion": None, "valence": None} for number in range(6)})
    assert probe(config_of(unlabelled, poolings=["mean"])).facts["num_clips"] == 55


def test_without_folds_a_manifest_with_new_ones_goes_with_the_training(tmp_path):
    corpus = make_corpus(tmp_path, num_folds=12, change={number: {"fold": None, "split": None} for number in range(61)})
    facts = probe(config_of(corpus, poolings=["mean"], top=1)).facts
    assert facts["folds_are_new"] and facts["num_folds"] == 5 and facts["num_speakers"] == 12
    config = TrainConfig.model_validate(yaml.safe_load((tmp_path / "probe" / "train.yaml").read_text()))
    assert config.manifest == tmp_path / "probe" / "manifest.parquet"
    assert set(load_training_data(config).folds_N.tolist()) == {0, 1, 2, 3, 4}


def test_features_of_speakers_alone_give_chance(tmp_path):
    """Labels drawn by speaker and features that tell only who speaks: folds of clips would be right throughout."""
    random = np.random.default_rng(0)
    speaker_N = np.repeat(np.arange(40), 5)
    emotion_N = random.integers(0, 2, 40)[speaker_N]
    x_LND = torch.from_numpy(random.normal(size=(40, 60))[speaker_N] + 0.1 * random.normal(size=(200, 60))).float()[None]
    y_NT = np.eye(2, dtype=np.float32)[emotion_N]
    accuracy = {}
    for name, fold_N in {"by speaker": speaker_N % 5, "by clip": np.arange(200) % 5}.items():
        ids = [str(number) for number in range(200)]
        known_N = np.ones(200, bool)
        clips = ProbeClips(ids, ids, fold_N.astype(np.int64), ("a", "b"), emotion_N, {}, (Target(EMOTION, y_NT, known_N),))
        (problem,) = make_problems(clips, known_N) or ()
        held_out = predict_held_out(x_LND[:, problem.rows_n], problem.folded, [0.01, 1.0, 100.0])
        accuracy[name] = float((held_out.predicted_LNT[0].argmax(dim=1).numpy() == emotion_N[problem.rows_n]).mean())
        assert predict_without_features(clips)[EMOTION].shape == (200, 2)
    assert accuracy["by clip"] > 0.95 and accuracy["by speaker"] < 0.65


def test_top_layers_count_once_and_may_be_of_each_modality():
    def entry(modality, layer, pooling="mean"):
        return Entry(f"{modality}@0", modality, layer, 0, pooling, 1, {}, {})

    entries = [entry("audio", "a"), entry("audio", "a", "std"), entry("audio", "b"), entry("text", "t"), entry("audio", "c")]
    assert [one.layer for one in choose_top(entries, 2, "ranking")] == ["a", "b"]
    assert [(one.layer, one.pooling) for one in choose_top(entries, 1, "modality")] == [("a", "mean"), ("t", "mean")]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoders": ["tine"]}, StoreError, "no encoder tine; it has face@"),
        ({"metric": "arousal_ccc"}, ConfigError, "metric: arousal_ccc needs a value that the clips of"),
        ({"values": ["arousal"]}, RunError, "arousal is known in 0 folds, and a probe needs 3"),
        ({"store": "nowhere"}, StoreError, "no features of corpus planted; run `mer-ray extract` first"),
        ({"folds": {"name": "stratified", "num_folds": 2}}, RunError, "emotion is known in 2 folds, and a probe needs 3"),
    ],
)
def test_bad_inputs_are_told_in_one_line(corpus, changes, error, message):
    with pytest.raises(error) as caught:
        probe(config_of(corpus, out=corpus.folder / "bad", **changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (corpus.folder / "bad").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "f1"}, "metric: 'f1' is not a metric of this task"),
        ({"penalties": [1e-9]}, "penalties"),
        ({"penalties": [1, 1.0]}, "names one twice"),
        ({"poolings": ["max"]}, "poolings"),
        ({"top": 0}, "top"),
    ],
)
def test_wrong_configs_are_refused(corpus, changes, message):
    with pytest.raises(ValidationError, match=message):
        config_of(corpus, **changes)


def test_clips_that_were_never_extracted_and_broken_features_are_told(tmp_path, corpus):
    with pytest.raises(RunError, match=r"face@\w+ lacks features of 2 of 61 clips \(one is 'clip008'\); run `mer-ray extract`"):
        probe(config_of(make_corpus(tmp_path, left_out=(8, 9))))
    one_class = read_manifest(corpus.folder / "manifest.parquet")
    place = one_class.table.column_names.index("emotion")
    sad = one_class.table.set_column(place, "emotion", [[CLASSES[0]] * 61])
    write_manifest(type(one_class)(sad, one_class.facts), tmp_path / "sad.parquet")
    with pytest.raises(RunError, match="a probe needs clips of at least 2 emotions, those in folds have neutral"):
        probe(config_of(corpus, manifest=tmp_path / "sad.parquet", out=tmp_path / "out"))


def test_the_plan_counts_without_reading_features(corpus, tmp_path):
    rows = dict(plan_probe(config_of(corpus))[0].rows)
    assert rows["clips"] == "61 labelled, in 4 folds of the manifest" and rows["candidates"] == "9" and rows["largest"] == "14"
    assert "not there yet" in dict(plan_probe(config_of(corpus, manifest=tmp_path / "none"))[0].rows)["manifest"]
