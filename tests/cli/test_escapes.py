"""Names and messages from a stranger's files reach no terminal as control characters."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from testing.paths import ROOT
from testing.small_spaces import TINY
from testing.trials import a_trial

import nas
from nas.cli import COMMANDS
from nas.cli._progress import SearchProgress
from nas.errors import AllTrialsFailedError, NasError, escape_controls
from nas.modules.base import Module
from nas.study.trial_json import from_attributes, to_attributes

CLEAR, CLIPBOARD = "\x1b[2J", "\x1b]52;c;cm0gLXJmIH4=\x1b\\"
"""What clears a screen, and what writes to the clipboard."""
HOSTILE = f"x{CLEAR}{CLIPBOARD}\x9b2J\x07\r\u202eevil\u2066"
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""Bold and colours, which the commands themselves print."""
FAILING = f"""
def broken(network, dataset):
    raise RuntimeError({HOSTILE!r})
"""
PRINTERS = {"echo", "secho", "print", "write", "print_exception"}


def terminal_output(arguments: list[str], folder: Path) -> str:
    """What a command prints to a pseudo-terminal, stdout and stderr together."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "nas", *arguments]
    environment = os.environ | {
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "TERM": "xterm",
        "COLUMNS": "120",
    }
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=other, stdout=other, stderr=other, close_fds=True
    )
    os.close(other)
    parts: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(main, 1 << 16):
                parts.append(part)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    process.wait(timeout=120)
    reader.join(timeout=10)
    os.close(main)
    return b"".join(parts).decode(errors="surrogateescape").replace("\r\n", "\n")


def assert_harmless(text: str) -> None:
    found = FORBIDDEN.search(STYLE.sub("", text))
    assert found is None, repr(text[max(0, found.start() - 80) : found.end() + 80])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder with a hostile name, one whose trials failed with a hostile message, and a space
    and a genotype with hostile texts."""
    folder = tmp_path_factory.mktemp("hostile")
    space = TINY.replace("Two blocks of two types.", json.dumps(HOSTILE))
    assert "\\u001b" in space
    (folder / "tiny.yaml").write_text(space)
    (folder / "broken.py").write_text(FAILING)
    settings = {"data": "digits?limit=150", "workers": 0, "trials": 3, "epochs": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        nas.search("tiny.yaml", name="good", **settings).study.close()
        with pytest.raises(AllTrialsFailedError):
            nas.search("tiny.yaml", name="bad", objectives=("error", "python:broken:broken"), **settings)
        shutil.copytree(folder / "results" / "good", folder / "results" / "typed")
        with closing(sqlite3.connect(folder / "results" / "typed" / "study.db")) as database, database:
            database.execute("UPDATE trials SET module_types = ?", (f"residual+{HOSTILE}",))
        (folder / "results" / "good").rename(folder / "results" / HOSTILE)
        genotype = nas.load_space("tiny.yaml").sample(0).to_dict()
        genotype["nodes"][0]["module"]["type"] = HOSTILE
        (folder / "typed.json").write_text(json.dumps(genotype))
    for name in (HOSTILE.replace("/", ""), "b"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("L", (8, 8), 20 * i).save(folder / "images" / name / f"{i}{CLEAR}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["runs", "--results-dir", HOSTILE],
        ["spaces", "tiny.yaml"],
        ["pareto", HOSTILE],
        ["pareto", "bad"],
        ["analyze", HOSTILE],
        ["analyze", HOSTILE, "--csv"],
        ["analyze", "bad"],
        ["analyze", "typed"],
        ["report", "typed"],
        ["show", "typed"],
        ["export", "typed", "--knee"],
        ["compare", "typed", HOSTILE],
        ["report", HOSTILE],
        ["show", HOSTILE],
        ["show", "typed.json"],
        ["cost", "typed.json"],
        ["compare", HOSTILE, HOSTILE],
        ["compare", f"{HOSTILE}:0", "typed.json"],
        ["export", HOSTILE, "--knee"],
        ["replay", HOSTILE],
        ["zoo", HOSTILE],
        ["data", "images"],
        ["data", HOSTILE],
        ["train", HOSTILE, "--trial", "0", "--epochs", "1"],
        [
            *("search", "--resume", "--name", "bad", "--trials", "4", "--workers", "0"),
            *("--objectives", "error,python:broken:broken"),
        ],
        ["search", "--space", "tiny.yaml", "--dry-run", "--data", HOSTILE],
        [HOSTILE],
        ["search", f"--{HOSTILE}"],
        ["doctor", "--quick", "--results-dir", HOSTILE],
    ],
    ids=lambda arguments: " ".join(arguments).replace(HOSTILE, "HOSTILE"),
)
def test_no_command_prints_control_characters(arguments: list[str], hostile: Path) -> None:
    text = terminal_output(arguments, hostile)
    assert text
    if "--resume" in arguments:  # a live view moves the cursor, and an error quotes the user's own function
        assert all(part not in text for part in (CLEAR, "\x1b]", "\x9b", "\u202e"))
        assert "RuntimeError" in text
    else:
        assert "Traceback" not in text
        assert_harmless(text)


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "naïve “quotes” 日本"])
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert escape_controls(text) == text


def test_control_characters_are_visible_escapes() -> None:
    assert escape_controls("a\x1b[2J\x9b\x7f\r\u202e\udc80") == "a\\x1b[2J\\x9b\\x7f\\r\\u202e\\udc80"
    assert "\\x1b[2J" in str(NasError(CLEAR, where=CLEAR, hint=CLEAR))
    assert_harmless(escape_controls(HOSTILE))


@pytest.mark.parametrize("name", [HOSTILE, "two words", "", "x" * 65, "residual\n", "résidual"])
def test_a_record_with_a_strange_module_type_is_refused(name: str) -> None:
    attributes = to_attributes(a_trial(0))
    assert from_attributes(attributes).digest == a_trial(0).digest
    with pytest.raises(ValueError, match="module_types"):
        from_attributes(attributes | {"module_types": f"plain+{name}"})


def test_a_module_type_of_a_plugin_needs_a_plain_name() -> None:
    with pytest.raises(NasError, match="cannot be the name of a type") as caught:
        type("Strange", (Module,), {}, name=HOSTILE)
    assert_harmless(str(caught.value))


def test_warnings_and_tracebacks_show_escapes() -> None:
    script = (
        "import sys, warnings, nas.cli; nas.cli.run = lambda _: (warnings.warn(sys.argv[1]), 1 / 0);"
        "sys.argv[1] += 'warned'; nas.cli.main()"
    )
    command = [sys.executable, "-c", script, HOSTILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("warning: x\\x1b[2J")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert_harmless(done.stderr)


def test_progress_shows_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    SearchProgress().print(HOSTILE)
    said = capsys.readouterr().err
    assert_harmless(said)
    assert "evil" in said


def test_commands_print_through_one_module_alone() -> None:
    for path in (ROOT / "nas" / "cli").glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        owners = {
            ast.unparse(call)
            for call in calls
            if isinstance(call, ast.Name | ast.Attribute)
            and (call.id if isinstance(call, ast.Name) else call.attr) in PRINTERS
        }
        if path.name != "_output.py":
            assert owners <= {"echo", "self.print", "self.live.console.print"}, path


HELP = """
from nas.cli import COMMANDS, main

for name in ("", *COMMANDS):
    try:
        main([*name.split(), "--help"])
    except SystemExit as ended:
        assert ended.code == 0, name
"""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_help_prints_whatever_the_encoding_of_the_terminal(encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u" not in done.stdout
    printed = re.findall(r"^Usage: nas ?(\w*)", done.stdout.decode(encoding), re.MULTILINE)
    assert printed == ["", *COMMANDS]
