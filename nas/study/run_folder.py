"""The folder of a run: its name, its files, and the lock of the process that writes it.

results/<space>-<yyyymmdd-hhmmss>-<4 hex>/
    study.db      the trials (SQLite, docs/reference/run_folder.md)
    space.yaml    the search space
    config.json   everything else that defines the run, with a checksum
    search.yaml   the same and the space, for `nas search --config`, which repeats the search
    weights/      safetensors, by trial
    rungs/        trials paused at a rung (`nas.schedulers`); empty when the search has ended
    reseeded.db   trainings of chosen trials again with further seeds (`nas pareto --reseed`): a study of its
                  own, so the search's history, trial count, resume and replay do not see it
    profile.jsonl what each process did and when, if it was asked for (`nas.training.profile`)
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nas.errors import LockedError, NasError, NotFoundError, StorageError, did_you_mean
from nas.files import DRAFT, read_checked, read_text, sync_folder, write_atomic, write_checked, write_errors
from nas.study.run_config import RunConfig, check_version
from nas.study.search_file import search_yaml

RESULTS = Path("results")
"""Folder of the runs, by default."""
LATEST = "latest"
"""Name that stands for the run that was started last."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
OWN_FOLDERS = ("weights", "rungs", "export", "train", "tensorboard")
"""Folders whose files nas reads or writes; other folders belong to trackers and people."""
FIRST = "nas search starts the first one"
SPACE_PART = 64 - len("-yyyymmdd-hhmmss-0000")


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def database(self) -> Path:
        return self.path / "study.db"

    @property
    def space(self) -> Path:
        return self.path / "space.yaml"

    @property
    def search(self) -> Path:
        return self.path / "search.yaml"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def reseeded(self) -> Path:
        return self.path / "reseeded.db"

    @property
    def profile(self) -> Path:
        return self.path / "profile.jsonl"

    @property
    def weights(self) -> Path:
        return self.path / "weights"

    @property
    def rungs(self) -> Path:
        return self.path / "rungs"


def create_run(results_dir: str | Path, space_name: str, name: str | None = None) -> RunFolder:
    """Make the folder of a new run, by default named after the space and the time.

    NasError if it exists, StorageError if it cannot be made.
    """
    root = Path(results_dir)
    folder = _inside(root, name or _new_name(space_name))
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if (folder / "config.json").exists():
            hint = "--resume continues it, another --name starts a new run"
            raise NasError("the run exists already", where=str(folder), hint=hint) from None
        if root.is_dir():
            message = "exists already, and is no run"
            raise NasError(message, where=str(folder), hint="choose another --name") from None
        raise StorageError("is not a folder", where=str(root), hint="choose another --results-dir") from None
    except OSError as error:
        hint = "choose another --results-dir"
        raise StorageError(error.strerror or str(error), where=str(folder), hint=hint) from error
    files = RunFolder(folder)
    with removed_on_failure(files), write_errors(files.weights):
        sync_folder(root)
        files.weights.mkdir()
    return files


def find_run(run: str | Path, results_dir: str | Path = RESULTS) -> RunFolder:
    """Return the folder of a run, given by its name in `results_dir`, by its path, or as `latest`.

    NotFoundError, with the closest name, if there is none.
    """
    text, root = str(run), Path(results_dir)
    if text == LATEST:
        return _latest(root)
    by_path = os.sep in text or text in (".", "..")
    folder = Path(text) if by_path and "\0" not in text else _inside(root, text)
    if _is_run(folder):
        _refuse_links(folder)
        return RunFolder(folder.resolve() if by_path else folder)
    if by_path:
        hint = "the folder of a run holds study.db and config.json"
        raise NotFoundError("is not the folder of a run", where=text, hint=hint)
    names = [files.name for files in list_runs(root)]
    hint = did_you_mean(text, [*names, LATEST]) if names else FIRST
    raise NotFoundError(f"no run {text!r}", where=str(root), hint=hint)


def list_runs(results_dir: str | Path) -> list[RunFolder]:
    """Return the runs of a folder, the oldest first; [] if it does not exist."""
    root = Path(results_dir)
    try:  # methods of Path say of any error that there is nothing, since Python 3.13
        with os.scandir(root) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        paths = [folder / "config.json" for folder in folders if (folder / "config.json").is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotFoundError(f"cannot be read: {error.strerror}", where=str(root)) from error
    return sorted((RunFolder(path.parent) for path in paths), key=_start)


def _start(files: RunFolder) -> tuple[int, Path]:
    """Return when a run was started, for sorting: its space is written then, and its settings again later."""
    file = files.space if files.space.is_file() else files.config
    return file.stat().st_mtime_ns, files.path


@contextmanager
def removed_on_failure(folder: RunFolder) -> Iterator[Callable[[], None]]:
    """Remove a new folder if the search fails before it calls the function that this yields: half a run could
    neither be resumed nor started again under its name."""
    begun = False

    def keep() -> None:
        nonlocal begun
        begun = True

    try:
        yield keep
    except BaseException:
        if not begun:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


@contextmanager
def lock_run(folder: RunFolder) -> Iterator[None]:
    """Lock the folder for this process; LockedError, naming the holder, if another process has.

    The kernel releases the lock when the process ends, however it ends.
    """
    from filelock import FileLock, Timeout

    file_lock, holder = FileLock(folder.path / ".lock", timeout=0), folder.path / ".holder"
    try:
        file_lock.acquire()
    except Timeout:
        message = f"the run is held by {_holder_text(holder)}"
        hint = "wait for it, stop it, or start a new run under another --name"
        raise LockedError(message, where=str(folder.path), hint=hint) from None
    except OSError as error:
        hint = "a search writes in the folder; to read it, no permission to write is needed"
        raise StorageError(error.strerror or str(error), where=str(folder.path), hint=hint) from error
    try:
        _remove_drafts(folder)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_atomic(holder, f"process {os.getpid()} on {socket.gethostname()} since {now}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        file_lock.release()


def _remove_drafts(folder: RunFolder) -> None:
    """Remove the unfinished files of a process that was killed while it held the run."""
    for place in (folder.path, folder.weights, folder.rungs):
        for draft in place.glob(f".*{DRAFT}"):
            draft.unlink(missing_ok=True)


def write_config(folder: RunFolder, config: RunConfig) -> None:
    """Write config.json with its checksum, and search.yaml, which repeats the search."""
    if folder.space.exists():
        write_atomic(folder.search, search_yaml(config, read_text(folder.space, links=False)))
    write_checked(folder.config, config.to_dict())


def read_config(folder: RunFolder) -> RunConfig:
    """Read config.json. NotFoundError without the file, StorageError if it changed or holds what no
    run writes, NasError if a newer program wrote it."""
    return RunConfig.from_dict(read_checked(folder.config, check_version), str(folder.config))


def read_space(folder: RunFolder, config: RunConfig) -> str:
    """Read the text of the search space; StorageError if it is not the one that the run began with."""
    text = read_text(folder.space, links=False)
    if space_digest(text) != config.space_digest:
        hint = "restore the file; a run in another space is a new run"
        raise StorageError("was damaged or changed by hand", where=str(folder.space), hint=hint)
    return text


def space_digest(text: str) -> str:
    """Return the digest of the YAML that a space writes, for config.json."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _latest(root: Path) -> RunFolder:
    runs = list_runs(root)
    if not runs:
        raise NotFoundError("no runs", where=str(root), hint=FIRST)
    return runs[-1]


def _new_name(space_name: str) -> str:
    space = re.sub(r"[^A-Za-z0-9._-]+", "-", space_name)[:SPACE_PART].lstrip(".") or "run"
    return f"{space}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _inside(root: Path, name: str) -> Path:
    """Return `root / name`; NasError unless that is a folder, existing or not, directly in `root`."""
    if not NAME.fullmatch(name) or not name.strip("."):
        hint = "1 to 64 letters, digits, dots, hyphens and underscores"
        raise NasError(f"bad name of a run {name!r}", where="name", hint=hint)
    path = root / name
    if path.is_symlink():
        raise NasError("is a symbolic link", where=str(path), hint="name the folder it points to")
    return path


def _is_run(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file() or (folder / "study.db").is_file()
    except OSError as error:  # a name too long, or a folder that may not be read
        raise NotFoundError(f"cannot be read: {error.strerror}", where=str(folder)) from error


def _refuse_links(folder: Path) -> None:
    """Raise NasError for a symbolic link among our files: it would lead reads and writes out of the folder,
    which may be a stranger's. Links in other folders stay: wandb writes some, such as wandb/latest-run."""
    for path in (*folder.iterdir(), *(entry for name in OWN_FOLDERS for entry in folder.glob(f"{name}/*"))):
        if path.is_symlink():
            hint = "replace it by what it points to; nas follows no links in a run folder"
            raise NasError("is a symbolic link", where=str(path), hint=hint)


def _holder_text(holder: Path) -> str:
    try:
        return read_text(holder, links=False)
    except NasError:
        return "another process"
