"""A fine-tuning that a cluster's worker does: the driver has no GPU, and need not have one."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chaos_processes import started, wait_for, working
from chaos_verbs import TRAINING, end_well, verb_command
from finetune_corpus import make_corpus
from safetensors.numpy import load_file
from text_cases import save_small_bert

from mer_ray.finetuning.finetune import finetune

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_worker_of_the_cluster_trains_what_this_machine_trains(head: tuple[str, int], tmp_path: Path):
    corpus = make_corpus(tmp_path / "corpus", media=False)
    encoder = {
        "name": "bert",
        "weights": str(save_small_bert(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
    }
    here, there = (corpus.config(out, encoder, epochs=2, device="cpu") for out in ("here", "there"))
    finetune(here)

    log = tmp_path / "finetune.log"
    with started(verb_command("finetune", there, tmp_path), log, RAY_ADDRESS=head[0]) as driver:
        wait_for("a worker of the cluster", lambda: driver.poll() is not None or working(head[1], *TRAINING))
        assert driver.poll() is None, log.read_text()[-3000:]
        end_well(driver, log)

    found, expected = (pq.read_table(config.out / "predictions" / "test.parquet").sort_by("clip_id") for config in (there, here))
    assert found["clip_id"].equals(expected["clip_id"])
    found, expected = (load_file(config.out / "adapter" / "all" / "adapter_model.safetensors") for config in (there, here))
    assert max(abs(found[name] - expected[name]).max() for name in expected) < 1e-4
