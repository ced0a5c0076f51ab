"""Drivers of searches in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from testing.paths import ROOT


@pytest.fixture
def start_driver():
    """Start Python code, each time in a process group of its own, as a shell does; `options` are of Popen."""
    drivers = []

    def start(code, *arguments, **options):
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True, "cwd": ROOT} | options
        drivers.append(subprocess.Popen(command, **options))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        with driver:
            pass
