"""A PostgreSQL server of Debian's packages for the tests that need one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "a secret"


def binaries() -> Path:
    """The newest server that is installed; skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1].parent


@contextmanager
def server() -> Iterator[str]:
    """The URL, without the password, of a new server on the loopback device."""
    programs = binaries()
    owner = "postgres" if os.getuid() == 0 else None  # it refuses root
    folder = Path(tempfile.mkdtemp(prefix="nas-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if owner:
            shutil.chown(folder, owner)
            shutil.chown(folder / "password", owner)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(*command: object) -> None:
            words = [programs / str(command[0]), "-D", folder / "data", *command[1:]]
            done = subprocess.run(
                list(map(str, words)), capture_output=True, text=True, cwd=folder, user=owner, group=owner
            )
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "-U", "nas", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        settings = f"-h 127.0.0.1 -p {port} -k {folder} -F"
        run("pg_ctl", "-w", "-l", folder / "log", "-o", settings, "start")
        try:
            yield f"postgresql://nas@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
