"""The connections to S3: a server that cannot be reached is waited for, as one that restarts or that a network has lost for a moment."""

import asyncio
import time
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError
from rich.console import Console

# A closed connection is one of the way: of many that wait in the pool, each breaks by itself when a server goes.
AWAY = (ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError)
# Less than makes a lease void: who waits it out still holds what it held.
MAX_OUTAGE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# A single connection that breaks is no news.
SAY_AFTER_S = 3.0


class PatientSession(AIOHTTPSession):  # type: ignore[misc]
    """Sends a request again while the server cannot be reached, for MAX_OUTAGE_S from the first such failure of any request.

    Once that is over requests fail at once, until one gets through.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._away_since_s: float | None = None
        self._has_said = False

    async def send(self, request: Any) -> Any:
        """The answer.

        Raises:
            ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError: the server stays away.

        """
        pause_s, began_s = FIRST_PAUSE_S, None
        while True:
            try:
                answer = await super().send(request)
            except AWAY:
                now_s = time.monotonic()
                self._away_since_s = self._away_since_s or now_s
                began_s = began_s or now_s
                # The request's own time counts as well: others may get through while this one never does.
                if now_s - min(began_s, self._away_since_s) >= MAX_OUTAGE_S:
                    raise
                self._say(request.url, now_s - self._away_since_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                request.reset_stream()
            else:
                self._away_since_s, self._has_said = None, False
                return answer

    def _say(self, url: str, away_s: float) -> None:
        """For people who wait; once per outage."""
        if away_s >= SAY_AFTER_S and not self._has_said:
            self._has_said = True
            server = "/".join(url.split("/")[:3])
            Console(stderr=True).print(f"{server} cannot be reached; trying for {MAX_OUTAGE_S:.0f} s", highlight=False, soft_wrap=True)
