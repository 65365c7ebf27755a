"""A cluster's jobs: submit, follow, list, stop; every fault of the way there is one clear line."""

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus

from mer_ray.core.errors import ClusterError
from mer_ray.submission.ray_client import REQUEST_TIMEOUTS_S, RayClient

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
POLL_INTERVAL_S = 0.5
HOW_TO_ENTER = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the cluster's token"
# After this the head counts as gone.
LOST_AFTER_S = 60.0
# The connection of a log that says nothing for so long may be dead, and is made anew: Ray answers no heartbeat on it. Twice as long each
# time, because Ray serves a connection that nobody reads until the next line comes.
QUIET_S = 60.0
LONGEST_QUIET_S = 600.0
# What the metadata of an inspection have.
INSPECTION = "inspection"


class ClusterJobs:
    """The jobs API of one cluster."""

    def __init__(self, address: str | None) -> None:
        """Connect.

        Raises:
            ClusterError: no address, no such token file, nothing answers, the token is refused, or Ray's version differs.

        """
        _check_token_file()
        self.address = _check_address(address)
        # They tell of every package that is sent, and of every end of a log.
        for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging"):
            logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
        with _clear_errors(self.address):
            self._client = RayClient(self.address)
        version = self._client.ray_version
        if version != ray.__version__:
            raise ClusterError(f"{self.address}: runs Ray {version}, here is {ray.__version__}; install the same on both")

    @property
    def is_open(self) -> bool:
        """Whether the API answers without a token."""
        with _clear_errors(self.address):
            return requests.get(f"{self.address}/api/version", timeout=REQUEST_TIMEOUTS_S).ok

    def submit(self, job_id: str, entrypoint: str, folder: Path | None, metadata: dict[str, str]) -> None:
        """Send a command and the working folder that it runs in; `metadata` names the job's file, or says that it is an inspection."""
        with _clear_errors(self.address):
            runtime_env = {} if folder is None else {"working_dir": str(folder)}
            self._client.submit_job(entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env, metadata=metadata)

    def list(self) -> list[JobDetails]:
        """Jobs that were submitted, newest first, without the inspections that come before each."""
        with _clear_errors(self.address):
            found = [job for job in self._client.list_jobs() if job.submission_id and INSPECTION not in (job.metadata or {})]
        return sorted(found, key=lambda job: -(job.start_time or 0))

    def status(self, job_id: str) -> JobDetails:
        """One job.

        Raises:
            ClusterError: no such job, or the cluster does not answer.

        """
        with _clear_errors(self.address, job_id):
            return self._client.get_job_info(job_id)

    def logs(self, job_id: str) -> str:
        """What a job has printed so far."""
        with _clear_errors(self.address, job_id):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to end; whether it was running."""
        with _clear_errors(self.address, job_id):
            return bool(self._client.stop_job(job_id))

    def follow(self, job_id: str, show: Callable[[str], None]) -> JobDetails:
        """Show what a job prints until it ends; gives its end. A head that is away for less than a minute is waited for."""
        shown, lost_at, quiet_s = _Shown(show), None, QUIET_S
        while True:
            num_before = shown.num_shown
            try:
                is_whole = asyncio.run(self._tail(job_id, shown, quiet_s))
                details = self.status(job_id)
                if details.status.is_terminal() and not is_whole:
                    shown.begin()
                    shown.add(self.logs(job_id))
                lost_at = None
            except NotShownError as failed:
                raise failed.reason from None
            except (ClusterError, OSError, RuntimeError, aiohttp.ClientError) as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > LOST_AFTER_S:
                    raise ClusterError(f"{self.address}: the cluster is gone while job {job_id} ran ({_first_line(error)})") from error
                time.sleep(POLL_INTERVAL_S)
                continue
            if details.status.is_terminal():
                return details
            quiet_s = QUIET_S if shown.num_shown > num_before else min(2 * quiet_s, LONGEST_QUIET_S)
            time.sleep(POLL_INTERVAL_S)

    async def _tail(self, job_id: str, shown: "_Shown", quiet_s: float) -> bool:
        """Show the log to its end, or until it says nothing for so long; whether that was its end."""
        shown.begin()
        texts = self._client.tail_job_logs(job_id)
        try:
            while True:
                shown.add(await asyncio.wait_for(anext(texts), quiet_s))
        except StopAsyncIteration:
            return True
        except TimeoutError:
            return False


@dataclass(frozen=True)
class SentJob:
    """A job that is, or may be, on the cluster."""

    jobs: ClusterJobs
    job_id: str

    def how_to_come_back(self) -> str:
        """The commands to look at it again, and to end it."""
        where = f"{self.job_id} --address {self.jobs.address}"
        return f"Look again: mer-ray jobs logs -f {where}; end it: mer-ray jobs stop {where}"


def new_job_id(name: str) -> str:
    """An id that begins with a name, made before the job is sent, so that one who is cut off knows it."""
    # It becomes a word of commands and part of a file's name.
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    return f"{plain or 'job'}-{secrets.token_hex(4)}"


def _check_token_file() -> None:
    """Ray takes a file that is not there for no token, which the cluster then refuses."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).is_file():
        raise ClusterError(f"RAY_AUTH_TOKEN_PATH: {path}: no such file; name the file that holds the cluster's token")


class NotShownError(Exception):
    """What was read cannot be shown; no fault of the cluster."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Shown:
    """Shows a log once, though it is read anew from its beginning after a break."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self.num_shown, self._num_read = show, 0, 0

    def begin(self) -> None:
        """The log comes from its beginning."""
        self._num_read = 0

    def add(self, text: str) -> None:
        """Show what was not shown before."""
        self._num_read += len(text)
        if self._num_read > self.num_shown:
            try:
                self._show(text[max(0, len(text) - (self._num_read - self.num_shown)) :])
            except OSError as error:
                raise NotShownError(error) from error
            self.num_shown = self._num_read


def exit_code(details: JobDetails) -> int:
    """That of the job's command: 0 for one that ended well."""
    return 0 if details.status == JobStatus.SUCCEEDED else details.driver_exit_code or 1


def _check_address(address: str | None) -> str:
    found = address or os.environ.get(ADDRESS_VARIABLE)
    if not found:
        raise ClusterError(f"no cluster is named; give --address http://127.0.0.1:8265, or set {ADDRESS_VARIABLE}")
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"--address {found}: allowed: http://HOST:PORT of the cluster's dashboard, often http://127.0.0.1:8265")
    return found.rstrip("/")


@contextmanager
def _clear_errors(address: str, job_id: str | None = None) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        has_token = os.environ.get("RAY_AUTH_MODE") == "token"
        what = "refuses this token" if has_token else "wants a token"
        raise ClusterError(f"{address}: the cluster {what}; {HOW_TO_ENTER}") from error
    # Whoever else listens there may answer anything.
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{address}: no cluster answers there ({_first_line(error)}); start it, open the tunnel to its dashboard, or mend --address"
        ) from error
    except RuntimeError as error:
        if job_id is not None and "status code 404" in str(error):
            raise ClusterError(f"{address}: no job {job_id}; `mer-ray jobs ls` lists them") from error
        raise ClusterError(f"{address}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def describe(details: JobDetails) -> dict[str, Any]:
    """What people want to know of a job."""
    return {
        "job": details.submission_id,
        "status": str(details.status.value).lower(),
        "file": (details.metadata or {}).get("job", ""),
        "began": "" if not details.start_time else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(details.start_time / 1000)),
        "seconds": _seconds(details),
        "message": _short(details.message or ""),
    }


def _short(message: str) -> str:
    """Without the log that Ray appends, but for its last line."""
    said, _, log = message.partition(", last available logs")
    last = log.strip().split("\n")[1:][-1:]
    return ": ".join([said.strip().split("\n")[0], *last])


def _seconds(details: JobDetails) -> float | None:
    if not details.start_time:
        return None
    return round(((details.end_time or time.time() * 1000) - details.start_time) / 1000, 1)
