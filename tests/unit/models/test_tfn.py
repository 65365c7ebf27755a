import numpy as np
import pytest
import torch

from mer_ray.core.batch import StreamSpec, TaskSpec
from mer_ray.models._modality_embedding import ModalityEmbedding, with_one
from mer_ray.models.contract import make_batch
from mer_ray.models.tfn import TensorFusionConfig, outer_product

STREAMS = (StreamSpec("tone", "audio", 5), StreamSpec("pitch", "audio", 2), StreamSpec("face", "vision", 4), StreamSpec("words", "text", 3))
TASK = TaskSpec(("neutral", "angry", "happy", "sad"), ("valence",))
EQUATIONS = {1: "ba->ba", 2: "ba,bv->bav", 3: "ba,bv,bt->bavt"}


def made(streams=STREAMS):
    torch.manual_seed(0)
    return TensorFusionConfig(embedding=3, hidden=8).build(streams, TASK).eval()


@pytest.mark.parametrize("num_vectors", [1, 2, 3])
def test_the_fused_tensor_is_the_outer_product(num_vectors):
    vectors = [torch.randn(4, size) for size in (2, 3, 5)[:num_vectors]]
    expected = np.einsum(EQUATIONS[num_vectors], *(x.numpy() for x in vectors)).reshape(4, -1)
    assert np.allclose(outer_product(vectors).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("modalities", [("audio",), ("audio", "text"), ("audio", "vision", "text")])
def test_the_decision_reads_the_outer_product_of_all_modalities_and_their_ones(modalities):
    streams = tuple(spec for spec in STREAMS if spec.modality in modalities)
    model, batch = made(streams), make_batch(streams, probability=0.6)
    vectors = [np.concatenate([h(batch).detach().numpy(), np.ones((8, 1))], axis=1) for h in model.embeddings]
    fused = np.einsum(EQUATIONS[len(modalities)], *vectors).reshape(8, -1).astype(np.float32)
    assert fused.shape[1] == 4 ** len(modalities) == model.fusion_layer.in_features
    assert torch.allclose(model(batch).logits, model.decision(model.fusion_layer(torch.from_numpy(fused))).logits, atol=1e-6)


def test_without_a_modality_the_products_of_the_others_remain():
    model, batch = made(), make_batch(STREAMS, missing=("face",))
    vectors = [with_one(embedding(batch)) for embedding in model.embeddings]
    assert not vectors[1][:, :-1].any() and (vectors[1][:, -1] == 1).all()
    tensor = outer_product(vectors).unflatten(1, (4, 4, 4))
    assert torch.equal(tensor[:, :, 3], vectors[0][:, :, None] * vectors[2][:, None, :]) and not tensor[:, :, :3].any()


def test_an_absent_stream_of_a_modality_is_zero_after_its_projection():
    torch.manual_seed(0)
    embedding, batch = ModalityEmbedding(STREAMS[:2], 6, 0.5, 0.5).eval(), make_batch(STREAMS, missing=("pitch",))
    batch.streams["pitch"] = torch.full_like(batch.streams["pitch"], torch.nan)
    projected = torch.cat([torch.relu(embedding.projections[0][1](batch.streams["tone"])), torch.zeros(8, 6)], dim=1)
    assert torch.allclose(embedding(batch), embedding.layers(projected), atol=1e-6) and embedding(batch).any()
