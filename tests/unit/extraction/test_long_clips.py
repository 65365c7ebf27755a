"""Clips whose frames are larger than a shard: their pieces give the features of the whole."""

from pathlib import Path

import numpy as np
import pytest
from media_factory import moving_noise, write_media
from vision_cases import save_small_clip

from mer_ray.core.media_types import Clip, Features
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.encoders.clip import ClipEncoderConfig
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.extraction.long_clips import LongClip, merge_pieces
from mer_ray.extraction.shard_encoder import ShardDecoder, ShardEncoder, begin_report
from mer_ray.extraction.shards import Shard, ShardClip

DURATION_S = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("media") / "long.mp4"
    write_media(path, moving_noise(10 * DURATION_S), fps=10)
    return Clip("long", str(path), duration_s=float(DURATION_S))


def encode(clip: Clip, config: EncoderConfig, piece_mb: float) -> tuple[Features, bool]:
    """The features, and whether the clip went in pieces."""
    encoder = ShardEncoder([config], "cpu")
    shard = Shard(0, (ShardClip(clip, {encoder_key(config): "hash"}),))
    decoded = ShardDecoder(encoder.configs, MediaLimits(), piece_mb).decode(shard, {}, begin_report(shard))
    (((_, outcome),),) = encoder.encode(decoded).outcomes.values()
    assert isinstance(outcome, Features), outcome
    return outcome, any(isinstance(item, LongClip) for item in decoded.inputs[0].values())


def test_pieces_give_the_features_of_the_whole(clip: Clip, tmp_path: Path):
    weights = str(save_small_clip(tmp_path / "clip"))
    config = ClipEncoderConfig(weights=weights, frame_rate_hz=5.0, sequences=("layer_1", "layer_2"), rate_hz=1.0)
    size = config.input_format.size
    whole, was_cut = encode(clip, config, piece_mb=64)
    assert not was_cut
    # Room for two seconds of frames.
    pieces, was_cut = encode(clip, config, piece_mb=3 * size**2 * 10 / 2**20)
    assert was_cut
    assert (pieces.num_frames, pieces.frame_s) == (whole.num_frames, whole.frame_s) == (5 * DURATION_S, 0.2)
    for layer in whole.mean:
        assert np.allclose(pieces.mean[layer], whole.mean[layer], atol=1e-5)
        assert np.allclose(pieces.std[layer], whole.std[layer], atol=1e-5)
    for layer in config.sequences:
        assert pieces.sequences[layer].shape == whole.sequences[layer].shape == (DURATION_S, whole.mean[layer].size)
        assert np.allclose(pieces.sequences[layer], whole.sequences[layer], atol=1e-5)


def test_an_encoder_that_needs_all_frames_gets_them_at_once(clip: Clip):
    assert not encode(clip, GradientConfig(frame_rate_hz=5.0), piece_mb=0.1)[1]


def test_statistics_are_merged_exactly():
    frames_TD = np.random.default_rng(0).normal(3.0, 2.0, (50, 4)).astype(np.float32)
    cuts = [frames_TD[:7], frames_TD[7:8], frames_TD[8:]]
    parts = [Features(len(cut), 0.2, {"low": cut.mean(0)}, {"low": cut.std(0)}, {"low": cut}) for cut in cuts]
    merged = merge_pieces(parts, 0.25)
    assert (merged.num_frames, merged.no_face_share) == (50, 0.25)
    assert np.allclose(merged.mean["low"], frames_TD.mean(0), atol=1e-6)
    assert np.allclose(merged.std["low"], frames_TD.std(0), atol=1e-6)
    assert np.array_equal(merged.sequences["low"], frames_TD)


def test_a_clip_without_any_frame_lacks_the_modality():
    assert merge_pieces([], 1.0) == Features(0, 0.0, no_face_share=1.0)
