"""nas doctor: check whether this machine is ready for a search."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli import _options as options
from nas.cli._output import emit, status
from nas.errors import NasError
from nas.formatting import duration

if TYPE_CHECKING:
    from nas.cli._doctor_checks import Check


@click.command("doctor", epilog="Example: nas doctor --quick")
@click.option("--quick", is_flag=True, help="Skip the self-test, a search of about 20 seconds.")
@options.results_dir
@options.as_json
def command(quick: bool, results_dir: Path, as_json: bool) -> None:
    """Check versions, devices, memory and Ray, then run a short search.

    The search shows how many candidates per hour to expect. The exit code is 2 if something would stop a
    search.
    """
    from nas.cli import _doctor_checks as doctor

    results = []
    for check in doctor.checks(results_dir):
        results.append(check)
        if not as_json:
            _show(check)
    test = None if quick else doctor.self_test()
    if as_json:
        measured = asdict(test) | {"candidates_an_hour": test.candidates_an_hour} if test else None
        emit({"checks": [asdict(check) for check in results], "self_test": measured})
    elif test:
        rate = f"about {test.candidates_an_hour:,.0f} per hour in the search of the README"
        trained = f"{test.candidates} candidates on {test.workers} workers in {duration(test.seconds)}"
        _show(doctor.Check("self-test", "ok", f"{trained}, {rate}"))
    if any(check.state == "error" for check in results):
        raise NasError("this machine cannot run a search as it is", hint="fix the problems marked error")


def _show(check: Check) -> None:
    status(check.state, f"{check.name:<16}  {check.detail}")
