"""Run the commands of pages and write what they print below them: python scripts/record_docs.py PAGE...

Commands are the lines of ```bash blocks that begin with `nas `; blocks of Python run too, in order. A ```text
block right after a block of commands holds their output, and is written anew. Pictures that a page shows are
written by its commands, and copied beside the page.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^]]*]\((?:\.\./)*pictures/([\w.]+)\)")
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def record(page: Path) -> None:
    """Run the blocks of a page in an empty folder, and write their output into it."""
    with tempfile.TemporaryDirectory() as folder:
        print(page)
        text = BLOCK.sub(lambda match: _recorded(match, Path(folder)), page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
        for name in PICTURE.findall(text):
            if (Path(folder) / name).exists():
                shutil.copy(Path(folder) / name, PICTURES / name)


def _recorded(match: re.Match[str], folder: Path) -> str:
    """Return the block of a match with the output of its code below it, if it had output there."""
    kind, code, output = match.groups()
    lines = code.splitlines() if kind == "bash" else []
    commands = [line for line in lines if line.startswith("nas ")]
    if kind == "bash" and len(commands) < len(lines):
        return match.group(0)
    printed = [_run(["sh", "-c", line], folder) for line in commands] or [
        _run([sys.executable, "-c", code], folder)
    ]
    if output is None:
        return match.group(0)
    body = "\n".join(line.rstrip() for text in printed for line in text.strip("\n").splitlines())
    return f"```{kind}\n{code}```\n\n```text\n{body}\n```\n"


def _run(command: list[str], folder: Path) -> str:
    print("  $", command[-1].splitlines()[0], flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    for page in parser.parse_args().pages:
        record(page)
