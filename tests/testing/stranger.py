"""A stranger's run folder: a small one of our own, changed as someone who knows the format would."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from nas.files import _checksum as config_checksum
from nas.study.run_folder import RunFolder
from nas.study.tables import CHECKED, checksum
from testing.paths import FIXTURES

KEPT = FIXTURES / "run"
"""A finished run of eight trials."""


def copied(to: Path) -> RunFolder:
    """A copy of the kept run in a new folder `to`."""
    shutil.copytree(KEPT, to)
    return RunFolder(to)


def config_of(folder: RunFolder) -> dict:
    config = json.loads(folder.config.read_text())
    del config["checksum"]
    return config


def change_config(folder: RunFolder, **changes: object) -> None:
    """Set keys of config.json, with a checksum that fits; None removes a key."""
    config = {key: value for key, value in (config_of(folder) | changes).items() if value is not None}
    folder.config.write_text(json.dumps(config | {"checksum": config_checksum(config)}))


JSON_COLUMNS = ("genotype", "curve", "details")


def change_trial(folder: RunFolder, change, row: int = 1) -> None:
    """Change the columns of a trial in place by `change(columns)`, with a checksum that fits.

    Columns of JSON are given as what they hold. A column that is removed stays as it was.
    """
    query = f"SELECT {', '.join(CHECKED)} FROM trials WHERE trial_id = ?"
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        before = dict(zip(CHECKED, connection.execute(query, (row,)).fetchone(), strict=True))
        columns = {name: json.loads(v) if name in JSON_COLUMNS else v for name, v in before.items()}
        change(columns)
        for name in CHECKED:
            value = columns.get(name, before[name])
            text = name in JSON_COLUMNS or isinstance(value, (list, dict)) or _too_large(value)
            connection.execute(
                f"UPDATE OR IGNORE trials SET {name} = ? WHERE trial_id = ?",
                (json.dumps(value) if text and not isinstance(value, str) else value, row),
            )
        values = connection.execute(query, (row,)).fetchone()  # as the database has made of them
        connection.execute("UPDATE trials SET checksum = ? WHERE trial_id = ?", (checksum(values), row))


def _too_large(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63
