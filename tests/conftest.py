"""One thread per process, as tests run side by side and figures repeat only so; files of slow tests first."""

import os

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
SLOW_DRAWS = hypothesis.HealthCheck.too_slow  # as slow as the machine is busy
hypothesis.settings.register_profile("busy machine", deadline=None, suppress_health_check=[SLOW_DRAWS])
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(autouse=True)
def no_plugins_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are printed name the plug-ins of the process, which runs many tests."""
    from nas import plugins

    monkeypatch.setattr(plugins, "_files", plugins.plugin_files())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files of slow tests first, so that `make test-all` ends with quick ones, on every core at once."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
