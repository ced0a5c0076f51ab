"""A stranger's run folder: a small one of our own, changed as someone who knows the format would."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from nas.files import _checksum as config_checksum
from nas.study import older_rows
from nas.study.optuna_tables import checksum
from nas.study.run_config import VERSION
from nas.study.run_folder import RunFolder
from testing.paths import FIXTURES

DATA = FIXTURES
OLDER = range(1, VERSION)
"""Layouts of which a run is kept; besides, there is one of the present layout."""


def kept(layout: int = VERSION) -> Path:
    return DATA / f"run-v{layout}"


def copied(to: Path, layout: int = VERSION) -> RunFolder:
    """A copy of a kept run in a new folder `to`."""
    shutil.copytree(kept(layout), to)
    return RunFolder(to)


def config_of(folder: RunFolder) -> dict:
    held = json.loads(folder.config.read_text())
    del held["checksum"]
    return held


def change_config(folder: RunFolder, **changes: object) -> None:
    """Set keys of config.json, with a checksum that fits; None removes a key."""
    config = {key: value for key, value in (config_of(folder) | changes).items() if value is not None}
    folder.config.write_text(json.dumps(config | {"checksum": config_checksum(config)}))


def change_trial(folder: RunFolder, change, row: int = 1) -> None:
    """Change the attributes of a trial in place by `change(attributes)`, with a checksum that fits."""
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        texts = dict(
            connection.execute("SELECT key, value_json FROM trial_user_attributes WHERE trial_id = ?", (row,))
        )
        params = dict(
            connection.execute("SELECT param_name, param_value FROM trial_params WHERE trial_id = ?", (row,))
        )
        if "trial" in texts:
            attributes = json.loads(texts["trial"]) | {"genotype": texts["genotype"]}
            change(attributes)
            genotype = attributes.pop("genotype", None)
            texts["genotype"] = genotype if isinstance(genotype, str) else json.dumps(genotype)
            texts["trial"] = json.dumps(attributes)
            texts["checksum"] = json.dumps(checksum(texts))
        else:
            attributes = {key: json.loads(text) for key, text in texts.items()}
            change(attributes)
            texts = {key: json.dumps(value) for key, value in attributes.items() if key != "checksum"}
            indices = {path: int(value) for path, value in params.items()}
            texts["checksum"] = json.dumps(older_rows.checksum(texts, indices))
        connection.execute("DELETE FROM trial_user_attributes WHERE trial_id = ?", (row,))
        connection.executemany(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
            [(row, key, text) for key, text in texts.items()],
        )
