"""One fit on tiny networks: what is learnt, and what must make no difference."""

from typing import Any

import numpy as np
import pytest
import torch
from finetune_corpus import FinetuneCorpus, make_corpus
from speech_models import save_small_speech
from text_cases import save_small_bert, save_small_causal_lm
from vision_cases import save_small_clip

from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import Frames
from mer_ray.finetuning.augmentation import AugmentConfig, augment_frames, draw_frames
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.finetune import prepare
from mer_ray.finetuning.inputs import decode_all
from mer_ray.finetuning.learner import FinetuneLearner, FinetuneWorker, build_network
from mer_ray.training.communicator import Communicator

SOFTER = {"learning_rate": 1e-3, "head_learning_rate": 1e-2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> FinetuneCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("weights")
    silent = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0}
    bert = save_small_bert(folder / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return {
        "bert": {"name": "bert", "weights": str(bert)},
        "causal_lm": {"name": "causal_lm", "weights": str(save_small_causal_lm(folder / "lm"))},
        "clip": {"name": "clip", "weights": str(save_small_clip(folder / "clip")), "num_frames": 5},
        "hubert": {"name": "hubert", "weights": str(save_small_speech(folder / "hubert", "hubert", **silent))},
    }


def learner_of(config: FinetuneConfig) -> FinetuneLearner:
    """Of the first fold, everything decoded."""
    prepared = prepare(config.model_copy(update={"precision": "float32"}))
    found = decode_all(prepared.inputs, build_network(prepared.config, "cpu"), prepared.config)
    fit = prepared.fits[0].only(np.array(found.usable))
    worker = FinetuneWorker(prepared.data, prepared.inputs, Communicator(), torch.device("cpu"))
    return FinetuneLearner(prepared.config, worker, fit, config.epochs, lambda count, note: None)


def losses(config: FinetuneConfig) -> list[float]:
    learner = learner_of(config)
    while not learner.is_finished:
        learner.train_epoch()
    return [row["train_loss"] for row in learner.history]


LORA = {"name": "lora", "rank": 4, "dropout": 0.0}
LAST = {"name": "last_layers", "count": 1}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("bert", LAST),
        ("clip", LAST),
        *(pytest.param(name, LORA, marks=pytest.mark.slow) for name in ("bert", "causal_lm", "clip", "hubert")),
    ],
)
def test_the_loss_falls(name: str, method: dict[str, Any], corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    found = losses(corpus.config(f"falls-{name}-{method['name']}", encoders[name], method=method, epochs=3))
    assert len(found) == 3
    assert found[-1] < 0.9 * found[0]


@pytest.mark.parametrize("method", [pytest.param(LORA, marks=pytest.mark.slow), LAST, {"name": "all"}])
def test_only_what_the_method_names_changes(method: dict[str, Any], corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    config = corpus.config(f"method-{method['name']}", encoders["bert"], method=method, epochs=1)
    learner = learner_of(config)
    before = {name: weight.detach().clone() for name, weight in learner.encoder.model.named_parameters()}
    learner.train_epoch()
    changed = {name for name, weight in learner.encoder.model.named_parameters() if not torch.equal(weight, before[name])}
    if method["name"] == "lora":
        assert changed and all(".lora_" in name for name in changed)
    elif method["name"] == "last_layers":
        assert changed and all(name.startswith("encoder.layer.1.") for name in changed)
    else:
        assert any(name.startswith("embeddings.") for name in changed) and any(name.startswith("encoder.layer.0.") for name in changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip", "hubert"])
def test_gradient_checkpointing_and_parts_of_a_batch_change_no_number(
    name: str, corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]
):
    plain, checkpointed, accumulated = (
        losses(corpus.config(f"same-{name}-{number}", encoders[name], epochs=2, **SOFTER, **changes))
        for number, changes in enumerate(({}, {"gradient_checkpointing": True}, {"accumulate": 3}))
    )
    assert plain[1] != plain[0]
    assert checkpointed == pytest.approx(plain, abs=1e-5)
    assert accumulated == pytest.approx(plain, abs=1e-4)


@pytest.mark.slow
def test_what_does_not_fit_into_the_cache_is_decoded_again(corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    kept = corpus.config("kept", encoders["hubert"], epochs=1)
    decoded = corpus.config("decoded", encoders["hubert"], epochs=1, cache_gb=1e-4)
    assert losses(kept) == losses(decoded)
    num_kept, num_decoded = (len(list((one.out / "inputs").glob("*.npz"))) for one in (kept, decoded))
    assert num_kept == 24
    assert 0 < num_decoded < 24


@pytest.mark.slow
def test_a_resumed_fit_goes_on_as_if_it_had_never_stopped(corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    config = corpus.config("whole", encoders["bert"], values=["valence"], epochs=3)
    whole = losses(config)
    first = learner_of(config)
    first.train_epoch()
    second = learner_of(config)
    second.load_state(first.state())
    while not second.is_finished:
        second.train_epoch()
    assert [row["train_loss"] for row in second.history] == whole


@pytest.mark.slow
def test_early_stopping_predicts_with_the_best_epoch(corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    stopping = {"protocol": {"name": "folds", "dev": "next_fold"}, "early_stopping": {"metric": "loss", "patience": 1}}
    # So fast that it soon diverges.
    learner = learner_of(corpus.config("stops", encoders["bert"], epochs=30, learning_rate=0.3, schedule="constant", **stopping))
    while not learner.is_finished:
        learner.train_epoch()
    dev = [row["dev_loss"] for row in learner.history]
    assert len(dev) < 30
    assert dev[learner.best_epoch] == min(dev)
    learner.take_best_weights()
    assert learner._score_dev()["dev_loss"] == pytest.approx(min(dev), rel=1e-5)


@pytest.mark.slow
def test_targets_that_the_output_does_not_depend_on_are_refused(corpus: FinetuneCorpus, encoders: dict[str, dict[str, Any]]):
    # CLIP's projection comes after the last hidden state.
    config = corpus.config("idle", encoders["clip"], method={"name": "lora", "targets": ["visual_projection"]})
    with pytest.raises(ConfigError, match=r"method.targets: the last hidden state does not depend on .*visual_projection"):
        learner_of(config).train_epoch()


def make_frames() -> Frames:
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    return Frames(np.repeat(images[:1], 6, axis=0), np.arange(6) * 0.1)


def test_all_frames_of_a_clip_change_alike_and_the_same_for_a_seed():
    frames, config = make_frames(), AugmentConfig()
    random_before = torch.random.get_rng_state()
    first, again, other = (augment_frames(frames, config, seed).images for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), random_before)
    assert first.shape == frames.images.shape and first.dtype == np.uint8
    assert np.array_equal(first, np.repeat(first[:1], 6, axis=0))
    assert np.array_equal(first, again) and not np.array_equal(first, other) and not np.array_equal(first, frames.images)
    nothing = AugmentConfig(flip=0, crop=1, colour=0)
    assert np.abs(augment_frames(frames, nothing, 1).images.astype(int) - frames.images).mean() < 12


def test_frames_are_drawn_in_their_order_or_evenly_spaced():
    frames = make_frames()
    drawn = draw_frames(frames, 3, torch.Generator().manual_seed(0))
    assert len(drawn.images) == 3 and np.all(np.diff(drawn.times_s) > 0)
    assert draw_frames(frames, 3, None).times_s == pytest.approx([0.1, 0.3, 0.5])
    assert draw_frames(frames, 7, None) is frames
