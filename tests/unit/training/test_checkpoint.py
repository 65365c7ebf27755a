import os

import pytest
import torch

from mer_ray.core.errors import RunError
from mer_ray.training.checkpoint import read_checkpoint, write_checkpoint


def test_tensors_and_plain_values_come_back(tmp_path):
    path = tmp_path / "fold0" / "last.pt"
    write_checkpoint(path, {"model": {"w": torch.arange(3.0)}, "history": [{"fold": None, "loss": 0.5}], "best": None})
    state = read_checkpoint(path)
    assert state["model"]["w"].tolist() == [0, 1, 2] and state["history"] == [{"fold": None, "loss": 0.5}] and state["best"] is None
    assert [entry.name for entry in path.parent.iterdir()] == ["last.pt"]


def test_a_view_is_written_without_the_rest_of_its_storage(tmp_path):
    """Vectorised fits hold slices of tensors of all fits."""
    path, stacked = tmp_path / "last.pt", torch.arange(100_000.0).reshape(100, 1000)
    write_checkpoint(path, {"model": {"w": stacked[7]}, "kept": [[0, {"w": stacked[8]}]]})
    assert path.stat().st_size < 20_000 and torch.equal(read_checkpoint(path)["kept"][0][1]["w"], stacked[8])


def test_an_exception_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"epoch": 1})
    with pytest.raises(Exception, match="pickle"):
        write_checkpoint(path, {"epoch": lambda: 2})
    assert read_checkpoint(path) == {"epoch": 1}


class Payload:
    def __reduce__(self):
        return print, ("this code must not run",)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "code"])
def test_a_damaged_or_foreign_file_is_refused(tmp_path, damage, capsys):
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"w": torch.zeros(1000)})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "code":
        torch.save(Payload(), path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"not a checkpoint")
    with pytest.raises(RunError, match=r"last.pt: not a checkpoint that can be read .* delete it to train this part anew") as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)
    assert "must not run" not in capsys.readouterr().out


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last.pt: not a checkpoint that can be read \(holds list\); delete it"):
        read_checkpoint(tmp_path / "last.pt")


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"epoch": 1})
    (tmp_path / f".last.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"last.pt: cannot be written; free space there .* start the run again"):
        write_checkpoint(path, {"w": torch.zeros(100_000)})
    assert read_checkpoint(path) == {"epoch": 1} and [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]
