"""Planted features: a store and a manifest whose signal peaks at known layers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.corpora.synthetic.config import CLASSES, ModalityConfig, SynthConfig
from mer_ray.corpora.synthetic.latents import draw_latents
from mer_ray.corpora.synthetic.planted import encoder_identity, encoder_name, layer_signals
from mer_ray.extraction.synth import synthesise
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.layout import open_store
from mer_ray.store.reader import PooledFeatures, read_pooled

PEAKS = {"audio": 0, "vision": 0, "text": 0}


def _config(out: Path, **knobs: Any) -> SynthConfig:
    return SynthConfig(out=out, **{"num_clips": 600, "num_unlabelled": 100, "features": {}, **knobs})


def _read(out: Path, modality: Modality) -> PooledFeatures:
    store = open_store(out / "store")
    record = resolve_encoder(store, "synthetic", encoder_name(modality))
    return read_pooled(store, "synthetic", record, clip_ids=draw_latents(_config(out)).clip_ids())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planted")
    synthesise(_config(out))
    return out


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_signal_peaks_at_the_known_layer(planted: Path, modality: Modality) -> None:
    features = _read(planted, modality)
    expression = draw_latents(_config(planted)).expression[modality]
    train, test = np.flatnonzero(features.present)[::2], np.flatnonzero(features.present)[1::2]
    accuracy = []
    for layer in range(8):
        x_ND = features.columns[f"mean_layer_{layer:02d}"].astype(np.float64)
        model = LogisticRegression(C=0.05, max_iter=500).fit(x_ND[train], expression[train])
        accuracy.append(model.score(x_ND[test], expression[test]))
    peak = {"audio": 5, "vision": 3, "text": 6}[modality]
    assert np.argmax(accuracy) == peak
    assert accuracy[peak] > 0.9
    assert accuracy[0] < accuracy[peak] - 0.2
    record = json.loads(next(planted.glob(f"store/synthetic/features/planted_{modality}@*/_encoder.json")).read_text())
    assert record["config"]["peak_layer"] == peak
    assert np.argmax(record["config"]["layer_signals"]) == peak


def test_clips_without_a_modality_have_rows_without_frames(planted: Path) -> None:
    latents = draw_latents(_config(planted))
    for modality in MODALITIES:
        features = _read(planted, modality)
        assert np.array_equal(features.present, latents.present[modality])
        assert features.missing == ()


def test_the_manifest_has_labels_and_speaker_disjoint_folds(planted: Path) -> None:
    manifest = read_manifest(planted / "manifest.parquet")
    assert (manifest.facts.corpus, manifest.facts.classes) == ("synthetic", CLASSES)
    rows = manifest.table.to_pylist()
    labelled = [row for row in rows if row["split"] == "train"]
    assert (len(labelled), len(rows)) == (600, 700)
    assert {row["fold"] for row in labelled} == {0, 1, 2, 3, 4}
    folds_of = {speaker: {row["fold"] for row in labelled if row["speaker_id"] == speaker} for speaker in {r["speaker_id"] for r in rows}}
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert all(row["fold"] is None and row["emotion"] is None for row in rows if row["split"] == "unlabelled")


def test_valence_noise_changes_labels_and_no_feature(planted: Path, tmp_path: Path) -> None:
    synthesise(_config(tmp_path, valence_noise=0.5))
    clean, noisy = (read_manifest(out / "manifest.parquet").table for out in (planted, tmp_path))
    assert clean["valence"] != noisy["valence"] and clean.drop_columns(["valence"]) == noisy.drop_columns(["valence"])
    values = [_read(out, "audio").columns["mean_layer_05"] for out in (planted, tmp_path)]
    assert np.array_equal(*values)


def test_planting_again_replaces_the_same_features(planted: Path) -> None:
    before = sorted(path.name for path in planted.rglob("part-*.parquet"))
    values = _read(planted, "audio").columns["mean_layer_05"]
    assert synthesise(_config(planted)).num_made == 700
    assert sorted(path.name for path in planted.rglob("part-*.parquet")) == before
    assert np.array_equal(_read(planted, "audio").columns["mean_layer_05"], values)


def test_places_and_knobs_act(tmp_path: Path) -> None:
    features = {"store": str(tmp_path / "elsewhere"), "manifest": tmp_path / "m.parquet", "num_layers": 2, "dim": 16, "num_folds": None}
    features["peak_layers"] = {"audio": 0, "vision": 1, "text": 0}
    config = _config(tmp_path / "out", num_clips=20, num_unlabelled=0, features=features, audio=ModalityConfig(missing=1))
    synthesise(config)
    store = open_store(tmp_path / "elsewhere")
    audio, vision = (resolve_encoder(store, "synthetic", encoder_name(modality)) for modality in ("audio", "vision"))
    assert vision.layers == {"layer_00": 16, "layer_01": 16}
    assert audio.identity != vision.identity
    assert read_pooled(store, "synthetic", audio).present.sum() <= 2
    assert read_manifest(tmp_path / "m.parquet").table["fold"].null_count == 20
    assert config.features is not None
    assert layer_signals(config.features, "vision")[1] == config.features.signal


def test_splits_hold_as_many_clips_as_asked_and_a_target_has_the_shares_of_the_unlabelled_part(tmp_path: Path) -> None:
    splits = {"splits": {"train": 300, "dev": 200, "test": 100}, "unlabelled_splits": {"unlabelled": 60, "target": 40}}
    priors = dict.fromkeys(CLASSES, 0.0) | {"sad": 1.0}
    plain, split = (
        _config(tmp_path / name, unlabelled_priors=priors, features={"num_folds": None, "num_layers": 1, "peak_layers": PEAKS} | more)
        for name, more in (("plain", {}), ("split", splits))
    )
    synthesise(split)
    table = read_manifest(tmp_path / "split" / "manifest.parquet").table
    names = table["split"].to_pylist()
    assert {name: names.count(name) for name in set(names)} == {"train": 300, "dev": 200, "test": 100, "unlabelled": 60, "target": 40}
    emotions = table["emotion"].to_pylist()
    assert {emotion for name, emotion in zip(names, emotions, strict=True) if name == "target"} == {"sad"}
    assert {emotion for name, emotion in zip(names, emotions, strict=True) if name == "unlabelled"} == {None}
    # Who is in which split is no part of what the features are.
    assert encoder_identity(plain, "audio") == encoder_identity(split, "audio")


def test_splits_of_another_number_of_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"features\.splits: have 300 clips, num_clips is 600"):
        _config(tmp_path, features={"splits": {"train": 300}})
