import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of its own for each test, beside what it reads."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path_factory.mktemp("cache")))
