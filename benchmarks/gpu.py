"""What a machine with GPUs shows of `nas`, in one command and a fixed time.

    python benchmarks/gpu.py --minutes 9 --out FOLDER
    python benchmarks/gpu.py --rehearse        # the same on the CPU, in under three minutes

Each part is a process with its share of the time (`gpu_parts.py`): the CUDA tests; candidates per hour of a
plain loop, of one worker without and with the CUDA graph, and of four without and with MPS; predicted and
measured memory; running out of memory; a search on Ray; one training on all GPUs, where there are two. Time
that a part leaves goes to those after it; a part that takes longer is ended. FOLDER/gpu.json and
FOLDER/gpu.txt are written after each figure, so that a run that is cut keeps what it has measured. A part
whose package is missing, such as ray, is skipped with the reason.

A checkout and the packages that training imports suffice (torch, numpy, pydantic, PyYAML, safetensors), with
pytest for the tests. Nothing is downloaded: the images are noise of CIFAR-10's shape.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"tests": 5, "throughput": 10, "memory": 3, "oom": 2, "search": 3, "devices": 4}
"""Shares of the time, by part and in their order."""
GRACE = 10.0
"""Seconds in which a part that is ended may stop what it started."""
REHEARSAL_MINUTES = 2.2
MESSAGE = 200
"""Characters of a message in the table; gpu.json has more."""

Row = dict[str, Any]


class Report:
    """Figures so far, written to a folder after each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.parts: dict[str, list[Row]] = {}

    def add(self, part: str, row: Row) -> None:
        self.parts.setdefault(part, []).append(row)
        print(f"{part}: {line(row)}", flush=True)
        for name, text in (("gpu.json", json.dumps(self.parts, indent=1)), ("gpu.txt", self.table())):
            draft = self.folder / f".{name}"
            draft.write_text(text + "\n")
            draft.replace(self.folder / name)

    def table(self) -> str:
        """Return the rows of each part under its name."""
        return "\n\n".join(
            "\n".join([part, *(f"  {line(row)}" for row in rows)]) for part, rows in self.parts.items()
        )


def line(row: Row) -> str:
    """Return a row as text: its first value as a label, then names with values."""
    (_, label), *rest = row.items()
    values = (f"{name} {_number(value)}" for name, value in rest if value is not None)
    return "  ".join([f"{label!s:32}", *values]).rstrip()


def _number(value: Any) -> str:
    """Return a value as text of one line, of a long message the end."""
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value)[-MESSAGE:].split())


def run_part(name: str, seconds: float, rehearse: bool, report: Report) -> None:
    """Run a part in a process of its own, and note its rows as they come."""
    command = [sys.executable, str(ROOT / "benchmarks/gpu_parts.py"), name, "--seconds", f"{seconds:.0f}"]
    command += ["--rehearse"] if rehearse else []
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    cut = threading.Event()

    def end() -> None:
        cut.set()
        process.terminate()

    said: list[str] = []
    timers = [threading.Timer(seconds, end), threading.Timer(seconds + GRACE, kill_group, [process.pid])]
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    for thread in (*timers, reader):
        thread.daemon = True
        thread.start()
    try:
        for text in process.stdout or ():
            if text.startswith("{"):
                report.add(name, json.loads(text))
        code = process.wait()
    finally:
        for timer in timers:
            timer.cancel()
        kill_group(process.pid)
    reader.join(GRACE)
    if cut.is_set():
        report.add(name, {"note": f"cut after {seconds:.0f} s"})
    elif code:
        report.add(name, failure(code, "".join(said)))


def kill_group(group: int) -> None:
    """End what is left of a part: the processes of the group that it was started with."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def failure(code: int, said: str) -> Row:
    """Return why a part failed: a package that is missing, or the end of what it said."""
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said)
    if missing:
        return {"note": f"skipped: the package {missing[1]} is not installed"}
    return {"note": f"failed with exit code {code}", "said": said[-3000:]}


def machine(rehearse: bool) -> Row:
    import torch

    row = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    if not rehearse:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        row = {"machine": ", ".join(names), "cores": os.cpu_count(), "cuda": torch.version.cuda}
    return row | {"torch": torch.__version__, "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, help=f"default: 9; {REHEARSAL_MINUTES:g} of a rehearsal")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of gpu.json and gpu.txt")
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, with tiny networks")
    parser.add_argument("--parts", nargs="+", choices=SHARES, default=list(SHARES))
    options = parser.parse_args()
    began = time.monotonic()
    minutes = options.minutes or (REHEARSAL_MINUTES if options.rehearse else 9)
    import torch

    if not options.rehearse and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --rehearse runs everything on the CPU")
    report = Report(options.out)
    report.add("machine", machine(options.rehearse))
    for i, part in enumerate(options.parts):
        shares = [SHARES[name] for name in options.parts[i:]]
        left = 60 * minutes - (time.monotonic() - began) - GRACE
        run_part(part, max(5.0, left * shares[0] / sum(shares)), options.rehearse, report)
    report.add("end", {"note": f"took {time.monotonic() - began:.0f} s of {60 * minutes:.0f}"})


if __name__ == "__main__":
    main()
