"""nas completion: let the Tab key complete commands, options, spaces, runs and networks."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nas.cli import _options as options
from nas.cli._output import echo

VARIABLE = "_NAS_COMPLETE"


@click.command("completion", epilog="Example: nas completion bash >> ~/.bashrc")
@click.argument("shell", type=options.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL. Append it to the start-up file of the shell."""
    from nas.cli import cli

    shell_class = get_completion_class(shell)
    assert shell_class is not None
    echo(shell_class(cli, {}, "nas", VARIABLE).source())
