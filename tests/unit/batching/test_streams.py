import numpy as np
import pytest

from mer_ray.batching import EncoderFeatures, StreamConfig, build_streams, pick_layers
from mer_ray.core.errors import ConfigError

LAYERS = ("low", "mid", "high")


def features(layers=("low", "high"), dims=(2, 2), encoder="tone@12345678"):
    random = np.random.default_rng(0)
    columns = {
        f"{statistic}_{layer}": random.normal(size=(4, dim)).astype(np.float16)
        for layer, dim in zip(layers, dims, strict=True)
        for statistic in ("mean", "std")
    }
    return EncoderFeatures(encoder, "audio", tuple(layers), np.array([True, True, False, True]), columns)


def test_concat_puts_the_statistics_of_a_layer_side_by_side_and_zeroes_absent_clips():
    found = features()
    (stream,) = StreamConfig(encoder="tone", layers=["low", "high"]).build(found)
    assert stream.spec.name == "tone" and stream.spec.modality == "audio" and stream.spec.dim == 8
    assert stream.x_RD.dtype == np.float32
    assert np.array_equal(
        stream.x_RD[0], np.concatenate([found.columns[name][0] for name in ("mean_low", "std_low", "mean_high", "std_high")])
    )
    assert not stream.x_RD[2].any() and not stream.present_N[2]


@pytest.mark.parametrize(("combine", "divisor"), [("sum", 1), ("mean", 2)])
def test_sum_and_mean_join_layers_value_by_value(combine, divisor):
    found = features()
    (stream,) = StreamConfig(encoder="tone", combine=combine, statistics=["mean"]).build(found)
    expected = (found.columns["mean_low"].astype(np.float32) + found.columns["mean_high"]) / divisor
    assert np.allclose(stream.x_RD[:2], expected[:2]) and stream.spec.dim == 2


def test_separate_gives_a_stream_per_layer():
    streams = StreamConfig(encoder="tone", combine="separate", statistics=["std"]).build(features(dims=(2, 3)))
    assert [(one.spec.name, one.spec.dim, one.layers) for one in streams] == [("tone/low", 2, ("low",)), ("tone/high", 3, ("high",))]


def test_sum_refuses_layers_of_different_size():
    with pytest.raises(ConfigError, match="needs layers of one size, these have low 4, high 6"):
        StreamConfig(encoder="tone", combine="sum").build(features(dims=(2, 3)))


@pytest.mark.parametrize(
    ("asked", "picked"), [("all", LAYERS), ([-1], ("high",)), ([0, "high"], ("low", "high")), ([-1, -2], ("high", "mid"))]
)
def test_layers_are_picked_by_name_or_number(asked, picked):
    assert pick_layers(StreamConfig(encoder="tone", layers=asked), "tone@1", LAYERS) == picked


@pytest.mark.parametrize("asked", [["hihg"], [3], [-4]])
def test_an_unknown_layer_names_those_that_are_there(asked):
    with pytest.raises(ConfigError, match=r"tone@1: no layer .* allowed: low, mid, high, or numbers -3 to 2"):
        pick_layers(StreamConfig(encoder="tone", layers=asked), "tone@1", LAYERS)


@pytest.mark.parametrize("asked", [["high", -1], []])
def test_a_layer_twice_or_none_is_refused(asked):
    with pytest.raises(ConfigError, match="name each layer once"):
        pick_layers(StreamConfig(encoder="tone", layers=asked), "tone@1", LAYERS)


def test_two_streams_of_one_name_are_refused_and_a_name_of_its_own_mends_it():
    first, second = StreamConfig(encoder="tone"), StreamConfig(encoder="tone@12345678")
    with pytest.raises(ConfigError, match="two of them give the stream 'tone'"):
        build_streams([first, second], [features(), features()])
    renamed = second.model_copy(update={"stream": "tone2"})
    assert [one.spec.name for one in build_streams([first, renamed], [features(), features()])] == ["tone", "tone2"]
