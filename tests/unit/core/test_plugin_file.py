import inspect
import pickle
import traceback
from pathlib import Path

import pytest

from mer_ray.core.config import Config
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.plugin_file import PluginFile, foreign_code, read_plugin
from mer_ray.models import FusionModelConfig

SMALL = "from mer_ray.core.config import Config\n\nclass Small(Config):\n    size: int = {size}\n"


def write(folder: Path, text: str, name: str = "plugin.py") -> PluginFile:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return read_plugin(folder / name)


def test_two_files_of_one_name_never_mix(tmp_path: Path):
    first, second = (write(tmp_path / str(size), SMALL.format(size=size)) for size in (3, 4))
    classes = [file.find_class("Small", Config) for file in (first, second)]
    assert [found().size for found in classes] == [3, 4]
    assert first.copied_name != second.copied_name and first.copied_name.endswith("-plugin.py")


def test_the_same_text_runs_once_wherever_it_lies(tmp_path: Path):
    first, second = (write(tmp_path / folder, SMALL.format(size=5)) for folder in ("here", "there"))
    assert first.find_class("Small", Config) is second.find_class("Small", Config)


def test_the_code_runs_and_is_shown_where_no_file_lies(tmp_path: Path):
    text = "from mer_ray.core.config import Config\n\nclass Broken(Config):\n    def fail(self):\n        return 1 / 0  # here\n"
    file = pickle.loads(pickle.dumps(write(tmp_path, text)))
    file.path.unlink()
    found = file.find_class("Broken", Config)
    assert inspect.getsource(found).startswith("class Broken(Config):")
    try:
        found().fail()
    except ZeroDivisionError:
        assert "return 1 / 0  # here" in traceback.format_exc()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n    pass\n", r"plugin\.py:1: not valid Python: invalid syntax"),
        ("x = 1\ny = x / 0\n", r"plugin\.py:2: its code raised ZeroDivisionError: division by zero"),
        ("import no_such_module_of_ours\n", r"plugin\.py:1: its code raised ModuleNotFoundError: No module named 'no_such_module_of_ours'"),
        ("import sys\n\nsys.exit(3)\n", r"plugin\.py:3: its code raised SystemExit: 3"),
        ("import math\n\n\ndef deep():\n    return math.sqrt(-1)\n\n\ndeep()\n", r"plugin\.py:5: its code raised ValueError: "),
    ],
)
def test_code_that_fails_is_one_line_with_its_place(tmp_path: Path, text: str, message: str):
    file = write(tmp_path, text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"{message}.*$") as caught:
            file.module()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MyModle", r"plugin\.py: defines no public class 'MyModle'; did you mean 'MyModel'\? Allowed: MyModel"),
        ("Other", r"plugin\.py:13: class Other is no mer_ray\.models\.FusionModelConfig\. Allowed: MyModel"),
        ("Half", r"plugin\.py:10: class Half lacks build"),
        ("_Hidden", "no public class '_Hidden'"),
        ("Config", "no public class 'Config'"),
        ("NUMBER", "no public class 'NUMBER'"),
    ],
)
def test_a_wrong_class_is_told_with_the_right_ones(tmp_path: Path, name: str, message: str):
    text = (
        "from mer_ray.core.config import Config\nfrom mer_ray.models import FusionModelConfig\n\n\n"
        "class MyModel(FusionModelConfig):\n    def build(self, streams, task):\n        raise NotImplementedError\n\n\n"
        "class Half(FusionModelConfig):\n    pass\n\nclass Other(Config):\n    pass\n\nclass _Hidden(MyModel):\n    pass\n\nNUMBER = 3\n"
    )
    with pytest.raises(ConfigError, match=message):
        write(tmp_path, text).find_class(name, FusionModelConfig)


def test_a_file_without_classes_of_the_family_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="no public class 'Net'; the file defines no FusionModelConfig"):
        write(tmp_path, "x = 1\n").find_class("Net", FusionModelConfig)


def test_what_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gone\.py: no such file; a plug-in is one Python file"):
        read_plugin(tmp_path / "gone.py")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin\.py: not a Python file: its byte 5 is no UTF-8"):
        read_plugin(tmp_path / "latin.py")


def test_copies_hold_the_bytes_of_the_file(tmp_path: Path):
    (tmp_path / "windows.py").write_bytes(b"x = 1\r\ny = 'gr\xc3\xbc\xc3\x9fe'\r\n")
    copy = read_plugin(tmp_path / "windows.py").write_to(tmp_path / "copies")
    assert copy.read_bytes() == (tmp_path / "windows.py").read_bytes()


def test_errors_of_ours_stay_what_they_are(tmp_path: Path):
    file = write(tmp_path, "x = 1\n")
    with pytest.raises(EncoderError, match=r"^too short$"), foreign_code(file, "it"):
        raise EncoderError("too short")
    with pytest.raises(KeyboardInterrupt), foreign_code(file, "it"):
        raise KeyboardInterrupt
