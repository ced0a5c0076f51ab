"""Commands that go on with a run, as they must be typed in the folder where this process runs."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from nas.plugins import PYTHON, plugin_files
from nas.study.run_folder import RESULTS

if TYPE_CHECKING:
    from nas.study.run import Run


def command_for(run: Run, *words: str, data: bool = False) -> str:
    """Return `nas WORDS` for a command that reads the run, with all else that it needs.

    These are plug-ins, the server of the study and, for `data`, the user's own function that reads the data:
    code and servers that a run folder names are used only where the user names them, too.
    """
    server = run.config.storage
    known = server is None or server == os.environ.get("NAS_STORAGE")
    return ("" if known else f"NAS_STORAGE={shlex.quote(str(server))} ") + _command(run, *words, data=data)


def resume_command(run: Run) -> str:
    """Return the command that continues the search of a run."""
    parent, options = run.folder.parent, []
    if parent.resolve() != Path(RESULTS).resolve():
        options += ["--results-dir", str(parent)]
    if run.config.storage:
        options += ["--storage", run.config.storage]
    if any(name.startswith(PYTHON) for name in run.config.objectives):
        options += ["--objectives", ",".join(run.config.objectives)]
    return _command(run, "search", "--resume", "--name", run.name, *options, data=True)


def _command(run: Run, *words: str, data: bool) -> str:
    code = ["--data", run.config.data] if data and run.config.data.startswith(PYTHON) else []
    plugins = [word for file in plugin_files() for word in ("--plugin", file)]
    return shlex.join(["nas", *words, *code, *plugins])
