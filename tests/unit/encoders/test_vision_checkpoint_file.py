import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from torch import nn

from mer_ray.core.errors import EncoderError
from mer_ray.encoders._checkpoint_file import read_checkpoint, read_state_dict
from mer_ray.encoders.convert import convert_checkpoint


class SmallNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.SiLU())
        self.head = nn.Linear(4, 2)
        self.register_buffer("steps", torch.arange(3), persistent=False)
        self.head_again = self.head
        self.activation = nn.functional.relu


class RecorderMeter:
    """What MA-Net's training script keeps of its losses, of a class of the script itself."""

    def __init__(self) -> None:
        self.epoch_losses = np.zeros((3, 2), dtype=np.float32)


def write(value: object, path: Path, file_format: str) -> Path:
    if file_format == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=file_format == "zip")
    return path


@pytest.fixture
def network() -> SmallNetwork:
    torch.manual_seed(0)
    return SmallNetwork()


def assert_holds(found: dict[str, torch.Tensor], network: nn.Module) -> None:
    wanted = network.state_dict()
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)


@pytest.mark.parametrize("file_format", ["zip", "older", "pickle"])
@pytest.mark.parametrize("container", ["state dict", "training checkpoint", "whole model"])
def test_tensors_come_out_of_every_container_and_format(file_format: str, container: str, network: SmallNetwork, tmp_path: Path) -> None:
    parallel = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    optimiser = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint = {"epoch": 3, "state_dict": parallel, "best_acc": torch.tensor(88.3), "optimizer": optimiser, "recorder": RecorderMeter()}
    value = {"state dict": network.state_dict(), "training checkpoint": checkpoint, "whole model": network}[container]
    assert_holds(read_state_dict(write(value, tmp_path / "weights.pth", file_format)), network)


@pytest.mark.parametrize("file_format", ["zip", "older", "pickle"])
def test_a_model_of_a_package_that_is_not_installed(
    file_format: str, network: SmallNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "package_of_2021", types.SimpleNamespace(SmallNetwork=SmallNetwork))
        patch.setattr(SmallNetwork, "__module__", "package_of_2021")
        # Else torch looks for the source of the class, to store it with the model.
        patch.setattr("torch.serialization.get_source_lines_and_file", lambda *_: ([], 0, ""), raising=False)
        path = write(network, tmp_path / "model.pt", file_format)
    assert b"package_of_2021" in (zipfile.ZipFile(path).read("model/data.pkl") if file_format == "zip" else path.read_bytes())
    with pytest.raises((ModuleNotFoundError, pickle.UnpicklingError)):
        torch.load(path, weights_only=False)
    assert_holds(read_state_dict(path), network)


def test_views_and_types_are_kept(tmp_path: Path) -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "turned": rows.t(),
        "part": rows[1:, 2:],
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.ones(2, dtype=torch.bfloat16),
        "none": torch.zeros(0, 3),
        "truth": torch.tensor([True, False]),
        "number": torch.tensor(5),
    }
    for file_format in ("zip", "older"):
        found = read_state_dict(write(tensors, tmp_path / "x.pt", file_format))
        assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items())


class Command:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("file_format", ["zip", "older", "pickle"])
def test_a_hostile_checkpoint_runs_nothing(file_format: str, network: SmallNetwork, tmp_path: Path) -> None:
    path = write({"state_dict": network.state_dict(), "epoch": Command(tmp_path / "proof")}, tmp_path / "weights.pth", file_format)
    with pytest.raises(EncoderError, match=r"weights\.pth: cannot be read without running code .*posix\.system"):
        read_state_dict(path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"epoch": 3, "scores": [1, 2]}, "holds epoch, scores; none is a state dict"),
        ([1, 2], "holds a list"),
        (RecorderMeter(), "RecorderMeter, which is no torch module"),
        ({}, "holds nothing"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(value: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=reason):
        read_state_dict(write(value, tmp_path / "x.pt", "pickle"))


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = write({"x": torch.arange(4.0)}, tmp_path / "x.pt", "zip")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for wrong in (b"K\x64\x85", b"\x8a\x05\x00\x00\x00\x00\x01\x85"):
        with zipfile.ZipFile(tmp_path / "forged.pt", "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content.replace(b"K\x04\x85", wrong))
        with pytest.raises(EncoderError, match="in a storage of 4 values"):
            read_checkpoint(tmp_path / "forged.pt")


def test_a_pickle_cannot_resize_a_tensor(tmp_path: Path) -> None:
    path = write({"x": torch.arange(4.0)}, tmp_path / "x.pt", "zip")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "forged.pt", "w") as forged:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("data.pkl"):
                made = content.rindex(b"R") + 1
                # The tensor, kept as number 0 and given the state (itself, 0, (2**40,), (1,)).
                resize = b"q\x00(h\x00K\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x85K\x01\x85tb"
                content = content[:made] + resize + content[made:]
            forged.writestr(name, content)
    with pytest.raises(EncoderError, match=r"forged\.pt: cannot be read"):
        read_checkpoint(tmp_path / "forged.pt")


def test_an_archive_cannot_unpack_to_more_than_it_is(tmp_path: Path) -> None:
    path = write({"x": torch.zeros(1000, 1000)}, tmp_path / "x.pt", "zip")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in archive.namelist():
            bomb.writestr(name, archive.read(name))
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(EncoderError, match="unpacks to more than the file holds"):
        read_state_dict(tmp_path / "bomb.pt")


def test_an_archive_that_is_encrypted_or_packed_in_an_unknown_way_is_one_clear_error(tmp_path: Path) -> None:
    content = write({"x": torch.zeros(4)}, tmp_path / "x.pt", "zip").read_bytes()
    for offset, value in ((6, 1), (8, 99)):
        forged = bytearray(content)
        for signature, place in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
            begin = -1
            while (begin := forged.find(signature, begin + 1)) >= 0:
                forged[begin + place] = value
        (tmp_path / "forged.pt").write_bytes(forged)
        with pytest.raises(EncoderError, match=r"forged\.pt: cannot be read"):
            read_state_dict(tmp_path / "forged.pt")


def test_modules_that_contain_themselves_or_nothing_are_refused(tmp_path: Path) -> None:
    module = torch.nn.Identity()
    with pytest.raises(EncoderError, match="holds no tensors"):
        read_state_dict(write(module, tmp_path / "empty.pt", "pickle"))
    module._modules["self"] = module
    with pytest.raises(EncoderError, match="contain themselves"):
        read_state_dict(write(module, tmp_path / "endless.pt", "pickle"))
    with pytest.raises(EncoderError, match="holds a PickledArray"):
        read_state_dict(write(np.arange(3), tmp_path / "array.pt", "pickle"))


@pytest.mark.parametrize("file_format", ["zip", "older"])
def test_a_cut_file_is_one_clear_error(file_format: str, network: SmallNetwork, tmp_path: Path) -> None:
    path = write(network.state_dict(), tmp_path / "x.pt", file_format)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EncoderError, match=r"x\.pt: cannot be read"):
        read_state_dict(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="No such file"):
        read_state_dict(tmp_path / "absent.pt")
    (tmp_path / "x.safetensors").write_bytes(b"not tensors")
    with pytest.raises(EncoderError, match="not a safetensors file"):
        read_state_dict(tmp_path / "x.safetensors")
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        archive.writestr("program/data.pkl", b"N.")
        archive.writestr("program/constants.pkl", b"N.")
    with pytest.raises(EncoderError, match="TorchScript"):
        read_state_dict(tmp_path / "program.pt")


def test_conversion_keeps_every_tensor_and_says_where_it_comes_from(network: SmallNetwork, tmp_path: Path) -> None:
    source = write(network, tmp_path / "model_best.pth.tar", "zip")
    summary = convert_checkpoint(source, None)
    assert summary.out == tmp_path / "model_best.safetensors"
    assert_holds(read_state_dict(summary.out), network)
    with safetensors.safe_open(summary.out, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "source": "model_best.pth.tar", "source_sha256": summary.source_sha256}
    table = summary.table()
    assert summary.num_tensors == len(network.state_dict())
    assert table.rows[0] == ("stem.0.weight", "4 x 3 x 3 x 3")
    assert summary.source_sha256 in table.notes[1]


def test_conversion_overwrites_nothing(network: SmallNetwork, tmp_path: Path) -> None:
    source = write(network, tmp_path / "model.pt", "zip")
    out = convert_checkpoint(source, tmp_path / "new" / "small.safetensors").out
    with pytest.raises(EncoderError, match="exists already"):
        convert_checkpoint(source, out)
    with pytest.raises(EncoderError, match=r"must end with \.safetensors"):
        convert_checkpoint(source, tmp_path / "small.bin")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["model.pt", "small.safetensors"]
