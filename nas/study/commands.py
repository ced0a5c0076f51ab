"""Commands that go on with a run, as they must be typed in the folder where this process runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.plugins import PYTHON, plugin_files
from nas.study.run_folder import RESULTS

if TYPE_CHECKING:
    from nas.study.run import Run

SEEDS = "3"
"""Further seeds of the trainings that are suggested."""


def command_for(run: Run, *words: str, data: bool = False) -> str:
    """Return `nas WORDS` for a command that reads the run, with all else that it needs.

    These are plug-ins, the server of the study and, for `data`, the user's own function that reads the data:
    code and servers that a run folder names are used only where the user names them, too.
    """
    server = run.config.storage
    known = server is None or server == os.environ.get("NAS_STORAGE")
    return ("" if known else f"NAS_STORAGE={shlex.quote(str(server))} ") + nas_command(
        *words, data_of=run if data else None
    )


def reseed_command(run: Run, name: str = "", objectives: Sequence[str] | None = None) -> str:
    """Return the command that trains networks again which may be on the front of these objectives, by default
    those of the search. `name` is how the run is named, by default by its path."""
    chosen, own = tuple(objectives or run.config.objectives), run.config.objectives
    named = chosen != tuple(own) or any(objective.startswith(PYTHON) for objective in own)
    words = ("--objectives", ",".join(chosen)) if named else ()
    return command_for(run, "pareto", name or str(run.folder), *words, "--reseed", SEEDS, data=True)


def resume_command(run: Run) -> str:
    """Return the command that continues the search of a run."""
    parent, options = run.folder.parent, []
    if parent.resolve() != Path(RESULTS).resolve():
        options += ["--results-dir", str(parent)]
    if run.config.storage:
        options += ["--storage", run.config.storage]
    if any(name.startswith(PYTHON) for name in run.config.objectives):
        options += ["--objectives", ",".join(run.config.objectives)]
    return nas_command("search", "--resume", "--name", run.name, *options, data_of=run)


def nas_command(*words: str, data_of: Run | None = None) -> str:
    """Return `nas WORDS` with the plug-ins that are loaded and, where the data of a run come from the user's
    own function, with that."""
    code = ["--data", data_of.config.data] if data_of and data_of.config.data.startswith(PYTHON) else []
    plugins = [word for file in plugin_files() for word in ("--plugin", file)]
    return shlex.join(["nas", *words, *code, *plugins])


def argument(run: Run) -> str:
    """Return what names a run on the command line: its name in the default folder, else its path."""
    return run.name if run.folder.parent == Path(RESULTS) else str(run.folder)
