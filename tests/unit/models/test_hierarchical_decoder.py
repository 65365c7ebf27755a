import pytest
import torch

from mer_ray.core.batch import TaskSpec
from mer_ray.models._joint_decoder import JointDecoder

TASK = TaskSpec(("calm", "happy", "sad"), ("valence", "arousal"))
MEANS = {"valence": torch.tensor([0.5, 2.0, torch.nan]), "arousal": torch.tensor([torch.nan] * 3)}


def made(name="joint", detach=False, task=TASK):
    torch.manual_seed(0)
    decoder = JointDecoder(name, detach, 4, task)
    if decoder.class_values_VC is not None:
        with torch.no_grad():
            decoder.class_values_VC.normal_()
    return decoder


def test_the_joint_decoder_is_the_formula():
    decoder, z = made(), torch.randn(5, 4)
    found = decoder(z)
    p = torch.softmax(z @ decoder.emotion_head.weight.T + decoder.emotion_head.bias, dim=1)
    assert torch.allclose(torch.softmax(found.logits, dim=1), p, atol=1e-6)
    for number, name in enumerate(TASK.values):
        direct = z @ decoder.value_heads.weight[number] + decoder.value_heads.bias[number]
        gate = 1 / (1 + torch.exp(-(z @ decoder.gates.weight[number] + decoder.gates.bias[number])))
        mapped = p @ decoder.class_values_VC[number]
        assert torch.allclose(found.values[name], gate * direct + (1 - gate) * mapped, atol=1e-6)
        assert torch.allclose(found.facts[f"gate_{name}"], gate, atol=1e-6)


def test_mapping_only_is_the_mean_of_mu_under_the_posterior():
    decoder, z = made("mapping_only"), torch.randn(5, 4)
    found = decoder(z)
    expected = torch.softmax(found.logits, dim=1) @ decoder.class_values_VC.T
    assert torch.allclose(torch.stack(list(found.values.values()), dim=1), expected, atol=1e-6) and not found.facts
    assert {name for name, _ in decoder.named_parameters()} == {"class_values_VC", "emotion_head.weight", "emotion_head.bias"}


def test_separate_heads_are_linear():
    decoder, z = made("separate"), torch.randn(5, 4)
    found = decoder(z)
    assert torch.allclose(torch.stack(list(found.values.values()), dim=1), decoder.value_heads(z)) and not found.facts
    assert decoder.class_values_VC is None and decoder.gates is None
    decoder.start_from(MEANS)


@pytest.mark.parametrize("name", ["joint", "mapping_only"])
@pytest.mark.parametrize("detach", [False, True])
def test_detached_the_loss_of_values_does_not_reach_the_emotion_head(name, detach):
    decoder, z = made(name, detach), torch.randn(5, 4)
    sum(x.square().sum() for x in decoder(z).values.values()).backward()
    reached = decoder.emotion_head.weight.grad
    assert (reached is None or not reached.any()) if detach else reached.any()
    assert decoder.class_values_VC.grad.all()


def test_the_mapping_starts_at_the_class_means():
    decoder = made()
    decoder.start_from(MEANS)
    # A class without a mean has that of the others; without any, 0.
    assert decoder.class_values_VC.tolist() == [[0.5, 2.0, 1.25], [0.0, 0.0, 0.0]]
    assert decoder.class_values_VC.requires_grad


@pytest.mark.parametrize("name", ["joint", "mapping_only", "separate"])
def test_without_values_there_is_an_emotion_head_only(name):
    decoder = made(name, task=TaskSpec(TASK.classes))
    found = decoder(torch.randn(5, 4))
    assert found.logits.shape == (5, 3) and not found.values and not found.facts
    assert {parameter for parameter, _ in decoder.named_parameters()} == {"emotion_head.weight", "emotion_head.bias"}
    decoder.start_from({})
