"""The command line: one file per command.

Data goes to stdout, progress and notes to stderr. Errors are printed without a traceback
and end with the exit code of their kind. Commands import heavy modules only when they run.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from nas import __version__
from nas.cli import _options as options
from nas.cli._output import accept_any_text, echo, show_traceback, show_warning
from nas.errors import NasError, StorageError, did_you_mean

GROUPS = {
    "Search": {
        "search": "Search a space for the Pareto front, and rank its module types.",
        "data": "Show how your images are read.",
        "spaces": "List the search spaces, or show one.",
        "runs": "List the runs.",
        "replay": "Check that the searcher of a run proposes the same again.",
    },
    "Results": {
        "pareto": "Show the Pareto front of a run, and how it depends on seeds.",
        "analyze": "Rank the module types of runs, and grade each claim.",
        "report": "Write runs as one HTML page, and as plots.",
        "dashboard": "Show a run live in optuna-dashboard.",
        "modules": "Rank the modules that recur among good networks, and write them as a type.",
        "compare": "Compare two networks, or two runs.",
    },
    "Networks": {
        "show": "Show the layers of a network, with shapes, parameters and FLOPs.",
        "cost": "Count parameters, FLOPs, activations and memory of a network.",
        "zoo": "List, show or export published networks.",
        "export": "Write networks as verified PyTorch files.",
        "train": "Train one network fully, and test it once.",
        "predict": "Classify images with a trained network.",
        "evaluate": "Score a trained network on labelled images, with a page of its mistakes.",
    },
    "This machine": {
        "cache": "List the decoded images that are kept on disk, or remove them.",
        "doctor": "Check versions, devices, memory and Ray, and run a short search.",
        "completion": "Print the completion script for a shell.",
    },
}
"""Commands by purpose, each with one line of help."""

COMMANDS = {name: line for commands in GROUPS.values() for name, line in commands.items()}
INTERRUPTED, TERMINATED = 130, 143


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is used; --help needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"nas.cli.{cmd_name}").command
        if cmd_name not in GROUPS["This machine"] and options.plugin not in command.params:
            command.params.append(options.plugin)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no such command '{args[0]}'; {did_you_mean(args[0], COMMANDS)}", ctx=ctx)
        return super().resolve_command(ctx, args)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Search convolutional architectures on your images within a compute budget.

    You get the front of accuracy against FLOPs, a graded comparison of block types, and PyTorch code.
    Start with `nas search --space residual_vs_fractal`.
    """
    if ctx.invoked_subcommand is None:
        echo(ctx.get_help(), err=True)
        ctx.exit(NasError.exit_code)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        accept_any_text(stream)
    if sys.platform == "win32":
        sys.exit(complain("nas does not run on Windows", NasError.exit_code, hint="use it in WSL, on Linux"))
    warnings.showwarning, sys.excepthook = show_warning, show_traceback
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(args))


class Terminated(BaseException):
    """SIGTERM, which ends a command as Ctrl-C does, so that it leaves nothing behind."""


def _terminate(signum: int, frame: object) -> NoReturn:
    raise Terminated


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cli.main(args=None if args is None else list(args), prog_name="nas", standalone_mode=False)
    except NasError as error:
        return complain(str(error), error.exit_code)
    except click.ClickException as error:
        return complain(error.format_message(), error.exit_code, hint=_help_hint(error))
    except Terminated:
        return complain("stopped by SIGTERM", TERMINATED)
    except (KeyboardInterrupt, click.Abort):
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (`nas runs | head`), and nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a wrong argument, not a fault of the disk
            return complain(f"{error.filename}: the name is too long for a file", NasError.exit_code)
        return complain(str(error), StorageError.exit_code)
    return code if isinstance(code, int) else 0


def complain(message: str, code: int, *, hint: str = "") -> int:
    """Print an error to stderr and return its exit code."""
    echo(f"error: {message}" + (f"\n  {hint}" if hint else ""), err=True)
    return code


def _help_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"try: {ctx.command_path} --help" if ctx is not None else ""
