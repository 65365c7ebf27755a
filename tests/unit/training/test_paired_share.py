"""Training clips that lose all but one of their modalities, and who must not."""

import json

import numpy as np
import pytest
import torch
from test_fitting import curve, make_learner, trained
from training_corpus import make_corpus

from mer_ray.batching import Stream
from mer_ray.core.batch import StreamSpec
from mer_ray.core.errors import ConfigError
from mer_ray.training import train
from mer_ray.training.pairing import draw_kept
from mer_ray.training.run_folder import NoKeeper

# Of whole trainings, half a second each.
pytestmark = pytest.mark.slow

NUM_CLIPS = 90
TRAIN = np.arange(0, NUM_CLIPS, 2)
VAVL = {"name": "vavl", "width": 8, "bottleneck": 4, "num_heads": 2, "num_encoder_blocks": 1, "kernel": 3}
FRAMES = {"inputs": [{"encoder": "tone", "frames": True}, {"encoder": "face", "frames": True}]}


def make_streams(without=()):
    """Sound twice, pictures and words; clips of `without` have no words."""
    specs = [
        StreamSpec("tone", "audio", 2),
        StreamSpec("pitch", "audio", 2),
        StreamSpec("face", "vision", 2),
        StreamSpec("words", "text", 2),
    ]
    present = {spec.name: np.ones(NUM_CLIPS, bool) for spec in specs}
    present["words"][list(without)] = False
    return [Stream(spec, "e@0", ("last",), ("mean",), np.ones((NUM_CLIPS, 2), np.float32), present[spec.name]) for spec in specs]


def kept_modalities(kept):
    return np.stack([kept["tone"], kept["face"], kept["words"]])


@pytest.mark.parametrize(("share", "num_losing"), [(0.0, 45), (0.25, 34), (0.5, 22), (0.9, 4), (1.0, 0)])
def test_exactly_the_wanted_number_keeps_one_modality_each_as_evenly_as_can_be(share, num_losing):
    kept = draw_kept(make_streams(), TRAIN, share, seed=3)
    kept_MN = kept_modalities(kept)
    losing_N = ~kept_MN.all(axis=0)
    assert losing_N.sum() == num_losing and not losing_N[1::2].any()
    counts_M = kept_MN[:, losing_N].sum(axis=1)
    assert counts_M.sum() == num_losing and np.ptp(counts_M) <= 1
    assert np.array_equal(kept["tone"], kept["pitch"])


def test_a_clip_keeps_what_it_has_and_one_of_a_single_modality_everything():
    streams = make_streams(without=range(0, NUM_CLIPS, 4))
    for stream in streams[:3]:
        stream.present_N[10] = False
    kept_MN = kept_modalities(draw_kept(streams, TRAIN, 0.0, seed=3))
    assert kept_MN[:, 10].all() and not kept_MN[2, 0::4].any()
    assert (np.delete(kept_MN[:, TRAIN], 5, axis=1).sum(axis=0) == 1).all()


def test_the_draw_follows_from_the_seed_and_smaller_shares_take_from_more_clips():
    half, other = (kept_modalities(draw_kept(make_streams(), TRAIN, 0.5, seed)) for seed in (3, 4))
    assert np.array_equal(half, kept_modalities(draw_kept(make_streams(), TRAIN, 0.5, seed=3))) and not np.array_equal(half, other)
    quarter = kept_modalities(draw_kept(make_streams(), TRAIN, 0.25, seed=3))
    losing_N = ~half.all(axis=0)
    assert np.array_equal(quarter[:, losing_N], half[:, losing_N])


def test_a_fit_trains_without_and_predicts_with_what_is_hidden(corpus):
    whole, half = make_learner(corpus), make_learner(corpus, paired_share=0.5)
    rows = torch.from_numpy(half.partition.train)
    paired_N = whole.clips.present["tone"] & whole.clips.present["face"]
    left_N = half.train_clips.present["tone"] & half.train_clips.present["face"]
    num_paired = int(paired_N[rows].sum())
    assert left_N[rows].sum() == num_paired - round(0.5 * num_paired)
    others = torch.from_numpy(np.setdiff1d(np.arange(61), half.partition.train))
    batch = half._collate(torch.arange(61), torch.arange(61))
    for name, present_N in batch.present.items():
        assert torch.equal(present_N[others], whole.clips.present[name][others])
        assert torch.equal(half.clips.present[name], whole.clips.present[name])
        hidden_N = half.clips.present[name] & ~present_N
        assert hidden_N.any() and not batch.streams[name][hidden_N].any() and half.clips.streams[name][hidden_N].any()
    assert whole.train_clips is whole.clips


def test_statistics_see_only_what_is_kept(corpus):
    learner = make_learner(corpus, paired_share=0.5)
    for name in ("tone", "face"):
        kept_N = learner.train_clips.present[name]
        rows = [row for row in learner.partition.train if kept_N[row]]
        x_RD = learner.clips.streams[name][rows]
        assert torch.allclose(x_RD.mean(dim=0), torch.zeros(x_RD.shape[1]), atol=1e-4)
        assert torch.allclose(x_RD.std(dim=0, correction=0), torch.ones(x_RD.shape[1]), atol=1e-4)


def test_a_speakers_statistics_leave_out_what_training_hides(corpus):
    learner = make_learner(corpus, paired_share=0.5, normalise="speaker")
    for fold in range(4):
        rows = [row for row in range(fold, 61, 4) if learner.train_clips.present["tone"][row]]
        assert torch.allclose(learner.clips.streams["tone"][rows].mean(dim=0), torch.zeros(24), atol=1e-4)


def test_frames_of_hidden_streams_are_none_on_device_and_host(tmp_path):
    learner = make_learner(make_corpus(tmp_path, frames=True), model=VAVL, paired_share=0.5, **FRAMES)
    for name, bank in learner.train_clips.frames.items():
        present_N = learner.train_clips.present[name]
        assert torch.equal(bank.lengths_N.cpu(), bank.host_lengths_N) and torch.equal(bank.host_lengths_N > 0, present_N.cpu())
        batch = learner._collate(torch.arange(61), torch.arange(61))
        assert torch.equal(batch.frame_masks[name].any(dim=1), present_N) and not batch.streams[name][~present_N].any()


def test_every_fit_draws_its_own_and_a_resumed_one_the_same(corpus):
    masks = [make_learner(corpus, fold, seed, paired_share=0.5).train_clips.present["tone"] for fold, seed in ((0, 0), (0, 0), (0, 1))]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    curves = [curve(trained(make_learner(corpus, paired_share=share, epochs=2))) for share in (0.5, 0.5, 1.0)]
    assert curves[0] == curves[1] != curves[2]


def test_masses_are_those_of_the_kept_clips(tmp_path):
    learner = make_learner(make_corpus(tmp_path, frames=True), model=VAVL, paired_share=0.25, **FRAMES)
    present, rows = learner.train_clips.present, torch.from_numpy(learner.partition.train)
    expected = {"vision": present["face"], "audio": present["tone"], "audio_visual": present["tone"] & present["face"]}
    assert {name: float(masses_NT[:, 0].sum()) for name, masses_NT in learner.plan.masses.items()} == {
        name: float(has_N[rows].sum()) for name, has_N in expected.items()
    }


def test_an_audio_visual_head_that_no_clip_trains_is_refused(tmp_path):
    corpus = make_corpus(tmp_path, frames=True)
    settings = {"paired_share": 0, "epochs": 1, **FRAMES}
    with pytest.raises(
        ConfigError, match=r"paired_share: 0 leaves the training part of fold 0, seed 0, no clip .*audio_visual_head: false"
    ):
        train(corpus.config(model=VAVL, **settings))
    with pytest.raises(ConfigError, match="untrained weights"):
        train(corpus.config(candidates=[{"model": {**VAVL, "audio_visual_head": False}}, {"model": VAVL}], **settings))
    config = corpus.config(model={**VAVL, "audio_visual_head": False}, **settings)
    summary = train(config)
    assert summary.scores["test"]["num_clips"] == 61 and "paired_share 0: " in summary.notes[0]
    rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert {"train_loss_audio_emotion", "train_loss_vision_emotion"} <= rows[0].keys()


def test_a_batch_without_pairs_leaves_the_step_out(tmp_path):
    """Few pairs in small batches: most batches have none."""
    learner = trained(make_learner(make_corpus(tmp_path, frames=True), model=VAVL, paired_share=0.1, batch_size=4, epochs=1, **FRAMES))
    known = [batch.is_known["audio_visual"] for batch in learner.plan.batches(learner.shuffle(0))]
    assert 0 < sum(known) < len(known) and learner.history[0]["train_loss_audio_visual_emotion"] > 0


def test_the_learning_rate_goes_by_batches_however_often_a_part_moves(tmp_path):
    """Shared layers move twice in a batch, the audio-visual head in few batches."""
    settings = {"model": VAVL, "paired_share": 0.1, "batch_size": 4, "epochs": 2, "schedule": "linear", "warm_up": 0.0, **FRAMES}
    learner = make_learner(make_corpus(tmp_path, frames=True), **settings)
    learner.finish_epoch(learner.train_epoch(), NoKeeper())
    assert {part.learning_rate for part in learner.parts.values()} == {learner.config.learning_rate / 2}


def test_late_fusion_learns_from_single_modalities_alone(corpus):
    config = corpus.config(model={"name": "late_fusion", "hidden": 16}, paired_share=0.0, epochs=20)
    assert train(config).scores["test"]["mean"]["weighted_f1"] > 0.5


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_one(corpus, share):
    with pytest.raises(ValueError, match="paired_share"):
        corpus.config(paired_share=share)


def test_what_does_not_go_with_it_is_refused(corpus):
    with pytest.raises(ValueError, match="vectorised: every fit draws its own paired clips; set paired_share: 1"):
        corpus.config(paired_share=0.5, vectorised=True)
    with pytest.raises(ValueError, match=r"candidates\.0: may not change paired_share"):
        corpus.config(candidates=[{"paired_share": 0.5}])
