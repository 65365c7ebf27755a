"""A real PostgreSQL server on loopback, on a free port, in a folder of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "for tests only"


def find_postgres() -> Path | None:
    """The folder of the server's programs, None where it is not installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").is_file() and (place / "postgres").is_file()), None)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The URL of a database, without its password, while the server runs; it does not run as root."""
    programs = find_postgres()
    assert programs is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demote = _other_user(folder)
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    data = folder / "data"
    if demote:
        shutil.chown(password_file, "postgres")
    make = ["initdb", "-D", str(data), "-U", "searcher", "--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
    subprocess.run([str(programs / make[0]), *make[1:]], check=True, capture_output=True, **demote)
    options = ["-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    server = subprocess.Popen([str(programs / "postgres"), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **demote)
    try:
        _wait(port, server)
        yield f"postgresql://searcher@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _other_user(folder: Path) -> dict:
    """The server refuses to run as root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    # pytest's folders are its owner's alone.
    for place in (folder, *folder.parents):
        if place == Path(tempfile.gettempdir()) or place.stat().st_uid != os.getuid() or place == place.parent:
            break
        place.chmod(0o755)
    shutil.chown(folder, "postgres")
    return {"user": user.pw_uid, "group": user.pw_gid}


def _wait(port: int, server: subprocess.Popen) -> None:
    for _ in range(300):
        assert server.poll() is None, "the PostgreSQL server ended"
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the PostgreSQL server does not answer")
