import pytest
import torch

from mer_ray.core.batch import StreamSpec
from mer_ray.models._feature_gathering import make_gathering
from mer_ray.models._structures import Structure, structure_groups

AUDIO = (StreamSpec("hubert/18", "audio", 3), StreamSpec("hubert/19", "audio", 3))
VISION = (StreamSpec("manet", "vision", 4), StreamSpec("resnet", "vision", 2))
TEXT = (StreamSpec("words", "text", 2),)
PRESENT = torch.tensor([[True, True, True, True], [True, False, True, True], [True, True, False, False], [False] * 4])


def made(name, streams, gathering="afg"):
    torch.manual_seed(0)
    groups = structure_groups(name, streams)
    return Structure(groups, len(streams), make_gathering(gathering, 6, 2))


def test_the_groups_of_the_structures():
    streams = (*AUDIO, *VISION)
    assert structure_groups("flat", streams) == [[0, 1, 2, 3]]
    assert structure_groups("hierarchical", streams) == [[0, 1], [2, 3]]
    assert structure_groups("cross_modal", streams) == [[0, 2], [0, 3], [1, 2], [1, 3]]


def test_text_is_a_third_modality():
    streams = (*AUDIO, *VISION, *TEXT)
    assert structure_groups("hierarchical", streams) == [[0, 1], [2, 3], [4]]
    assert structure_groups("cross_modal", streams) == [[0, 2], [0, 3], [0, 4], [1, 2], [1, 3], [1, 4], [2, 4], [3, 4]]


def test_with_one_modality_a_pair_is_one_stream():
    assert structure_groups("cross_modal", AUDIO) == [[0], [1]]


def test_streams_of_a_modality_need_not_stand_together():
    assert structure_groups("hierarchical", (AUDIO[0], VISION[0], AUDIO[1])) == [[0, 2], [1]]


def test_the_flat_structure_is_one_gathering():
    structure, h = made("flat", (*AUDIO, *VISION)), torch.randn(4, 4, 6)
    z, weights = structure(h, PRESENT)
    expected_z, expected_weights = structure.inner[0](h, PRESENT)
    assert torch.equal(z, expected_z) and torch.equal(weights, expected_weights)


def test_the_weights_of_the_hierarchical_structure_are_products_of_its_levels():
    structure, h = made("hierarchical", (*AUDIO, *VISION)), torch.randn(4, 4, 6)
    z, weights = structure(h, PRESENT)
    audio, inside_audio = structure.inner[0](h[:, :2], PRESENT[:, :2])
    vision, inside_vision = structure.inner[1](h[:, 2:], PRESENT[:, 2:])
    modalities = torch.stack([PRESENT[:, :2].any(dim=1), PRESENT[:, 2:].any(dim=1)], dim=1)
    expected_z, over = structure.outer(torch.stack([audio, vision], dim=1), modalities)
    assert torch.allclose(z, expected_z, atol=1e-6)
    assert torch.allclose(weights, torch.cat([over[:, :1] * inside_audio, over[:, 1:] * inside_vision], dim=1), atol=1e-6)


def test_the_weights_of_the_cross_modal_structure_are_sums_over_the_pairs_of_a_stream():
    structure, h = made("cross_modal", (*AUDIO, *VISION)), torch.randn(4, 4, 6)
    z, weights = structure(h, PRESENT)
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3)]
    inside = [gather(h[:, pair], PRESENT[:, pair]) for pair, gather in zip(pairs, structure.inner, strict=True)]
    present = torch.stack([PRESENT[:, pair].any(dim=1) for pair in pairs], dim=1)
    expected_z, over = structure.outer(torch.stack([one for one, _ in inside], dim=1), present)
    assert torch.allclose(z, expected_z, atol=1e-6)
    for stream in range(4):
        parts = [over[:, n] * inside[n][1][:, pair.index(stream)] for n, pair in enumerate(pairs) if stream in pair]
        assert len(parts) == 2 and torch.allclose(weights[:, stream], sum(parts), atol=1e-6)


@pytest.mark.parametrize("gathering", ["afg", "self_attention"])
@pytest.mark.parametrize("name", ["flat", "hierarchical", "cross_modal"])
def test_weights_sum_to_one_over_present_streams(name, gathering):
    structure, h = made(name, (*AUDIO, *VISION), gathering), torch.randn(4, 4, 6)
    z, weights = structure(h, PRESENT)
    assert torch.allclose(weights.sum(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-6)
    assert not weights[~PRESENT].any() and (weights[PRESENT] > 0).all()
    assert not z[3].any() and z[:3].any(dim=1).all()


def test_the_effective_weights_of_gathered_streams_are_their_shares_of_the_output():
    # AFG is a weighted sum at every level, so the whole is the sum under the weights that are shown.
    for name in ("flat", "hierarchical", "cross_modal"):
        structure, h = made(name, (*AUDIO, *VISION)), torch.randn(4, 4, 6)
        z, weights = structure(h, PRESENT)
        assert torch.allclose(z, (weights[:, :, None] * h).sum(dim=1), atol=1e-6)
