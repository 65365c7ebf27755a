"""A fine-tuning with two workers of Ray Train: the same losses, predictions and adapters as with one."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from finetune_corpus import make_corpus
from safetensors.numpy import load_file
from text_cases import save_small_bert

from mer_ray.core.errors import RunError
from mer_ray.finetuning.finetune import finetune

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
    summary = finetune(two)
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
