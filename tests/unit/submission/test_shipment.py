import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.submission.shipment import MAX_BYTES, pack


def test_the_project_and_the_named_files_are_sent_and_nothing_else(tmp_path):
    for name in ("jobs/a.yaml", ".git/config", "secret.env", "data/clip.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    shipment = pack([tmp_path / "jobs" / "a.yaml"], tmp_path)
    shipment.write(tmp_path / "sent")

    sent = {str(path.relative_to(tmp_path / "sent")) for path in (tmp_path / "sent").rglob("*") if path.is_file()}
    assert {name for name in sent if not name.startswith("mer_ray/")} == {"jobs/a.yaml"}
    assert {"mer_ray/cli.py", "mer_ray/reporting/search.html.jinja", "mer_ray/py.typed"} <= sent
    assert not [name for name in sent if "__pycache__" in name]
    assert shipment.num_bytes == sum(path.stat().st_size for path in (tmp_path / "sent").rglob("*") if path.is_file())


def test_a_file_elsewhere_is_refused(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "job.yaml").write_text("")

    with pytest.raises(ConfigError, match=r"job\.yaml: lies outside .*here, so that it cannot be sent.*run submit from a folder above it"):
        pack([tmp_path / "here" / ".." / "job.yaml"], tmp_path / "here")


def test_too_much_to_send_is_refused_by_its_largest_file(tmp_path):
    large = tmp_path / "large.py"
    with large.open("wb") as file:
        file.truncate(100 * 2**20)

    with pytest.raises(ConfigError, match=rf"to send, {MAX_BYTES / 1e6:.0f} MB are allowed; the largest file is .*large\.py with 105 MB"):
        pack([large], tmp_path)


def test_a_file_in_the_place_of_the_packages_own_is_refused(tmp_path):
    (tmp_path / "mer_ray").mkdir()
    (tmp_path / "mer_ray" / "cli.py").write_text("")

    with pytest.raises(ConfigError, match=r"would lie in the place of the package's own mer_ray/cli\.py"):
        pack([tmp_path / "mer_ray" / "cli.py"], tmp_path)
