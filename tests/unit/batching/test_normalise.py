import numpy as np
import pytest
import torch

from mer_ray.batching import Stream, fit_normalisation, normalise_stream
from mer_ray.core.batch import StreamSpec
from mer_ray.core.errors import RunError

PRESENT_N = torch.tensor([True, True, False, True, True])


def features():
    x_ND = torch.tensor(np.random.default_rng(0).normal(3.0, 2.0, size=(5, 3)), dtype=torch.float32)
    x_ND[2] = 0
    return x_ND


def test_statistics_are_those_of_the_present_rows():
    x_ND = features()
    found = fit_normalisation(x_ND, PRESENT_N)
    kept = x_ND[PRESENT_N].numpy().astype(np.float64)
    assert np.allclose(found.mean_D, kept.mean(axis=0), atol=1e-6) and np.allclose(found.scale_D, kept.std(axis=0), atol=1e-6)
    z_ND = found.apply(x_ND, PRESENT_N)
    assert torch.allclose(z_ND[PRESENT_N].mean(dim=0), torch.zeros(3), atol=1e-6)
    assert not z_ND[2].any()


def test_a_constant_dimension_becomes_zero_and_never_huge():
    x_ND = torch.cat([features()[:, :2], torch.full((5, 1), 1000.0)], dim=1)
    z_ND = fit_normalisation(x_ND, PRESENT_N).apply(x_ND, PRESENT_N)
    assert not z_ND[:, 2].any()
    other_ND = x_ND + 0.5
    assert fit_normalisation(x_ND, PRESENT_N).apply(other_ND, PRESENT_N)[0, 2] == 0.5


def test_no_present_row_leaves_values_as_they_are():
    found = fit_normalisation(features(), torch.zeros(5, dtype=torch.bool))
    assert found.mean_D.tolist() == [0, 0, 0] and found.scale_D.tolist() == [1, 1, 1]


def normalise_speakers(x_ND, present_N, speakers):
    spec = StreamSpec("tone", "audio", x_ND.shape[1])
    stream = Stream(spec, "tone@12345678", ("last",), ("mean",), x_ND.numpy(), present_N.numpy())
    return torch.from_numpy(normalise_stream(stream, speakers).x_RD)


def test_each_speaker_is_normalised_by_their_own_clips():
    x_ND = features()
    speakers = ["a", "b", "a", "a", "b"]
    z_ND = normalise_speakers(x_ND, PRESENT_N, speakers)
    for rows in ([0, 3], [1, 4]):
        assert torch.allclose(z_ND[rows].mean(dim=0), torch.zeros(3), atol=1e-5)
        assert torch.allclose(z_ND[rows].std(dim=0, correction=0), torch.ones(3), atol=1e-5)
    shifted = x_ND + torch.tensor([10.0, 0, 10, 10, 0])[:, None]
    assert torch.allclose(normalise_speakers(shifted, PRESENT_N, speakers), z_ND, atol=1e-4)


def test_speaker_normalisation_without_speakers_says_how_many_lack():
    with pytest.raises(RunError, match=r"2 of 5 have none: use normalise: train"):
        normalise_speakers(features(), PRESENT_N, ["a", None, "a", None, "b"])
