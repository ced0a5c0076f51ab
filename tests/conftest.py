"""One thread a process: tests run side by side, and figures repeat only with one thread."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_plugins_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are printed name the plug-ins of the process, which runs many tests."""
    from nas import plugins

    monkeypatch.setattr(plugins, "_files", plugins.plugin_files())
