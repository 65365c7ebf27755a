"""Ray's client of the jobs API: to the cluster that is named, with an end to every wait, and with the reason where nothing answers."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from ray.job_submission import JobSubmissionClient

# To connect or send a block, and to answer: Ray sets none.
REQUEST_TIMEOUTS_S = (20.0, 60.0)
# Ray lets these stand for the address that it is given.
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class RayClient(JobSubmissionClient):
    """As Ray's own.

    Raises:
        OSError: with the reason, where nothing answers in time.

    """

    def __init__(self, address: str) -> None:
        with _unset(ADDRESS_VARIABLES):
            super().__init__(address)

    @property
    def ray_version(self) -> str | None:
        """The cluster's; `get_version` gives that of the API."""
        return self._server_ray_version

    def _do_request(self, method: str, endpoint: str, *, data: bytes | None = None, **options: Any) -> requests.Response:
        # Bytes are sent at once, with the time limit on all of them; a stream goes in blocks.
        body: Any = None if data is None else io.BytesIO(data)
        try:
            return super()._do_request(method, endpoint, data=body, timeout=REQUEST_TIMEOUTS_S, **options)
        except requests.ConnectionError as error:
            # Ray would put words of its own in the place of the reason.
            raise OSError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return str(error)


@contextmanager
def _unset(names: Sequence[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
