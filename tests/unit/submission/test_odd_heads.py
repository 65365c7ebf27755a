"""The jobs API spoken by servers that behave as heads and ways to them do on bad days."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from aiohttp import web

from mer_ray.core.errors import ClusterError
from mer_ray.submission import ray_client, ray_jobs
from mer_ray.submission.ray_jobs import ClusterJobs

# Ray's client says so to aiohttp.
pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")

FIRST, LAST = "step 1 of 1\n", "mer-ray: error: the last line\n"


class OddHead:
    """Answers of its own; the way of a log is silent after its first line, and takes no package."""

    def __init__(self) -> None:
        self.version: object = {"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": ""}
        self.url = ""
        self.num_asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.num_asked += 1
        if request.method == "PUT":
            await asyncio.sleep(60)
        if request.path.endswith("/tail"):
            way = web.WebSocketResponse()
            await way.prepare(request)
            await way.send_str(FIRST)
            await asyncio.sleep(60)
            return way
        if request.path.endswith("/logs"):
            return web.json_response({"logs": FIRST + LAST})
        if request.path.startswith("/api/jobs/"):
            return web.json_response({"type": "SUBMISSION", "submission_id": "demo-1", "status": "FAILED", "entrypoint": "x"})
        if request.path.startswith("/api/packages/"):
            return web.Response(status=404)
        return web.Response(text=json.dumps(self.version), content_type="application/json")


@pytest.fixture
def head() -> Iterator[OddHead]:
    odd, loop, ready = OddHead(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", odd.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        odd.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await ended.wait()
        await runner.cleanup()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield odd
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


def test_the_last_lines_of_a_job_are_shown_where_the_way_of_its_log_fell_silent(head: OddHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_jobs, "QUIET_S", 0.3)
    said: list[str] = []

    details = ClusterJobs(head.url).follow("demo-1", said.append)

    assert details.status == "FAILED" and "".join(said) == FIRST + LAST


def test_a_reader_who_leaves_is_no_fault_of_the_cluster(head: OddHead) -> None:
    def show(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        ClusterJobs(head.url).follow("demo-1", show)


def test_no_variable_stands_for_the_address_that_is_named(head: OddHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    assert ClusterJobs(head.url).logs("demo-1") == FIRST + LAST
    assert head.num_asked > 1


def test_a_package_that_nobody_takes_is_one_line(head: OddHead, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("steps: []\n")
    jobs = ClusterJobs(head.url)
    monkeypatch.setattr(ray_client, "REQUEST_TIMEOUTS_S", (5.0, 0.3))

    with pytest.raises(ClusterError, match=r"no cluster answers there \(.*[Rr]ead timed out"):
        jobs.submit("demo-2", "true", tmp_path, {})


@pytest.mark.parametrize("version", [{}, [], 7])
def test_a_stranger_is_one_line(head: OddHead, version: object) -> None:
    head.version = version

    with pytest.raises(ClusterError, match="no cluster answers there"):
        ClusterJobs(head.url)


@pytest.mark.parametrize(
    ("address", "reason"), [("http://127.0.0.1:1", "Connection refused"), ("http://no-such-host.invalid:8265", "[Nn]ame")]
)
def test_why_nobody_answers_is_said(address: str, reason: str) -> None:
    with pytest.raises(ClusterError, match=rf"no cluster answers there \(.*{reason}"):
        ClusterJobs(address)
