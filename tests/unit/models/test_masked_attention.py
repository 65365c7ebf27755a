import math

import numpy as np
import pytest
import torch

from mer_ray.models._masked_attention import MaskedAttention
from mer_ray.models._masked_softmax import masked_softmax
from mer_ray.models._positions import sinusoidal_positions

WIDTH, HEADS = 6, 2


def attend(attention: MaskedAttention, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """One clip, without padding, head by head."""
    weight = {name: x.detach().double().numpy() for name, x in attention.state_dict().items()}
    q = queries @ weight["query.weight"].T + weight["query.bias"]
    k, v = keys @ weight["key.weight"].T, keys @ weight["value.weight"].T + weight["value.bias"]
    heads = []
    for part in np.split(np.arange(WIDTH), HEADS):
        scores = q[:, part] @ k[:, part].T / math.sqrt(WIDTH / HEADS)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(shares @ v[:, part])
    return np.concatenate(heads, axis=1) @ weight["output.weight"].T


def test_it_is_scaled_dot_product_attention_over_the_real_keys():
    torch.manual_seed(0)
    attention = MaskedAttention(WIDTH, HEADS)
    queries, keys = torch.randn(2, 3, WIDTH), torch.randn(2, 5, WIDTH)
    mask = torch.tensor([[True, True, False, True, False], [False, False, False, False, True]])
    found = attention(queries, keys, mask).detach().numpy()
    for clip in range(2):
        wanted = attend(attention, queries[clip].double().numpy(), keys[clip][mask[clip]].double().numpy())
        assert np.allclose(found[clip], wanted, atol=1e-6)


@pytest.mark.parametrize("score", [1.0, 1e4, -1e4])
def test_without_a_real_key_it_gives_zeros_and_finite_gradients(score: float):
    torch.manual_seed(0)
    attention = MaskedAttention(WIDTH, HEADS)
    queries, keys = (score * torch.randn(2, 3, WIDTH)).requires_grad_(), torch.randn(2, 4, WIDTH, requires_grad=True)
    mask = torch.tensor([[False] * 4, [True, False, False, False]])
    gathered = attention(queries, keys, mask)
    assert torch.equal(gathered[0], torch.zeros(3, WIDTH)) and bool(gathered[1].all())
    gathered.square().sum().backward()
    assert bool(queries.grad.isfinite().all()) and bool(keys.grad.isfinite().all())
    assert torch.equal(keys.grad != 0, mask[:, :, None].expand_as(keys))


def test_no_token_at_all_gives_zeros():
    attention = MaskedAttention(WIDTH, HEADS)
    assert torch.equal(
        attention(torch.randn(2, 3, WIDTH), torch.zeros(2, 0, WIDTH), torch.zeros(2, 0, dtype=torch.bool)), torch.zeros(2, 3, WIDTH)
    )


def test_a_single_key_is_attention_without_queries():
    torch.manual_seed(0)
    full, single = MaskedAttention(WIDTH, HEADS), MaskedAttention(WIDTH, HEADS, is_single_key=True)
    single.load_state_dict({name: x for name, x in full.state_dict().items() if name.startswith(("value", "output"))})
    queries, keys, mask = torch.randn(2, 3, WIDTH), torch.randn(2, 1, WIDTH), torch.tensor([[True], [False]])
    assert torch.allclose(single(queries, keys, mask), full(queries, keys, mask), atol=1e-6)
    assert {name.split(".")[0] for name, _ in single.named_parameters()} == {"value", "output"}


def test_masked_softmax_is_zero_where_barred_also_throughout():
    scores, mask = torch.tensor([[1.0, 2.0, 50.0], [3.0, 3.0, 3.0]]), torch.tensor([[True, True, False], [False, False, False]])
    share = math.exp(1) / (math.exp(1) + math.exp(2))
    assert torch.allclose(masked_softmax(scores, mask), torch.tensor([[share, 1 - share, 0.0], [0.0, 0.0, 0.0]]))
    assert masked_softmax(scores.bfloat16(), mask).dtype == torch.float32


@pytest.mark.parametrize("width", [5, 6])
def test_positions_are_the_published_sines_and_cosines(width: int):
    wanted = [
        [(math.sin if place % 2 == 0 else math.cos)(step / 10_000 ** ((place - place % 2) / width)) for place in range(width)]
        for step in range(4)
    ]
    assert torch.allclose(sinusoidal_positions(4, width, torch.device("cpu")), torch.tensor(wanted), atol=1e-6)
