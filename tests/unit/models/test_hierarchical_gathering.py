import numpy as np
import pytest
import torch

from mer_ray.core.batch import Batch, StreamSpec
from mer_ray.models._feature_gathering import FeatureGathering, OnlyOne, SelfAttentionGathering, make_gathering
from mer_ray.models._stream_projection import StreamProjection

PRESENT = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [False, False, False]])


def afg_by_hand(gather, vectors):
    """The formula, over the vectors that are present."""
    transform, bias = gather.transform.weight.detach().numpy(), gather.transform.bias.detach().numpy()
    scores = np.array([gather.score.weight.detach().numpy()[0] @ np.tanh(transform @ h + bias) for h in vectors])
    weights = np.exp(scores) / np.exp(scores).sum()
    return weights, sum(a * h for a, h in zip(weights, vectors, strict=True))


def test_gathering_is_the_formula_over_what_is_present():
    torch.manual_seed(0)
    gather, h = FeatureGathering(5, 4), torch.randn(4, 3, 5)
    z, weights = gather(h, PRESENT)
    for row in range(3):
        kept = PRESENT[row].numpy()
        expected_weights, expected_z = afg_by_hand(gather, h[row].numpy()[kept])
        assert np.allclose(weights[row].detach().numpy()[kept], expected_weights, atol=1e-6)
        assert np.allclose(z[row].detach().numpy(), expected_z, atol=1e-6)
        assert not weights[row][~PRESENT[row]].any()
    assert len(set(weights[0].tolist())) == 3


@pytest.mark.parametrize("gather", [FeatureGathering(4, 4), SelfAttentionGathering(4, 2)])
def test_a_clip_without_anything_gathers_zero(gather):
    z, weights = gather(torch.randn(4, 3, 4), PRESENT)
    assert not z[3].any() and not weights[3].any() and z[:3].any(dim=1).all()


@pytest.mark.parametrize("gather", [FeatureGathering(4, 4), SelfAttentionGathering(4, 2), OnlyOne()])
def test_what_stands_where_something_is_absent_reaches_neither_output_nor_gradient(gather):
    present = PRESENT[:, -1:] if isinstance(gather, OnlyOne) else PRESENT
    h = torch.randn(4, present.shape[1], 4)
    outputs, gradients = [], []
    for filling in (0.0, torch.nan):
        filled = torch.where(present[:, :, None], h, filling).requires_grad_()
        z, weights = gather(filled, present)
        outputs.append((z, weights))
        gradients.append(torch.autograd.grad(z.square().sum(), [filled, *gather.parameters()], allow_unused=True))
    assert torch.equal(outputs[0][0], outputs[1][0]) and torch.equal(outputs[0][1], outputs[1][1])
    for one, other in zip(*gradients, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def test_self_attention_is_torchs_with_a_mask_then_the_mean():
    torch.manual_seed(0)
    gather, h = SelfAttentionGathering(8, 2), torch.randn(4, 3, 8)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([gather.query.weight, gather.key.weight, gather.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([gather.query.bias, torch.zeros(8), gather.value.bias]))
        reference.out_proj.load_state_dict(gather.output.state_dict())
    z, weights = gather(h, PRESENT)
    for row in range(3):
        kept = PRESENT[row]
        expected, attention = reference(h[row : row + 1, kept], h[row : row + 1, kept], h[row : row + 1, kept])
        assert torch.allclose(z[row], expected[0].mean(dim=0), atol=1e-6)
        assert torch.allclose(weights[row, kept], attention[0].mean(dim=0), atol=1e-6)
    assert torch.allclose(weights[:3].sum(dim=1), torch.ones(3))


def test_one_vector_is_itself_and_has_no_parameters():
    for name in ("afg", "self_attention"):
        gather, h = make_gathering(name, 4, 2)(1), torch.randn(2, 1, 4)
        z, weights = gather(h, torch.tensor([[True], [False]]))
        assert torch.equal(z[0], h[0, 0]) and not z[1].any() and weights.tolist() == [[1.0], [0.0]]
        assert not list(gather.parameters())


def test_frames_are_gathered_over_time_before_the_projection():
    torch.manual_seed(0)
    spec = StreamSpec("tone", "audio", 5, is_sequence=True)
    projection = StreamProjection(spec, 6, dropout=0.5, input_dropout=0.5).eval()
    x, mask = torch.randn(1, 4, 5), torch.tensor([[True, True, True, False]])
    h = projection(Batch({"tone": x}, {"tone": mask.any(dim=1)}, torch.tensor([0]), {}, {"tone": mask}))
    _, pooled = afg_by_hand(projection.time_pooling, x[0, :3].numpy())
    linear, norm = projection.layers[1], projection.layers[2]
    projected = linear.weight.detach().numpy() @ pooled + linear.bias.detach().numpy()
    normed = (projected - projected.mean()) / np.sqrt(projected.var() + norm.eps)
    assert np.allclose(h[0].detach().numpy(), np.maximum(normed, 0), atol=1e-5) and h.any()


def test_a_pooled_stream_has_no_time_pooling():
    assert StreamProjection(StreamSpec("tone", "audio", 5), 6, 0.0, 0.0).time_pooling is None
