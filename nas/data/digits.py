"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nas.data.arrays import make_part
from nas.data.dataset import Split
from nas.data.source import Form, Options, Source
from nas.errors import NotFoundError


def open_digits(_: str, options: Options) -> Source:
    """Open 1,797 handwritten digits of 8x8 pixels with 16 grey levels (UCI, Alpaydin and Kaynak)."""
    return Source("digits", _load)


def _load() -> Split:
    rows = np.loadtxt(_installed("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return make_part(images, rows[:, -1].astype(np.int64), None, "digits")


def _installed(package: str) -> Path:
    """Find the folder of a package without importing it: only a file of scikit-learn is needed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotFoundError(f"{package} is not installed", where="digits", hint="pip install scikit-learn")
    return Path(spec.origin).parent


FORMS = (Form("digits", open_digits, "1,797 handwritten digits of 8x8 pixels; no download"),)
