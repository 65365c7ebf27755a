"""Faces from files to the store, without Ray: what was found, what was not, and the long clip in pieces."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
import transformers

from mer_ray.core.faces import DetectedFaces, StoredFaces
from mer_ray.core.media_types import Clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.encoders.clip import ClipEncoderConfig
from mer_ray.extraction.inputs import input_hash, source_path, stamp_files
from mer_ray.extraction.shard_encoder import ShardWorker
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.face_shares import read_face_shares
from mer_ray.store.layout import open_store
from mer_ray.store.reader import PooledFeatures, read_pooled
from mer_ray.store.record import EncoderRecord, find_record


@pytest.fixture
def small_clip(tmp_path: Path) -> Path:
    """A random CLIP tower of two layers for pictures of 32 x 32."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "projection_dim": 16}
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(tmp_path / "clip")
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def clips(tmp_path: Path, shared_data: Path) -> list[Clip]:
    """A talking head, a video without a face, and a clip without pictures."""
    with av.open(str(tmp_path / "blank.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    np.save(tmp_path / "crops.npy", np.random.default_rng(0).integers(0, 255, (40, 112, 112, 3), dtype=np.uint8))
    return [
        Clip("blank", path=str(tmp_path / "blank.mp4"), duration_s=0.8),
        Clip("head", path=str(shared_data / "media/talking_head.mp4"), faces_path=str(tmp_path / "crops.npy"), duration_s=8.0),
        Clip("words", text="no pictures at all"),
    ]


def extract(config: EncoderConfig, clips: list[Clip], store: Path, piece_mb: float = 64) -> tuple[EncoderRecord, PooledFeatures]:
    key, wanted = encoder_key(config), config.input_format
    stamps = stamp_files(path for clip in clips if (path := source_path(clip, wanted)) is not None)
    shard = Shard(0, tuple(ShardClip(clip, {key: input_hash(clip, wanted, stamps)}) for clip in clips))
    report = ShardWorker([config], str(store), "corpus", MediaLimits(), piece_mb, "cpu").process(shard)
    assert report.failures == []
    record = find_record(open_store(store), "corpus", key)
    assert record is not None
    return record, read_pooled(open_store(store), "corpus", record)


def test_found_faces(small_clip: Path, clips: list[Clip], shared_data: Path, tmp_path: Path) -> None:
    faces = DetectedFaces(weights=shared_data / "models/yunet_n_dynamic.onnx", detect_every=4)
    config = ClipEncoderConfig(weights=str(small_clip), frame_rate_hz=5.0, faces=faces, dtype="float32")
    record, features = extract(config, clips, tmp_path / "whole")
    assert record.detects_faces
    assert features.clip_ids == ("blank", "head", "words")
    assert features.num_frames.tolist() == [0, 40, 0]
    shares = read_face_shares(open_store(tmp_path / "whole"), "corpus", record)
    np.testing.assert_array_equal(shares.no_face_share, np.array([1, 0, np.nan], np.float32))

    # 40 frames of 3 KiB do not fit into 40 KiB.
    _, in_pieces = extract(config, clips, tmp_path / "pieces", piece_mb=40 / 1024)
    assert in_pieces.num_frames.tolist() == [0, 40, 0]
    for name, values_ND in features.columns.items():
        np.testing.assert_allclose(in_pieces.columns[name], values_ND, atol=1e-5)


def test_whole_frames_and_crops_of_the_corpus_have_no_share(small_clip: Path, clips: list[Clip], tmp_path: Path) -> None:
    whole, features = extract(ClipEncoderConfig(weights=str(small_clip), frame_rate_hz=5.0), clips, tmp_path / "store")
    crops, of_crops = extract(ClipEncoderConfig(weights=str(small_clip), frame_rate_hz=5.0, faces=StoredFaces()), clips, tmp_path / "store")
    assert not whole.detects_faces
    assert not crops.detects_faces
    assert whole.key != crops.key
    assert features.num_frames.tolist() == [4, 40, 0]
    assert of_crops.num_frames.tolist() == [0, 40, 0]
