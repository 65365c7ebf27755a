import torch

from mer_ray.core.batch import Batch, StreamSpec, TaskSpec
from mer_ray.models import AttentionConfig

SPECS = (StreamSpec("tone", "audio", 5), StreamSpec("face", "vision", 4))


def test_the_forward_pass_is_the_published_formula():
    torch.manual_seed(0)
    model = AttentionConfig(hidden=3).build(SPECS, TaskSpec(("a", "b"), ("valence",))).eval()
    x = {"tone": torch.randn(1, 5), "face": torch.randn(1, 4)}
    batch = Batch(x, {name: torch.tensor([True]) for name in x}, torch.tensor([0]), {})
    found = model(batch)
    hidden = [
        torch.relu(linear.weight @ x[name][0] + linear.bias) for name, linear in zip(("tone", "face"), model.projections, strict=True)
    ]
    weights = torch.softmax(model.attention.weight @ torch.cat(hidden) + model.attention.bias, dim=0)
    z = weights[0] * hidden[0] + weights[1] * hidden[1]
    assert torch.allclose(found.attention[0], weights, atol=1e-6) and found.attention_names == ("tone", "face")
    assert torch.allclose(found.logits[0], model.emotion_head.weight @ z + model.emotion_head.bias, atol=1e-6)
    assert torch.allclose(found.values["valence"], model.value_heads.weight @ z + model.value_heads.bias, atol=1e-6)


def test_without_values_there_is_no_value_head():
    model = AttentionConfig(hidden=3, input_dropout=0.1).build(SPECS, TaskSpec(("a", "b")))
    assert model.value_heads is None and model.input_dropout.p == 0.1


def test_a_clip_without_streams_predicts_the_heads_biases():
    model = AttentionConfig(hidden=3).build(SPECS, TaskSpec(("a", "b"), ("valence",))).eval()
    x = {"tone": torch.zeros(1, 5), "face": torch.zeros(1, 4)}
    found = model(Batch(x, {name: torch.tensor([False]) for name in x}, torch.tensor([0]), {}))
    assert torch.allclose(found.logits[0], model.emotion_head.bias) and torch.allclose(found.values["valence"], model.value_heads.bias)
    assert found.attention.isnan().all()
