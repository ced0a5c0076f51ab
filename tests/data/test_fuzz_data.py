"""Whatever is in a file of images, the outcome is a data set or an error that names the file, soon.

The corpus in tests/fixtures/data has small files of each format, and files that once ended in a traceback.
Each is tried as it is and damaged. The long form: NAS_FUZZ=2000 python -m pytest tests/data/test_fuzz_data.py
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from testing.paths import FIXTURES

from nas.data import load_data
from nas.errors import NasError

CORPUS = {kind: sorted((FIXTURES / "data" / kind).iterdir()) for kind in ("npz", "images", "parquet")}
FILES = [file for files in CORPUS.values() for file in files]
SECONDS = 2.0
"""Of work, not of waiting for a busy machine."""
MEGABYTES = 1200
"""An image may have 89 million pixels of four bytes, and is copied when it is converted."""
fuzz = settings(
    max_examples=int(os.environ.get("NAS_FUZZ", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@st.composite
def damaged(draw, kind):
    """A file of the corpus that was cut, or of which bytes were changed, doubled, lost or set to extremes."""
    file = draw(st.sampled_from(CORPUS[kind]))
    raw = bytearray(file.read_bytes())
    for _ in range(draw(st.sampled_from([1, 1, 2, 8]))):
        at, size = draw(st.integers(0, len(raw))), draw(st.sampled_from([1, 1, 2, 4, 40]))
        match draw(st.integers(0, 5)):
            case 0:
                raw[at:] = b""
            case 1:
                raw[at : at + size] = b""
            case 2:
                raw[at:at] = raw[at : at + size]
            case 3:
                raw[at : at + size] = draw(st.sampled_from([b"\xff", b"\0", b"\x7f"])) * size
            case _:
                raw[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    return file.name, bytes(raw)


def outcome(folder: Path, kind: str, name: str, raw: bytes) -> str:
    """Load data with this file among them; return "" or the error. It must name the file, and come soon."""
    file = folder / "a" / name if kind == "images" else folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    if kind == "images":
        for place in [f"{label}/{i}.png" for label in "ab" for i in range(3)]:
            (folder / place).parent.mkdir(exist_ok=True)
            shutil.copy(FIXTURES / "data" / "images" / "plain.png", folder / place)
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        load_data(str(folder if kind == "images" else file))
        error = ""
    except NasError as caught:
        error = str(caught)
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES << 10
    assert not error or name in error, error
    assert len(error) < 20_000
    file.unlink()
    return error


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_corpus(tmp_path, file):
    """Files named plain, palette and so on are whole; the others are damaged in the way of their names."""
    whole = file.stem in ("plain", "palette", "compressed", "packed")
    assert bool(outcome(tmp_path, file.parent.name, file.name, file.read_bytes())) is not whole


@given(case=damaged("npz"))
@fuzz
def test_any_npz(tmp_path_factory, case):
    outcome(tmp_path_factory.mktemp("npz"), "npz", *case)


@given(case=damaged("images"))
@fuzz
def test_any_image(tmp_path_factory, case):
    outcome(tmp_path_factory.mktemp("images"), "images", *case)


@given(case=damaged("parquet"))
@fuzz
def test_any_parquet(tmp_path_factory, case):
    outcome(tmp_path_factory.mktemp("parquet"), "parquet", *case)
