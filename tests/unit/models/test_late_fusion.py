import pytest
import torch

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.models.contract import make_batch
from mer_ray.models.late_fusion import LateFusionConfig

STREAMS = (StreamSpec("tone", "audio", 5), StreamSpec("pitch", "audio", 2), StreamSpec("face", "vision", 4), StreamSpec("words", "text", 3))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence",))


def made(streams=STREAMS):
    torch.manual_seed(0)
    return LateFusionConfig(hidden=8).build(streams, TASK).eval()


def test_the_decision_is_the_mean_of_the_decisions_of_present_modalities():
    model, batch = made(), make_batch(STREAMS, 16, probability=0.5)
    found = model(batch)
    parts = {step.name: model.forward_step(batch, step.name) for step in model.steps}
    numbers = set()
    for clip in range(16):
        present = {spec.modality for spec in STREAMS if batch.present[spec.name][clip]}
        counted = [parts[modality] for modality in (present or parts)]
        probs = torch.stack([torch.softmax(part.logits[clip], dim=0) for part in counted]).mean(dim=0)
        assert torch.allclose(torch.softmax(found.logits[clip], dim=0), probs, atol=1e-6)
        assert torch.allclose(found.values["valence"][clip], torch.stack([part.values["valence"][clip] for part in counted]).mean())
        numbers.add(len(present))
    # The draw has clips of one, two and three modalities.
    assert {1, 2, 3} <= numbers


def test_a_clip_without_any_modality_has_the_mean_of_all():
    model, batch = made(), make_batch(STREAMS, 2, missing=[spec.name for spec in STREAMS])
    probs = [torch.softmax(model.forward_step(batch, step.name).logits, dim=1) for step in model.steps]
    assert torch.allclose(torch.softmax(model(batch).logits, dim=1), torch.stack(probs).mean(dim=0), atol=1e-6)


def test_a_modality_decides_whatever_the_others_are():
    model, batch = made(), make_batch(STREAMS)
    expected = model.forward_step(batch, "audio")
    other = make_batch(STREAMS, missing=("words",))
    other.streams["face"] = torch.randn_like(other.streams["face"])
    assert torch.equal(model.forward_step(other, "audio").logits, expected.logits)
    assert not torch.equal(model(other).logits, model(batch).logits)


def test_the_streams_of_a_modality_are_read_together_and_zero_where_absent():
    model, batch = made(), make_batch(STREAMS, missing=("pitch",))
    batch.streams["pitch"] = torch.full_like(batch.streams["pitch"], torch.nan)
    network = model.networks["audio"]
    x = torch.cat([batch.streams["tone"], torch.zeros(8, 2)], dim=1)
    for layer in (network.layers[1], network.layers[4]):
        x = torch.relu(layer(x))
    assert torch.allclose(model.forward_step(batch, "audio").logits, network.heads.emotion_head(x), atol=1e-6)


def test_each_modality_learns_in_a_step_of_its_own_on_the_clips_that_have_it():
    model, batch = made(), make_batch(STREAMS)
    assert [(step.name, step.parts, step.needs) for step in model.steps] == [
        (name, (name,), (name,)) for name in ("audio", "vision", "text")
    ]
    model.forward_step(batch, "vision").logits.square().sum().backward()
    moved = {name for name, weights in model.parts().items() if any(weight.grad is not None for weight in weights)}
    assert moved == {"vision"}


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_steps_are_those_of_the_modalities_in_use(modality):
    model = made(tuple(spec for spec in STREAMS if spec.modality == modality))
    assert [step.name for step in model.steps] == [modality]
