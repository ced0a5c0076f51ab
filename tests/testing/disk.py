"""A disk that fails at its n-th operation, or loses power after any of them.

`Disk` watches what Python does to the files below a folder: create, write, sync, move, link, remove. It can
let one of these fail. From what it saw, `crashed` makes the folder as it may be found after a loss of power:
what was synced is there; what was written or named since may be there or not.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Operation = tuple[Any, ...]


class Disk:
    """Operations below `root`, and the number of the one to fail, from 0.

    persistent: whether all later operations that need space or names fail too, as on a full or dead disk.
    """

    def __init__(self, root: Path, fail_at: int | None = None, persistent: bool = False) -> None:
        self.root, self.fail_at, self.persistent = root.resolve(), fail_at, persistent
        self.operations: list[Operation] = []
        self.failed = False

    def do(self, *operation: Any) -> None:
        """Note an operation; OSError if it is to fail."""
        number = len(self.operations)
        self.operations.append(operation)
        if self.fail_at is not None and (number == self.fail_at or (self.persistent and self.failed)):
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def inside(self, path: Any, dir_fd: int | None = None) -> Path | None:
        """Return a path below the root as it is without links, None for others."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        elif dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        absolute = Path(os.path.abspath(path))
        return absolute if absolute.is_relative_to(self.root) else None

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "rename", "link"):
                patch.setattr(os, name, self._two_names(name, getattr(os, name)))
            for name in ("unlink", "rmdir", "mkdir"):
                patch.setattr(os, name, self._one_name(name, getattr(os, name)))
            patch.setattr(os, "fsync", self._synced(os.fsync))
            opened = self._opened(io.open)
            patch.setattr(builtins, "open", opened)
            patch.setattr(io, "open", opened)
            yield self

    def _two_names(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        kind = "link" if name == "link" else "move"

        def call(source: Any, to: Any, **options: Any) -> None:
            inside = self.inside(source), self.inside(to)
            if None not in inside:
                self.do(kind, *inside)
            real(source, to, **options)

        return call

    def _one_name(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, *arguments: Any, dir_fd: int | None = None) -> None:
            inside = self.inside(path, dir_fd)
            if inside and os.path.lexists(inside) is not (name == "mkdir"):
                self.do("mkdir" if name == "mkdir" else "remove", inside)
            real(path, *arguments, dir_fd=dir_fd)

        return call

    def _synced(self, real: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(file: Any) -> None:
            inside = self.inside(file if isinstance(file, int) else file.fileno())
            if inside:
                self.do("sync", inside)
            real(file)

        return call

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                raw = bytes(data)
                try:
                    disk.do("write", Path(os.fsdecode(self.name)), self.tell(), raw)
                except OSError:
                    super().write(raw[: len(raw) // 2])
                    raise
                return super().write(raw)

        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            inside = None if isinstance(file, int) else self.inside(file)
            if inside is None or not set("wxa+") & set(mode):
                return real(file, mode, *arguments, **options)
            self.do("create", inside)
            binary = io.BufferedWriter(File(str(inside), mode.replace("b", "").replace("t", "")))
            return (
                binary
                if "b" in mode
                else io.TextIOWrapper(binary, encoding=options.get("encoding") or "utf-8")
            )

        return call


@dataclass
class Node:
    """A file or folder of the model: as the programs see it, and as it is on disk."""

    entries: dict[str, Node] | None = None
    data: bytes = b""
    disk_entries: dict[str, Node] = field(default_factory=dict)
    disk_data: bytes = b""

    def sync(self) -> None:
        self.disk_entries, self.disk_data = dict(self.entries or {}), self.data


def scanned(path: Path) -> Node:
    """Return the model of a folder that is wholly on disk."""
    if not path.is_dir():
        node = Node(data=path.read_bytes())
    else:
        node = Node(entries={child.name: scanned(child) for child in path.iterdir()})
    node.sync()
    return node


def crashed(
    before: Node, root: Path, operations: Sequence[Operation], to: Path, *, data_lost: bool, names_lost: bool
) -> None:
    """Make the folder `to` as `root` is after the operations and a loss of power.

    before: the folder at first (`scanned`), which is used up. data_lost: what was written and not synced is
    lost; names_lost: so are names that were given or taken since their folder was synced.
    """

    def at(path: Path) -> Node:
        node = before
        for part in path.relative_to(root.resolve()).parts:
            assert node.entries is not None
            node = node.entries[part]
        return node

    def names(path: Path) -> dict[str, Node]:
        entries = at(path.parent).entries
        assert entries is not None
        return entries

    for kind, path, *rest in operations:
        match kind:
            case "create":
                names(path)[path.name] = Node()
            case "write":
                node, (start, data) = at(path), rest
                node.data = node.data[:start].ljust(start, b"\0") + data + node.data[start + len(data) :]
            case "sync":
                at(path).sync()
            case "move":
                moved = names(path).pop(path.name)
                names(rest[0])[rest[0].name] = moved
            case "link":
                names(rest[0])[rest[0].name] = at(path)
            case "remove":
                del names(path)[path.name]
            case "mkdir":
                names(path)[path.name] = Node(entries={})

    def write(node: Node, place: Path) -> None:
        if node.entries is None:
            place.write_bytes(node.disk_data if data_lost else node.data)
            return
        place.mkdir()
        for name, child in (node.disk_entries if names_lost else node.entries).items():
            write(child, place / name)

    write(before, to)


def crashes(root: Path, to: Path, act: Callable[[], None]) -> Iterator[tuple[bool, Path]]:
    """Do something in the folder `root`. Yield each state in which a loss of power may leave it, in a folder
    below `to`, with whether the act had returned by then."""
    pristine = to / "pristine"
    _copy(root, pristine)
    with Disk(root).watched() as disk:
        act()
    count = len(disk.operations)
    assert count > 3, disk.operations
    for end in range(count + 1):
        for losses in range(4):
            place = to / f"{end}-{losses}"
            crashed(
                scanned(pristine),
                root,
                disk.operations[:end],
                place,
                data_lost=bool(losses & 1),
                names_lost=bool(losses & 2),
            )
            yield end == count, place


def failures(
    root: Path, to: Path, act: Callable[[Path], None], kinds: Sequence[bool] = (True, False)
) -> Iterator[tuple[BaseException | None, Path]]:
    """Do something in copies of the folder `root`, in each with another operation that fails, with all later
    ones (True) or alone. Yield the error and the copy. The last that is yielded is without a failure."""
    for persistent in kinds:
        for number in range(10_000):
            place = to / f"{number}-{persistent}"
            _copy(root, place)
            error: BaseException | None = None
            with Disk(place, number, persistent).watched() as disk:
                try:
                    act(place)
                except Exception as caught:
                    error = caught
            yield error, place
            if not disk.failed:
                assert error is None
                break


def _copy(root: Path, to: Path) -> None:
    with suppress(FileExistsError):
        shutil.copytree(root, to, symlinks=True)
