"""Every model: runs with modalities missing, trains every parameter, survives a save and a load, over-fits eight clips."""

import io

import pytest
import torch

from mer_ray.core.batch import Batch, StreamSpec, TaskSpec
from mer_ray.models import AttentionConfig, FusionModel
from mer_ray.objectives import Objective

SPECS = (StreamSpec("tone", "audio", 12), StreamSpec("face", "vision", 9), StreamSpec("words", "text", 7))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence", "arousal"))
NAMES = [spec.name for spec in SPECS]

# A new model is one line here.
MODELS = {"attention": AttentionConfig(hidden=16, dropout=0.0)}


@pytest.fixture(params=MODELS)
def model(request) -> FusionModel:
    torch.manual_seed(0)
    return MODELS[request.param].build(SPECS, TASK)


def make_batch(num_clips=8, missing=(), probability=1.0):
    generator = torch.Generator().manual_seed(1)
    present = {name: torch.rand(num_clips, generator=generator) < probability for name in NAMES}
    for name in missing:
        present[name] = torch.zeros(num_clips, dtype=torch.bool)
    streams = {spec.name: torch.randn(num_clips, spec.dim, generator=generator) * present[spec.name][:, None] for spec in SPECS}
    values = {name: torch.randn(num_clips, generator=generator) for name in TASK.values}
    return Batch(streams, present, torch.arange(num_clips) % len(TASK.classes), values)


def check_predictions(predictions, num_clips):
    assert predictions.logits.shape == (num_clips, len(TASK.classes)) and predictions.logits.dtype == torch.float32
    assert predictions.logits.isfinite().all()
    assert set(predictions.values) == set(TASK.values)
    for value_B in predictions.values.values():
        assert value_B.shape == (num_clips,) and value_B.isfinite().all()


@pytest.mark.parametrize("missing", [(), ("tone",), ("face", "words"), ("tone", "face", "words")])
def test_it_predicts_whatever_is_missing(model, missing):
    check_predictions(model.eval()(make_batch(missing=missing)), 8)


@pytest.mark.parametrize("num_clips", [0, 1])
def test_it_takes_empty_and_single_batches_in_training(model, num_clips):
    predictions = model.train()(make_batch(num_clips))
    check_predictions(predictions, num_clips)
    Objective(TASK.values).sums(predictions, make_batch(num_clips)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_values_of_a_missing_stream_do_not_matter(model):
    model.eval()
    batch = make_batch(missing=("face",))
    expected = model(batch)
    batch.streams["face"] = torch.full_like(batch.streams["face"], 7.0)
    assert torch.equal(model(batch).logits, expected.logits)


def test_a_clip_does_not_depend_on_its_batch(model):
    model.eval()
    batch = make_batch(probability=0.6)
    together = model(batch)
    for row in range(8):
        alone = model(
            Batch(
                {name: x[row : row + 1] for name, x in batch.streams.items()},
                {name: x[row : row + 1] for name, x in batch.present.items()},
                batch.emotion[row : row + 1],
                {},
            )
        )
        assert torch.allclose(alone.logits[0], together.logits[row], atol=1e-6)


def test_every_parameter_gets_a_gradient(model):
    Objective(TASK.values).sums(model.train()(make_batch(64)), make_batch(64)).sum().backward()
    untouched = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert untouched == []


def test_it_survives_a_save_and_a_load(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    torch.manual_seed(9)
    other = next(config for config in MODELS.values() if type(config.build(SPECS, TASK)) is type(model)).build(SPECS, TASK)
    assert not torch.equal(other.eval()(make_batch()).logits, model.eval()(make_batch()).logits)
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert torch.equal(other(make_batch()).logits, model(make_batch()).logits)


def test_it_over_fits_eight_clips(model):
    batch, objective = make_batch(probability=0.8), Objective(TASK.values)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        (objective.sums(model(batch), batch) / 8).sum().backward()
        optimiser.step()
    predictions = model.eval()(batch)
    has_any_B = torch.stack(list(batch.present.values())).any(dim=0)
    assert has_any_B.sum() >= 7
    assert (predictions.logits.argmax(dim=1) == batch.emotion)[has_any_B].all()
    assert (predictions.values["valence"] - batch.values["valence"])[has_any_B].abs().max() < 0.1


def test_attention_sums_to_one_over_present_streams(model):
    batch = make_batch(32, probability=0.5)
    predictions = model.eval()(batch)
    if predictions.attention is None:
        pytest.skip("this model has no attention")
    assert set(predictions.attention_names) <= set(NAMES)
    present_BS = torch.stack([batch.present[name] for name in predictions.attention_names], dim=1)
    assert torch.equal(predictions.attention.isnan(), ~present_BS)
    assert torch.allclose(predictions.attention.nansum(dim=1), present_BS.any(dim=1).float(), atol=1e-6)
