"""NVIDIA's multi-process service: processes that share a GPU use it at once instead of in turns."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PIPES = "CUDA_MPS_PIPE_DIRECTORY"
DEFAULT = Path("/tmp/nvidia-mps")
"""Folder of a daemon, unless the variable PIPES names another."""
LIMIT = 30.0
"""Seconds that the daemon may take to start or to end."""

log = logging.getLogger(__name__)


def start_mps() -> dict[str, str]:
    """Start the daemon, and return the environment variables for the processes that use it.

    Return {} if a daemon runs already, none is installed, or it does not start, which is logged.
    """
    running = PIPES in os.environ or DEFAULT.exists()
    if running or shutil.which(CONTROL) is None:
        return {}
    place = tempfile.mkdtemp(prefix="nas-mps-")
    environment = {PIPES: place, "CUDA_MPS_LOG_DIRECTORY": place}
    try:
        _control(["-d"], environment)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("workers take turns on their GPU, as MPS does not start: %s", error)
        shutil.rmtree(place, ignore_errors=True)
        return {}
    return environment


def stop_mps(environment: dict[str, str]) -> None:
    """End the daemon whose environment `start_mps` returned."""
    if not environment:
        return
    try:
        _control([], environment, "quit\n")
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("MPS does not end: %s", error)
    shutil.rmtree(environment[PIPES], ignore_errors=True)


def _control(arguments: list[str], environment: dict[str, str], text: str = "") -> None:
    """Call the program. Its output is not read, because the daemon keeps it open as long as it runs."""
    subprocess.run(
        [CONTROL, *arguments],
        input=text,
        text=True,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=LIMIT,
        check=True,
    )
