"""A process that has imported everything and forks one driver of an extraction per request; the drivers are what tests kill.

Reads lines of JSON: {"start": config, "address", "log", "runtime_env"} answers the driver's pid; {"poll": pid} answers null
while it runs, else its return code.
"""

import gc
import json
import os
import sys
import threading
import time
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import ray

import mer_ray.extraction.ray_pipeline
from mer_ray.core.config import parse_config
from mer_ray.core.errors import MerRayError
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract

# Imported here so that no driver has to.
assert mer_ray.extraction.ray_pipeline


def drive(request: dict[str, Any]) -> int:
    """One extraction: 0 done, 1 an error of ours."""
    os.environ["RAY_ADDRESS"] = request["address"]
    if request["runtime_env"]:
        ray.init(address=request["address"], runtime_env=request["runtime_env"], log_to_driver=False)
    try:
        extract(parse_config(ExtractConfig, request["start"], "chaos"))
    except MerRayError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if request["trace_memory"]:
            trace_memory(request["trace_memory"])
        code = drive(request)
    except BaseException:  # noqa: BLE001 - nothing may unwind into the zygote's loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
    return 0


def trace_memory(folder: str) -> None:
    """Whenever a file `ask-<name>` appears, write the bytes that Python holds to `<name>`."""

    def answer() -> None:
        while True:
            for question in Path(folder).glob("ask-*"):
                gc.collect()
                name = question.name.removeprefix("ask-")
                Path(folder, f".{name}").write_text(str(tracemalloc.get_traced_memory()[0]))
                os.replace(Path(folder, f".{name}"), Path(folder, name))
                question.unlink()
            time.sleep(0.02)

    tracemalloc.start()
    threading.Thread(target=answer, daemon=True).start()


def poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(start(asked) if "start" in asked else poll(asked["poll"])) + "\n")
        sys.stdout.flush()
