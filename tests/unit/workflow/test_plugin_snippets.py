"""The plug-ins that READMEs show keep their contracts as they stand there."""

import re
from pathlib import Path

import pytest

import mer_ray
from mer_ray.workflow.plugin_doctor import BROKEN, examine_plugin

PACKAGE = Path(mer_ray.__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("readme", "class_name", "override"),
    [("models", "SumConfig", "hidden=32"), ("encoders", "BrightnessConfig", "frame_rate_hz=10")],
)
def test_the_plug_in_of_a_readme_keeps_its_contract(tmp_path: Path, readme: str, class_name: str, override: str):
    text = (PACKAGE / readme / "README.md").read_text(encoding="utf-8")
    section = text.partition("Without editing the package")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    file = tmp_path / "plugin.py"
    file.write_text(block[1])
    tables, is_well = examine_plugin(file, [override], class_name)
    assert is_well, [row for table in tables for row in table.rows if row[1] == BROKEN]
    assert f"class: {class_name}" in section
