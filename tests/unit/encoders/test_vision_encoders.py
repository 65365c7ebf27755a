import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from published_weights import random_tensors, read_listing
from torch import Tensor

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.faces import DetectedFaces, StoredFaces
from mer_ray.core.media_types import Frames
from mer_ray.encoders import encoder_identity
from mer_ray.encoders._face_network import UNREAD_SUFFIX, FaceNetworkConfig
from mer_ray.encoders._manet_network import MaNet
from mer_ray.encoders._resnet_fer_network import ResnetFer
from mer_ray.encoders.clip import ClipEncoderConfig
from mer_ray.encoders.convert import convert_checkpoint
from mer_ray.encoders.efficientnet import EfficientNetConfig
from mer_ray.encoders.manet import ManetConfig
from mer_ray.encoders.resnet_fer import ResnetFerConfig

FACE_NETWORKS: dict[str, type[FaceNetworkConfig]] = {
    "efficientnet_b2": EfficientNetConfig,
    "resnet50_ferplus_dag": ResnetFerConfig,
    "manet": ManetConfig,
}
CLIP_SIZE = 32


class RecorderMeter:
    """What MA-Net's script stores of its losses; the class lives in the script, so no reader can import it."""

    def __init__(self) -> None:
        self.total_epoch, self.epoch_losses = 3, np.zeros((3, 2), dtype=np.float32)


def write_published(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights in the container in which the real ones were published."""
    tensors = random_tensors(name)
    path = folder / f"{name}.pth"
    if name == "resnet50_ferplus_dag":
        # Of 2018: torch's older format, and before batch norms counted their steps.
        kept = {tensor: value for tensor, value in tensors.items() if not tensor.endswith(UNREAD_SUFFIX)}
        torch.save(kept, path, _use_new_zipfile_serialization=False)
    elif name == "manet":
        parallel = {f"module.{tensor}": value for tensor, value in tensors.items()}
        recorder = RecorderMeter()
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "training_script", types.SimpleNamespace(RecorderMeter=RecorderMeter))
            patch.setattr(RecorderMeter, "__module__", "training_script")
            checkpoint = {
                "epoch": 9,
                "state_dict": parallel,
                "best_acc": torch.tensor(88.3),
                "optimizer": {"state": {}},
                "recorder": recorder,
            }
            torch.save(checkpoint, path)
    else:
        _write_whole_timm_model(tensors, path, monkeypatch)
    return path


def _write_whole_timm_model(tensors: dict[str, Tensor], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled model whose classes come from a package that nobody can import, as those of an old timm."""
    import timm

    network = timm.create_model("tf_efficientnet_b2", num_classes=8)
    network.load_state_dict(tensors)
    classes = {type(module) for module in network.modules() if type(module).__module__.startswith("timm.")}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "timm_of_2021", types.SimpleNamespace(**{found.__qualname__: found for found in classes}))
        for found in classes:
            patch.setattr(found, "__module__", "timm_of_2021")
        torch.save(network, path)


def make_faces(num_frames: int, size: int, seed: int = 0, no_face_share: float | None = None) -> Frames:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
    return Frames(images, np.arange(num_frames) * 0.2, no_face_share)


@torch.inference_mode()
def published_features(name: str, images_NHWC: Any) -> Tensor:
    """What the published code does to a face, written once more: scale to 0..1 or 0..255, normalise, forward, pool."""
    tensors = random_tensors(name)
    pixels_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float()
    if name == "efficientnet_b2":
        import timm

        network = timm.create_model("tf_efficientnet_b2", num_classes=8)
        network.load_state_dict(tensors)
        network.classifier = torch.nn.Identity()
        mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        features: Tensor = network.eval()((pixels_NCHW / 255 - mean) / std)
        return features
    network = ResnetFer() if name == "resnet50_ferplus_dag" else MaNet()
    network.load_state_dict({tensor: tensors[tensor] for tensor in network.state_dict()})
    network.eval()
    if name == "manet":
        return network(pixels_NCHW / 255)
    # Scaled to 256, the centre of 224 cut out: a sixteenth on each side.
    border = pixels_NCHW.shape[2] // 16
    inside_NCHW = pixels_NCHW[:, :, border:-border, border:-border] - torch.tensor([131.0912, 103.8827, 91.4953])[:, None, None]
    map_NCHW = network(inside_NCHW)
    return torch.nn.functional.avg_pool2d(map_NCHW, map_NCHW.shape[2:]).flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize("name", FACE_NETWORKS)
def test_published_files_give_the_networks_own_output(name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FACE_NETWORKS[name](weights=write_published(name, tmp_path, monkeypatch), faces=StoredFaces(), num_frames=2, size=size)
    encoder = config.build("cpu")
    faces = make_faces(2, config.decoded_size)
    features = encoder.encode([faces])[0]
    expected_ND = published_features(name, faces.images)
    (layer,) = encoder.layers
    assert torch.allclose(torch.from_numpy(features.mean[layer]), expected_ND.mean(dim=0), rtol=1e-4, atol=1e-5)
    assert features.frame_s == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", FACE_NETWORKS)
def test_converted_files_give_the_same_features(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = write_published(name, tmp_path, monkeypatch)
    config = FACE_NETWORKS[name](weights=published, faces="whole_frame", size=64)
    converted = FACE_NETWORKS[name](weights=convert_checkpoint(published, None).out, faces="whole_frame", size=64)
    faces = make_faces(1, config.decoded_size)
    first, second = (made.build("cpu").encode([faces])[0] for made in (config, converted))
    assert all(np.allclose(first.mean[layer], second.mean[layer], rtol=1e-5, atol=1e-5) for layer in first.mean)


def test_the_networks_have_the_published_names_and_shapes() -> None:
    for listing, network, unused in (
        ("manet", MaNet(), ("fc_1.", "fc_2.")),
        ("resnet50_ferplus_dag", ResnetFer(), ("conv5_3_1x1_increase", "classifier.")),
    ):
        published = {name: shape for name, shape in read_listing(listing).items() if not name.startswith(unused)}
        assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published


def test_checkpoints_are_counted_right() -> None:
    for listing, config_class in FACE_NETWORKS.items():
        trained = {name: shape for name, shape in read_listing(listing).items() if not name.endswith((UNREAD_SUFFIX, "_mean", "_var"))}
        num_parameters = sum(int(np.prod(shape)) for shape in trained.values())
        assert config_class.checkpoints[0].num_parameters == num_parameters
        assert config_class(weights="w.pth", faces="whole_frame", compute="bf16").num_weight_bytes() == 2 * num_parameters


@pytest.mark.parametrize("config_class", FACE_NETWORKS.values())
def test_faces_must_be_chosen(config_class: type[FaceNetworkConfig]) -> None:
    for data in ({"weights": "w.pth"}, {"weights": "w.pth", "faces": None}):
        with pytest.raises(ConfigError, match=r"was trained on faces; faces: write \{name: yunet.*\{name: crops\}.*whole_frame") as error:
            parse_config(config_class, data, "job.yaml")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("faces", "reason"),
    [
        ("centre", r"^job\.yaml: faces: write \{name: yunet.*whole_frame where the pictures are faces already, not 'centre'$"),
        ({"name": "mtcnn"}, r"^job\.yaml: faces: write \{name: yunet"),
        ({"name": "yunet"}, r"^job\.yaml: faces\.weights: required, but missing$"),
    ],
)
def test_a_wrong_choice_of_faces_is_one_clear_line(faces: object, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_config(ManetConfig, {"weights": "w.pth", "faces": faces}, "job.yaml")


def test_the_face_detector_is_part_of_the_identity(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    detectors = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        detectors.append(tmp_path / str(number) / "yunet.onnx")
        detectors[-1].write_bytes(b"other" if number == 2 else b"detector")
    same, moved, other = (ManetConfig(weights=tmp_path / "w.pth", faces=DetectedFaces(weights=weights)) for weights in detectors)
    assert encoder_identity(same) == encoder_identity(moved)
    assert encoder_identity(same) != encoder_identity(other)
    detectors[0].unlink()
    with pytest.raises(EncoderError, match=r"faces\.weights .*yunet\.onnx: no such file"):
        encoder_identity(same)
    assert same.input_format.faces == DetectedFaces(weights=detectors[0])
    assert ManetConfig(weights=tmp_path / "w.pth", faces="whole_frame").input_format.faces is None


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"absent\.pth: no such file"):
        ManetConfig(weights=tmp_path / "absent.pth", faces="whole_frame").weights_digest()
    tensors = random_tensors("resnet50_ferplus_dag")
    del tensors["conv1_7x7_s2.weight"]
    tensors["conv2_1_3x3.weight"] = torch.zeros(1, 2)
    tensors["head.weight"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "w.pth")
    wanted = (
        r"1 tensors are missing, e\.g\. conv1_7x7_s2\.weight; 1 are left over, e\.g\. head\.weight; "
        r"1 have another shape, e\.g\. conv2_1_3x3\.weight 1x2 where 64x64x3x3 is needed"
    )
    with pytest.raises(EncoderError, match=wanted):
        ResnetFerConfig(weights=tmp_path / "w.pth", faces="whole_frame").build("cpu")


def save_clip(folder: Path, **preprocessing: object) -> tuple[Path, transformers.CLIPModel]:
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "projection_dim": 16}
    architecture = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2},
        vision_config={**tower, "image_size": CLIP_SIZE, "patch_size": 8},
        projection_dim=16,
    )
    model = transformers.CLIPModel(architecture).eval()
    model.save_pretrained(folder)
    size = {"height": CLIP_SIZE, "width": CLIP_SIZE}
    settings: dict[str, Any] = {"size": {"shortest_edge": CLIP_SIZE}, "crop_size": size, **preprocessing}
    transformers.CLIPImageProcessor(**settings).save_pretrained(folder)
    return folder, model


@torch.inference_mode()
def test_clip_equals_transformers_own_pipeline(tmp_path: Path) -> None:
    folder, model = save_clip(tmp_path / "clip")
    frames = make_faces(3, CLIP_SIZE)
    features = ClipEncoderConfig(weights=str(folder), num_frames=3).build("cpu").encode([frames])[0]
    pixels = transformers.CLIPImageProcessor.from_pretrained(folder)(images=list(frames.images), return_tensors="pt")
    output = model.vision_model(**pixels, output_hidden_states=True)
    states = {f"layer_{number}": state_NTD[:, 0] for number, state_NTD in enumerate(output.hidden_states)}
    states["projection"] = model.visual_projection(output.pooler_output)
    assert list(features.mean) == ["layer_0", "layer_1", "layer_2", "projection"]
    for layer, state_ND in states.items():
        assert torch.allclose(torch.from_numpy(features.mean[layer]), state_ND.mean(dim=0), rtol=1e-4, atol=1e-5), layer


@pytest.mark.parametrize("change", [{"crop_size": {"height": 48, "width": 48}}, {"image_mean": None}])
def test_clip_refuses_preprocessing_that_does_not_fit(change: dict[str, object], tmp_path: Path) -> None:
    folder, _ = save_clip(tmp_path / "clip")
    file = folder / "preprocessor_config.json"
    settings = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match=r"preprocessor_config\.json says size .* needs size 32 and three means"):
        ClipEncoderConfig(weights=str(folder)).build("cpu")


def test_clips_share_batches_and_a_clip_may_take_several(tmp_path: Path) -> None:
    folder, _ = save_clip(tmp_path / "clip")
    clips = [make_faces(number, CLIP_SIZE, number) for number in (5, 1, 4)]
    sizes: list[int] = []
    results: list[Sequence[Any]] = []
    for max_batch_frames in (4, 100):
        encoder = ClipEncoderConfig(weights=str(folder), max_batch_frames=max_batch_frames).build("cpu")
        hook = encoder.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        results.append(encoder.encode(clips))
        hook.remove()
        assert encoder.padding() == (10, 10)
    assert sizes == [4, 4, 2, 10]
    for narrow, wide in zip(*results, strict=True):
        assert narrow.num_frames == wide.num_frames
        assert np.allclose(narrow.mean["projection"], wide.mean["projection"], rtol=1e-5, atol=1e-6)


def test_the_share_without_a_face_reaches_the_features(tmp_path: Path) -> None:
    folder, _ = save_clip(tmp_path / "clip")
    config = ClipEncoderConfig(weights=str(folder), faces={"name": "crops"})
    clips = [make_faces(2, CLIP_SIZE, no_face_share=share) for share in (0.25, 0.0, None)]
    assert [features.no_face_share for features in config.build("cpu").encode(clips)] == [0.25, 0.0, None]
    assert config.input_format.faces == StoredFaces()
