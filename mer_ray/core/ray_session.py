"""One way into Ray: the cluster that RAY_ADDRESS names, or a local one that ends with the block."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError, RaySystemError
from rich.console import Console

from mer_ray.core.cluster_address import ADDRESS_VARIABLE
from mer_ray.core.errors import ClusterError

KNOCK_TIMEOUT_S = 10.0
EVENTS_VARIABLE = "RAY_SCHEDULER_EVENTS"


@contextmanager
def ray_session() -> Iterator[None]:
    """Connect for the block; a session that the caller opened before is used and left open.

    Raises:
        ClusterError: the cluster that RAY_ADDRESS names does not answer, or refuses the token.

    """
    if ray.is_initialized():
        yield
        return
    connect()
    with _ended_by_sigterm():
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let the signal that ends jobs on clusters unwind the program, as Ctrl-C does: Ray's own handler would abort it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        # None: a handler that Python did not set, which cannot be put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def connect() -> None:
    """Start a local Ray, or connect to the one that RAY_ADDRESS names.

    Raises:
        ClusterError: as `ray_session`.

    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if EVENTS_VARIABLE not in os.environ:
        # Messages on nodes that come and go are printed again by each node that comes. Ray has read the variable when it was imported.
        ray_constants.AUTOSCALER_EVENTS = 0
    # Ray's core prints notes on its own workings as errors; real ones reach us as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = os.environ.get(ADDRESS_VARIABLE)
    Console(stderr=True).print(f"connecting to Ray at {address}" if address else "starting a local Ray", highlight=False)
    if not address:
        with _chatter_held_back():
            # Errors of workers reach the driver as exceptions; their logs stay in Ray's session folder.
            # Without the address it would join a Ray that others run here.
            ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        return
    _knock(address)
    try:
        with _chatter_held_back():
            ray.init(address=address, logging_level=logging.ERROR)
    except AuthenticationError as error:
        raise ClusterError(
            f"{address}: the Ray cluster refuses this token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's"
        ) from error
    except (ConnectionError, TimeoutError, RaySystemError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"{address}: cannot join a Ray cluster there ({_first_line(error)}). Allowed: a head of Ray {ray.__version__} that "
            f"takes our token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's, or mend {ADDRESS_VARIABLE}"
        ) from error


@contextmanager
def _chatter_held_back() -> Iterator[None]:
    """Keep what Ray's core prints while it starts from the terminal; it is shown where the start fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(terminal, 2)
            chatter.seek(0)
            os.write(2, chatter.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _knock(address: str) -> None:
    """Fail in seconds where nothing listens: Ray itself tries for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"{address}: nothing answers there ({_first_line(error)}); "
            f"start the cluster, mend {ADDRESS_VARIABLE}, or unset it for a local run"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
