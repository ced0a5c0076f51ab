"""The command line: one command a file.

Data goes to stdout, progress and notes to stderr. Errors are printed without a traceback
and end with the exit code of their kind. Commands import what is heavy when they run.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from nas import __version__
from nas.cli import _options as options
from nas.errors import NasError, StorageError

GROUPS = {
    "Search": {
        "search": "Search a space and end with the Pareto front and the ranking.",
        "spaces": "List the search spaces, or show one.",
        "runs": "List the runs.",
        "replay": "Whether the searcher of a run proposes the same again.",
    },
    "What a run found": {
        "pareto": "The Pareto front of a run, and how far it depends on the training seed.",
        "analyze": "Rank the module types of a run, and say what the ranking supports.",
        "report": "What runs found as one HTML page, and its plots.",
        "compare": "What differs between two networks, or between two runs.",
    },
    "Networks": {
        "show": "The layers of a network, with shapes, parameters and FLOPs.",
        "cost": "Parameters, FLOPs, activations and memory of a genotype.",
        "zoo": "List published networks, show one, or write it as a PyTorch file.",
        "export": "Write networks of a run, or of the zoo, as PyTorch files, verified first.",
        "train": "Train one network fully, and read its test figure once.",
    },
    "This machine": {
        "doctor": "Versions, devices, memory and Ray, and a short test of them all.",
        "completion": "Print the completion script of a shell.",
    },
}
"""The commands by what people do, each with a line of help."""

COMMANDS = {name: line for commands in GROUPS.values() for name, line in commands.items()}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Imports the module of a command when the command is used; --help needs none."""

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
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, context_settings=SETTINGS)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Neural architecture search over modules: residual against fractal, accuracy against FLOPs.

    Start with `nas search --space residual_vs_fractal`.
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    code = run(args)
    gc.freeze()  # the process ends: to look for garbage in 10,000 trials once more takes 0.4 s
    sys.exit(code)


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = cli.main(args=None if args is None else list(args), prog_name="nas", standalone_mode=False)
    except NasError as error:
        return complain(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return complain(error.format_message(), error.exit_code, hint=_help_hint(error))
    except (KeyboardInterrupt, click.Abort):
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`nas runs | head`); nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no fault of the disk
            return complain(f"{error.filename}: the name is too long for a file", NasError.exit_code)
        return complain(str(error), StorageError.exit_code)
    return code if isinstance(code, int) else 0


def complain(message: str, code: int, *, hint: str = "") -> int:
    """Print an error to stderr; returns its exit code."""
    click.echo(f"error: {message}" + (f"\n  {hint}" if hint else ""), err=True)
    return code


def _help_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"try: {ctx.command_path} --help" if ctx is not None else ""
