import pickle

import pytest

from mer_ray.core import s3
from mer_ray.core.errors import ConfigError
from mer_ray.core.s3 import s3_filesystem, what_happened

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_one_file_system_per_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    first = s3_filesystem()
    assert s3_filesystem() is first
    assert first.retries == s3.MAX_READS
    assert first.dircache.use_listings_cache is False
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert s3_filesystem() is not first


def test_attempts_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    retries = {"mode": s3.RETRY_MODE, "total_max_attempts": s3.MAX_ATTEMPTS}
    assert s3_filesystem().config_kwargs["retries"] == retries
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    assert s3_filesystem().config_kwargs["retries"] == {"mode": "adaptive", "total_max_attempts": 7}
    for wrong in ("0", "many", "-1", ""):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", wrong)
        with pytest.raises(ConfigError, match=f"AWS_MAX_ATTEMPTS='{wrong}'.*write a number from 1 on"):
            s3_filesystem()


def test_credentials_are_in_no_pickle_and_no_message(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    filesystem = s3_filesystem()
    assert SECRET.encode() not in pickle.dumps(filesystem)
    assert SECRET not in repr(filesystem)
    assert what_happened(OSError(f"key {SECRET}\nis wrong")) == "key <AWS_SECRET_ACCESS_KEY> is wrong"
    assert what_happened(TimeoutError()) == "TimeoutError"
    # A dummy is a word like any other.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    assert what_happened(OSError("the latest part")) == "the latest part"
