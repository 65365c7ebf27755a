import numpy as np
import torch

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.models._modality_embedding import with_one
from mer_ray.models.contract import make_batch
from mer_ray.models.lmf import LowRankFusionConfig, LowRankLayer
from mer_ray.models.tfn import TensorFusionConfig, outer_product

STREAMS = (StreamSpec("tone", "audio", 5), StreamSpec("face", "vision", 4), StreamSpec("words", "text", 3))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence",))


def full_rank(linear, sizes):
    """The layer of factors that is a linear layer on the fused tensor: one product per index (i, j, ...) of all vectors but the last.

    W[i, j, ..., :] = e_i (x) e_j (x) ... (x) W[i, j, ..., :]: unit vectors choose, the last factor is what is chosen.
    """
    *chosen, last = sizes
    hidden, rank = linear.out_features, int(np.prod(chosen))
    layer = LowRankLayer(sizes, rank, hidden)
    indices = np.stack(np.unravel_index(np.arange(rank), chosen)) if chosen else np.zeros((0, rank), dtype=int)
    with torch.no_grad():
        for factor, index, size in zip(list(layer.factors)[:-1], indices, chosen, strict=True):
            factor.copy_(torch.eye(size)[torch.from_numpy(index)][:, :, None].expand(-1, -1, hidden))
        layer.factors[-1].copy_(linear.weight.T.reshape(rank, last, hidden))
        layer.rank_weights_R.fill_(1.0)
        layer.bias_H.copy_(linear.bias)
    return layer


def test_at_full_rank_it_is_a_linear_layer_on_the_fused_tensor():
    torch.manual_seed(0)
    for sizes in ((4,), (3, 4), (2, 3, 4)):
        vectors, linear = [torch.randn(6, size) for size in sizes], torch.nn.Linear(int(np.prod(sizes)), 5)
        assert torch.allclose(full_rank(linear, sizes)(vectors), linear(outer_product(vectors)), atol=1e-5)


def test_at_full_rank_the_model_fuses_as_tfn_does():
    torch.manual_seed(0)
    tfn = TensorFusionConfig(embedding=2, hidden=5).build(STREAMS, TASK).eval()
    lmf = LowRankFusionConfig(embedding=2, rank=9, hidden=5).build(STREAMS, TASK).eval()
    lmf.embeddings.load_state_dict(tfn.embeddings.state_dict())
    lmf.fusion.load_state_dict(full_rank(tfn.fusion_layer, (3, 3, 3)).state_dict())
    batch = make_batch(STREAMS, probability=0.7)
    vectors = [with_one(embedding(batch)) for embedding in lmf.embeddings]
    fused = tfn.fusion_layer(outer_product(vectors))
    assert torch.allclose(lmf.fusion(vectors), fused, atol=1e-5)
    assert torch.allclose(lmf(batch).logits, lmf.heads(fused).logits, atol=1e-5)


def test_the_layer_is_a_tensor_of_low_rank():
    torch.manual_seed(0)
    layer, vectors = LowRankLayer((2, 3, 4), rank=2, hidden=5), [torch.randn(6, size) for size in (2, 3, 4)]
    with torch.no_grad():
        layer.bias_H.normal_()
    factors = [factor.detach().numpy() for factor in layer.factors]
    weight = np.einsum("r,rah,rvh,rth->avth", layer.rank_weights_R.detach().numpy(), *factors)
    expected = np.einsum("ba,bv,bt,avth->bh", *(x.numpy() for x in vectors), weight) + layer.bias_H.detach().numpy()
    assert np.allclose(layer(vectors).detach().numpy(), expected, atol=1e-5)
