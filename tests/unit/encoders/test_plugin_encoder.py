from pathlib import Path

import pytest
from speech_models import save_small_speech

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import plugins_allowed
from mer_ray.encoders import PluginEncoderConfig, encoder_identity, encoder_key
from mer_ray.encoders.hubert import HubertEncoderConfig

QUIET = """
from typing import Literal

from mer_ray.encoders.spectral import SpectralConfig


class QuietConfig(SpectralConfig):
    name: str = "quiet"
    dtype: Literal["float16", "float32"] = "float32"
"""
TUNED = """
from mer_ray.encoders.hubert import HubertEncoderConfig


class TunedConfig(HubertEncoderConfig):
    name: str = "tuned"
"""


def load(folder: Path, text: str, class_name: str, **fields: object) -> PluginEncoderConfig:
    (folder / "plugin.py").write_text(text)
    with plugins_allowed():
        return parse_config(PluginEncoderConfig, {"file": str(folder / "plugin.py"), "class": class_name, **fields}, "test")


def test_defaults_of_the_class_hold_until_they_are_set_beside_the_file(tmp_path: Path):
    config = load(tmp_path, QUIET, "QuietConfig")
    assert (config.dtype, config.stored_name, config.config) == ("float32", "quiet", {"name": "quiet"})
    chosen = load(tmp_path, QUIET, "QuietConfig", dtype="float16", sequences=["mfcc"], rate_hz=10)
    assert chosen.build("cpu").rate_hz == 10 and chosen.dtype == "float16"
    assert chosen.loaded_encoder.sequences == ("mfcc",)
    assert encoder_key(config).startswith("quiet@") and encoder_key(config) != encoder_key(chosen)


def test_weights_of_the_class_are_part_of_the_identity_and_their_folder_is_not(tmp_path: Path):
    weights = [str(save_small_speech(tmp_path / name, "hubert", seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, moved, other = (load(tmp_path, TUNED, "TunedConfig", config={"weights": folder}) for folder in weights)
    assert encoder_identity(first) == encoder_identity(moved) != encoder_identity(other)
    assert first.weights_digest() == HubertEncoderConfig(weights=weights[0]).weights_digest()
    assert first.num_weight_bytes() > 0 and first.layers() == HubertEncoderConfig(weights=weights[0]).layers()


def test_what_the_class_refuses_beside_the_file_is_named_there(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^test: dtype: 'float64' is not allowed"):
        load(tmp_path, QUIET, "QuietConfig", dtype="float64")
    with pytest.raises(ConfigError, match=r"encoder quiet: sequences: no layer 'x'"):
        load(tmp_path, QUIET, "QuietConfig", sequences=["x"]).check()
    with pytest.raises(ConfigError, match=r"config\.name: 'a b' cannot name a folder of the store"):
        load(tmp_path, QUIET, "QuietConfig", config={"name": "a b"})
