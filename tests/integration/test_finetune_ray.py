"""A fine-tuning with two workers of Ray Train, and the way of its adapters through extraction, training and bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from finetune_corpus import make_corpus
from pydantic import TypeAdapter
from safetensors.numpy import load_file
from text_cases import save_small_bert

from mer_ray.core.errors import RunError
from mer_ray.encoders import AnyEncoder, encoder_key
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.finetuning.finetune import finetune
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.bundle_encoders import bundle_encoders
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.training import TrainConfig, train

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def read_losses(out: Path) -> list[float]:
    return [json.loads(line)["train_loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_two_workers_train_what_one_trains(ray_cluster: None, tmp_path: Path) -> None:
    # 9 clips of a fold train in batches of 8: the last one holds a single clip, so that one of two workers has none.
    corpus = make_corpus(tmp_path / "corpus", media=False, change={4: {"emotion": None}})
    weights = save_small_bert(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    encoder = {"name": "bert", "weights": str(weights)}
    changes = {"values": ["valence"], "batch_size": 8, "accumulate": 2, "epochs": 2, "learning_rate": 1e-3}
    stopping = {"protocol": {"name": "folds", "dev": "next_fold"}, "early_stopping": {"metric": "loss", "patience": 2}}
    # All weights: some of the network's have no gradient.
    one, two = (
        corpus.config(f"workers{number}", encoder, method={"name": "all"}, num_workers=number, **changes, **stopping) for number in (1, 2)
    )
    finetune(one)
    summary = finetune(two.model_copy(update={"gradient_checkpointing": True}))
    assert summary.facts["num_workers"] == 2
    assert read_losses(two.out) == pytest.approx(read_losses(one.out), abs=1e-4)
    assert len(read_losses(one.out)) >= 7
    ours, expected = (pq.read_table(out / "predictions" / "test.parquet").sort_by("clip_id") for out in (two.out, one.out))
    assert ours["clip_id"].equals(expected["clip_id"]) and ours["fold"].equals(expected["fold"])
    for name in ("prob_angry", "valence"):
        assert np.abs(ours[name].to_numpy() - expected[name].to_numpy()).max() < 1e-3
    for fit in ("fold0", "all"):
        found, alone = (load_file(out / "adapter" / fit / "adapter_model.safetensors") for out in (two.out, one.out))
        assert max(np.abs(found[name] - alone[name]).max() for name in alone) < 1e-3
    # Workers are where it is done, not what: the finished one goes by either number.
    assert finetune(two.model_copy(update={"num_workers": 1})).was_complete
    with pytest.raises(RunError, match="holds another run"):
        finetune(two.model_copy(update={"epochs": 3}))


def test_adapters_go_through_extraction_and_training_into_the_bundle(ray_cluster: None, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", media=False)
    encoder = {"name": "bert", "weights": str(save_small_bert(tmp_path / "bert"))}
    tuned = finetune(corpus.config("tuned", encoder, epochs=1))
    common = {"manifest": corpus.folder / "manifest.parquet", "store": str(tmp_path / "store")}
    adapted = encoder | {"adapter": str(tuned.folder / "adapter")}
    extract(ExtractConfig.model_validate(common | {"encoders": [encoder, adapted], "num_actors": 1}))
    runs = {}
    for name in ("bert", "bert_finetuned"):
        inputs = [{"encoder": name, "layers": ["layer_2"], "statistics": ["mean"]}]
        runs[name] = train(
            TrainConfig.model_validate(common | {"inputs": inputs, "out": tmp_path / "runs" / name, "epochs": 2, "device": "cpu"})
        )
    frozen, finetuned = (runs[name].facts["streams"][0]["encoder"] for name in runs)
    assert frozen.startswith("bert@") and finetuned.startswith("bert_finetuned@")
    # The fine-tuning goes, the bundle stays.
    shutil.rmtree(tuned.folder)
    bundle = load_bundle(runs["bert_finetuned"].folder / "bundle", "cpu")
    (config,) = bundle_encoders(bundle, {}, (), allow_plugins=False).values()
    assert encoder_key(config) == finetuned
    features = config.build("cpu").encode(["so do that"])[0].mean["layer_2"]
    plain = TypeAdapter(AnyEncoder).validate_python(encoder).build("cpu").encode(["so do that"])[0].mean["layer_2"]
    assert np.abs(features - plain).max() > 1e-4
    joint = tmp_path / "joint"
    join_bundles(BundleConfig(runs=(tmp_path / "runs" / "bert", tmp_path / "runs" / "bert_finetuned"), out=joint))
    assert set(bundle_encoders(load_bundle(joint, "cpu"), {}, (), allow_plugins=False)) == {frozen, finetuned}
