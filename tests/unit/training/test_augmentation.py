"""Training clips with the features of degraded media now and then; all else reads the clean ones."""

import json

import numpy as np
import pytest
import torch
from training_corpus import TrainingCorpus, add_copy, make_corpus

from mer_ray.batching import StreamConfig
from mer_ray.core.config import identity_fields
from mer_ray.core.errors import ConfigError, RunError, StoreError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.training import train
from mer_ray.training.communicator import Communicator
from mer_ray.training.copy_choice import CopyChoice
from mer_ray.training.fitting import Learner
from mer_ray.training.loading import load_training_data
from mer_ray.training.plan import plan_training
from mer_ray.training.protocol import partitions
from mer_ray.training.worker import make_worker

# Of whole trainings, half a second each.
pytestmark = pytest.mark.slow

NOISE, LOUD, BLUR = {"noise": "speech_like", "snr_db": [5, 10]}, {"noise": "speech_like", "snr_db": 0}, {"blur": 2}
TONE, FACE = {"encoder": "tone", "augment": [NOISE, LOUD]}, {"encoder": "face", "augment": [BLUR]}
FRAMES = [{**TONE, "frames": True, "layers": ["high"]}, {**FACE, "frames": True, "layers": ["last"]}]
FAILED = 5
# A copy shifts means; deviations are as they were.
IS_MEAN = {"tone": torch.tensor([1.0] * 5 + [0.0] * 5 + [1.0] * 7 + [0.0] * 7), "face": torch.tensor([1.0] * 6 + [0.0] * 6)}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> TrainingCorpus:
    corpus = make_corpus(tmp_path_factory.mktemp("noisy"), frames=True)
    for degrade in (NOISE, LOUD):
        add_copy(corpus, "tone", degrade, failed=(FAILED,))
    add_copy(corpus, "face", BLUR)
    return corpus


def make_learner(corpus, **changes) -> Learner:
    config = corpus.config(**changes)
    data = load_training_data(config)
    worker = make_worker(config, data, Communicator(), torch.device("cpu"))
    return Learner(config, worker, partitions(config.protocol, data)[0], 0)


@pytest.mark.parametrize("inputs", [[TONE, FACE], FRAMES], ids=["pooled", "frames"])
def test_each_clip_has_its_clean_features_or_a_copys_normalised_like_clean_ones(noisy, inputs):
    learner, plain = (make_learner(noisy, inputs=one) for one in (inputs, [{**stream, "augment": []} for stream in inputs]))
    rows = torch.arange(61)
    clean = plain._collate(rows, rows)
    before = learner._collate(rows, rows)
    assert all(torch.equal(before.streams[name], clean.streams[name]) for name in clean.streams), "nothing is drawn yet"
    learner.copies.draw(0)
    drawn = learner._collate(rows, rows)
    for stream in learner.data.streams:
        name = stream.spec.name
        chosen = learner.copies.bank_rows(rows)[name] // 61
        scale_D = learner.statistics[name].scale_D
        shifted_D = torch.ones(stream.spec.dim) if stream.spec.is_sequence else IS_MEAN[name]
        for row in rows.tolist():
            degraded = chosen[row] > 0 and bool(clean.present[name][row]) and not (name == "tone" and row == FAILED)
            expected = clean.streams[name][row] + (100 / scale_D * shifted_D if degraded else 0.0)
            if stream.spec.is_sequence:
                expected = torch.where(clean.frame_masks[name][row][:, None], expected, 0.0)
                assert torch.equal(drawn.frame_masks[name][row], clean.frame_masks[name][row])
            # Stored as float16.
            assert torch.allclose(drawn.streams[name][row], expected, atol=0.5), (name, row)
        assert len(chosen.unique()) == 1 + len(stream.copies)
    assert torch.equal(drawn.present["face"], clean.present["face"])


def test_draws_depend_on_seed_and_epoch_alone_and_are_even(noisy):
    streams = load_training_data(noisy.config(inputs=[TONE, {**TONE, "stream": "again", "layers": ["low"]}, FACE])).streams
    one, other = CopyChoice(streams, 7, torch.device("cpu")), CopyChoice(streams, 7, torch.device("cpu"))
    one.draw(3)
    other.draw(1)
    other.draw(3)
    rows = torch.tensor([60, 3, 3, 17])
    assert all(torch.equal(one.bank_rows(rows)[name], other.bank_rows(rows)[name]) for name in ("tone", "face", "again"))
    assert torch.equal(one.bank_rows(rows)["tone"], one.bank_rows(rows)["again"]), "one clip has one sound"
    counts = torch.zeros(3)
    for epoch in range(60):
        one.draw(epoch)
        counts += torch.bincount(one.bank_rows(torch.arange(61))["tone"] // 61, minlength=3)
    assert (counts / counts.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert CopyChoice(load_training_data(noisy.config()).streams, 7, torch.device("cpu")).bank_rows(rows) == {}


def test_evaluation_reads_clean_features(noisy):
    learner = make_learner(noisy, inputs=[TONE, FACE])
    rows = learner.partition.test["test"]
    before = learner.predict(rows).probs_NC
    learner.copies.draw(5)
    assert np.array_equal(learner.predict(rows).probs_NC, before)


@pytest.mark.parametrize("inputs", [[TONE, FACE], FRAMES], ids=["pooled", "frames"])
def test_together_is_one_by_one(noisy, tmp_path, inputs):
    settings = {
        "inputs": inputs,
        "model": {"name": "attention", "hidden": 8, "dropout": 0.0},
        "seeds": [0, 1],
        "epochs": 3,
        "batch_size": 20,
    }
    curves = []
    for vectorised in (False, True):
        config = noisy.config(vectorised=vectorised, **settings).model_copy(update={"out": tmp_path / str(vectorised)})
        train(config)
        curves.append([json.loads(line)["train_loss"] for line in (config.out / "metrics.jsonl").read_text().splitlines()])
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_the_run_says_so_and_its_bundle_predicts_without_copies(noisy, tmp_path):
    config = noisy.config(inputs=[TONE, FACE], epochs=1).model_copy(update={"out": tmp_path / "run"})
    summary = train(config)
    (note,) = [note for note in summary.notes if note.startswith("tone: in each epoch a training clip has its clean features")]
    assert note.count("tone@") == 2
    assert "clean or with speech-like noise at 5 to 10 dB, or with speech-like noise at 0 dB" in dict(plan_training(config).rows)["inputs"]
    bundle = load_bundle(tmp_path / "run" / "bundle", "cpu")
    assert len(bundle.facts.encoders) == 2 and all(stream.augment == () for stream in bundle.facts.groups[0].inputs)
    plain = noisy.config(epochs=1).model_copy(update={"out": tmp_path / "plain"})
    assert train(plain).facts["identity"] != summary.facts["identity"]


def test_runs_without_it_stay_what_they_were():
    assert "augment" not in identity_fields(StreamConfig(encoder="tone"))
    assert identity_fields(StreamConfig.model_validate(FACE))["augment"][0]["blur"] == 2


@pytest.mark.parametrize(
    ("inputs", "error", "expected"),
    [
        ([{"encoder": "tone", "augment": [BLUR]}], ConfigError, "inputs, tone: augment: blur of 2 pixels does not concern audio"),
        ([TONE, {"encoder": "tone", "stream": "b"}], ConfigError, "inputs: tone and tone read the same audio, but their augment differs"),
        ([{"encoder": "face", "augment": [{"blur": 3}]}], StoreError, r'no copy of face@\w+ with .* run `mer-ray extract` .*\{"blur": 3'),
        ([{"encoder": "tone", "augment": [{**NOISE, "seed": 1}]}], StoreError, r"Copies of it: tone@\w+: speech-like noise at"),
    ],
)
def test_what_cannot_be_is_one_line(noisy, inputs, error, expected):
    with pytest.raises(error, match=expected) as caught:
        load_training_data(noisy.config(inputs=inputs))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("augment", "expected"),
    [([{"without": ["audio"]}], "modalities are hidden by modality_dropout"), ([BLUR, BLUR], "blur of 2 pixels is named twice")],
)
def test_a_wrong_list_is_refused(augment, expected):
    with pytest.raises(ValueError, match=expected):
        StreamConfig.model_validate({"encoder": "tone", "augment": augment})


def test_clips_whose_copies_were_never_made_are_named(tmp_path):
    corpus = make_corpus(tmp_path)
    add_copy(corpus, "tone", LOUD, left_out=(8, 9))
    with pytest.raises(RunError, match=r"\(speech-like noise at 0 dB\) lacks features of 2 of 61 clips \(one is 'clip008'\)"):
        load_training_data(corpus.config(inputs=[{"encoder": "tone", "augment": [LOUD]}]))


@pytest.mark.parametrize("inputs", [[TONE, FACE], FRAMES], ids=["pooled", "frames"])
def test_what_a_clip_gave_up_it_lacks_in_every_copy(noisy, inputs):
    learner = make_learner(noisy, inputs=inputs, paired_share=0.0)
    learner.copies.draw(0)
    batch = learner._collate(torch.arange(61), torch.arange(61))
    for name in ("tone", "face"):
        lacks = ~batch.present[name]
        assert lacks.sum() > 10 and not batch.streams[name][lacks].any() and batch.streams[name][~lacks].any()
