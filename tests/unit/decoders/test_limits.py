import pytest

from mer_ray.core.config import identity_of, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.decoders.limits import MediaLimits


def test_limits_are_no_part_of_an_identity() -> None:
    assert identity_of(MediaLimits()) == identity_of(MediaLimits(max_duration_s=1, max_frame_pixels=1, max_decoded_mb=1))


def test_defaults_allow_4k_and_refuse_8k() -> None:
    limits = MediaLimits()
    assert 3840 * 2160 <= 4096 * 2304 <= limits.max_frame_pixels < 7680 * 4320
    assert limits.max_duration_s < 10 * 3600


@pytest.mark.parametrize("key", list(MediaLimits.model_fields))
def test_a_limit_is_positive(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"limits: {key}: input should be greater than 0"):
        parse_config(MediaLimits, {key: 0}, "limits")
