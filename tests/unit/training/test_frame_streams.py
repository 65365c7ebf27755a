import numpy as np
import pytest
import torch
from test_fitting import make_learner, trained
from training_corpus import make_corpus

from mer_ray.core.errors import ConfigError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.clip_features import read_clip_features
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_sequences
from mer_ray.training import train
from mer_ray.training.communicator import Communicator
from mer_ray.training.loading import load_training_data
from mer_ray.training.protocol import partitions
from mer_ray.training.worker import make_worker

# Of whole trainings, half a second each.
pytestmark = pytest.mark.slow

INPUTS = [{"encoder": "tone", "frames": True}, {"encoder": "face", "frames": True, "max_frames": 3}]


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("framed"), frames=True, failed=(4,))


def stored(framed, encoder):
    store = open_store(framed.folder / "store")
    return read_sequences(store, "planted", resolve_encoder(store, "planted", encoder))


def test_batches_hold_the_stored_frames_normalised_by_the_real_frames_of_the_training_rows(framed):
    learner = make_learner(framed, inputs=INPUTS)
    found = stored(framed, "tone")
    (values_TD,), (offsets,) = found.values.values(), found.offsets.values()
    train_rows = learner.partition.train
    real = np.concatenate([values_TD[offsets[row] : offsets[row + 1]] for row in train_rows]).astype(np.float32)
    mean_D, std_D = real.mean(axis=0), real.std(axis=0)
    rows = torch.tensor([5, 17, 3])
    batch = learner._collate(rows, rows)
    x_BTD, mask_BT = batch.streams["tone"], batch.frame_masks["tone"]
    for place, row in enumerate(rows.tolist()):
        frames = (values_TD[offsets[row] : offsets[row + 1]].astype(np.float32) - mean_D) / std_D
        assert np.allclose(x_BTD[place, : len(frames)], frames, atol=1e-4)
        assert mask_BT[place].tolist() == [True] * len(frames) + [False] * (x_BTD.shape[1] - len(frames))
        assert not x_BTD[place, len(frames) :].any()


def test_all_partitions_share_the_stored_frames(framed):
    config = framed.config(inputs=INPUTS)
    data = load_training_data(config)
    clips = make_worker(config, data, Communicator(), torch.device("cpu")).clips
    banks = [clips.normalised(partition.train)[0].frames["tone"] for partition in partitions(config.protocol, data)]
    assert len({bank.values_TD.data_ptr() for bank in banks}) == 1 and len({float(bank.normalisation.mean_D.sum()) for bank in banks}) == 4


def test_max_frames_cuts_clips_and_those_that_lack_or_failed_have_none(framed):
    learner = make_learner(framed, inputs=INPUTS)
    lengths_N = learner.clips.frames["face"].host_lengths_N
    assert lengths_N.max() == 3 and not lengths_N[[0, 7, 14, 4]].any() and lengths_N[[1, 2, 3, 5]].all()
    assert not learner.clips.present["face"][[0, 4]].any()
    batch = learner._collate(torch.tensor([0, 4]), torch.tensor([0, 4]))
    assert batch.streams["face"].shape == (2, 1, 6) and not batch.frame_masks["face"].any()


@pytest.mark.parametrize("normalise", ["train", "speaker"])
def test_a_run_on_frames_learns_and_its_bundle_predicts_the_same(framed, normalise):
    config = framed.config(f"run_{normalise}", inputs=INPUTS, normalise=normalise, epochs=12, seeds=[0, 1])
    summary = train(config)
    assert summary.scores["test"]["mean"]["weighted_f1"] > 0.6 and summary.facts["streams"][0]["kind"] == "frames"
    data = load_training_data(config)
    bundle = load_bundle(config.out / "bundle", "cpu")
    assert [stream.is_sequence for stream in bundle.facts.groups[0].streams] == [True, True]
    features = read_clip_features(str(framed.folder / "store"), "planted", bundle.facts.encoders, bundle.wanted, data.clip_ids).by_key
    found = bundle.predict_features(features, data.speaker_ids)
    assert found.probs_NC.shape == (61, 3)
    # Every member alone, by the training's own code, for the first fold's test clips.
    members = []
    for fold, seed in ((fold, seed) for fold in range(4) for seed in (0, 1)):
        learner = make_learner(framed, fold=fold, seed=seed, inputs=INPUTS, normalise=normalise)
        state = torch.load(config.out / "checkpoints" / f"fold{fold}-seed{seed}" / "best.pt", weights_only=True)
        learner.model.load_state_dict(state["model"])
        members.append(learner.predict(np.arange(61)))
    temperature = bundle.facts.groups[0].temperature
    softened = [torch.tensor(np.log(one.probs_NC)).div(temperature).softmax(dim=1) for one in members]
    assert np.allclose(found.probs_NC, torch.stack(softened).mean(dim=0), atol=1e-5)


def test_frames_that_were_not_kept_are_refused_with_what_to_extract(framed, corpus):
    with pytest.raises(ConfigError, match=r"frames of low were not kept; kept: high. Extract with sequences: \[low\]"):
        load_training_data(framed.config(inputs=[{"encoder": "tone", "layers": ["low"], "frames": True}]))
    with pytest.raises(ConfigError, match=r"frames of its layers were not kept; kept: none"):
        load_training_data(corpus.config(inputs=[{"encoder": "tone", "frames": True}]))


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"frames": True, "statistics": ["mean"]}, "frames have none"),
        ({"statistics": []}, "name mean, std or both"),
        ({"max_frames": 4}, "set frames: true"),
    ],
)
def test_options_of_the_other_kind_are_refused(corpus, stream, message):
    with pytest.raises(ValueError, match=message):
        corpus.config(inputs=[{"encoder": "tone", **stream}])


def test_pooled_and_frame_streams_of_one_encoder_go_together(framed):
    pooled = {"encoder": "tone", "layers": ["low"], "stream": "pooled"}
    learner = trained(make_learner(framed, inputs=[pooled, *INPUTS]))
    assert learner.history[-1]["train_loss"] < learner.history[0]["train_loss"]
