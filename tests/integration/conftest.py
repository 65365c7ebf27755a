"""Fixtures of the integration tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import running_chromium
from faulty_s3 import FaultyS3

from mer_ray.core import s3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder start servers, processes or whole runs: none belongs to the unit run."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def faulty_proxy(s3_endpoint: str) -> Iterator[FaultyS3]:
    """One proxy for the session: clients, slow to make, are kept for as long as their environment stays the same."""
    proxy = FaultyS3(s3_endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture
def faulty_s3(faulty_proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> FaultyS3:
    """A proxy before the S3 server, with an empty bucket behind it; the environment points every client at the proxy."""
    for name, value in {
        "AWS_ENDPOINT_URL": faulty_proxy.url,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "3",
    }.items():
        monkeypatch.setenv(name, value)
    # A request that hangs must not hang the tests.
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 0.35)
    bucket = f"bucket-{abs(hash(request.node.nodeid)):x}"
    faulty_proxy.begin(bucket)
    s3.s3_filesystem().mkdir(bucket)
    faulty_proxy.begin(bucket)
    return faulty_proxy


@pytest.fixture
def devtools(tmp_path: Path) -> Iterator[str]:
    """The websocket address of a page of a browser that ends with the test."""
    with running_chromium(tmp_path) as address:
        yield address
