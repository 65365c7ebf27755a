"""The one place that opens S3: which faults are tried again, how often and how long, and what all of them are called.

Three layers try again. A server that cannot be reached, or resets connections, is waited for, MAX_OUTAGE_S in all
(`s3_session`). botocore repeats a request that was refused (500, 503 SlowDown) or not answered in time, with a growing, random
pause; s3fs repeats a read whose body broke off, which botocore has handed over by then, and as it wraps both the request and
the reading of its body, a read is asked for MAX_ATTEMPTS * MAX_READS**2 times at most. So the worst case, a server that takes
every request and never answers, ends after seven minutes. What is permanent (no access, no bucket) ends at the first answer.
An upload is repeated whole, and shows only when it is complete.
"""

import os
from functools import lru_cache
from typing import Any

import aiohttp
import botocore.exceptions
import fsspec

from mer_ray.core.errors import ConfigError

# Of one request by botocore, and of one read by s3fs; AWS_MAX_ATTEMPTS and AWS_RETRY_MODE in the environment win.
MAX_ATTEMPTS = 3
MAX_READS = 3
RETRY_MODE = "standard"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
# botocore's own ten would make the store's threads wait for each other.
MAX_CONNECTIONS = 64

# Shorter ones are no credentials of S3 but dummies, and words like "test" occur in messages.
MIN_CREDENTIAL_LENGTH = 12

# What disks, networks and S3 raise: s3fs turns most answers of S3 into OSError and lets the rest through.
STORAGE_FAULTS = (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, aiohttp.ClientError)


def s3_filesystem() -> Any:
    """The s3fs file system of this process, without a cache of listings: other processes add files all the time.

    Place and credentials come from the usual AWS environment only (AWS_ENDPOINT_URL, AWS_PROFILE, ...); a changed
    environment gives another file system. Pickles of it hold no credentials.

    Raises:
        ConfigError: AWS_MAX_ATTEMPTS is no number.

    """
    aws = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    # Connections must not be shared with a forked process.
    return _open(os.getpid(), aws, CONNECT_TIMEOUT_S, READ_TIMEOUT_S, MAX_READS)


def find_filesystem(path: str) -> tuple[Any, str]:
    """The file system of a local path or an `s3://` URL, and the path's name there."""
    if path.startswith("s3://"):
        return s3_filesystem(), path.removeprefix("s3://").rstrip("/")
    return fsspec.filesystem("file"), path


@lru_cache(maxsize=8)
def _open(process: int, aws: tuple[tuple[str, str], ...], connect_timeout_s: float, read_timeout_s: float, max_reads: int) -> Any:
    environment = dict(aws)
    attempts = environment.get("AWS_MAX_ATTEMPTS", str(MAX_ATTEMPTS))
    if not attempts.isdigit() or int(attempts) < 1:
        raise ConfigError(f"AWS_MAX_ATTEMPTS={attempts!r} in the environment: how often a request to S3 is tried; write a number from 1 on")
    # With a client of S3 only: loading it takes a second.
    from mer_ray.core.s3_session import PatientSession

    config: dict[str, Any] = {
        "http_session_cls": PatientSession,
        "connect_timeout": connect_timeout_s,
        "read_timeout": read_timeout_s,
        "max_pool_connections": MAX_CONNECTIONS,
        "retries": {
            "mode": environment.get("AWS_RETRY_MODE", RETRY_MODE),
            "total_max_attempts": int(attempts),
        },
    }
    filesystem = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True, config_kwargs=config)
    filesystem.retries = max_reads
    return filesystem


def what_happened(error: BaseException) -> str:
    """A fault of storage in a few words, never empty and never with credentials in it."""
    text = " ".join(str(error).split()) or type(error).__name__
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        secret = os.environ.get(name, "")
        if len(secret) >= MIN_CREDENTIAL_LENGTH:
            text = text.replace(secret, f"<{name}>")
    return text
