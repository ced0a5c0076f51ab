"""nas replay: check that the searcher of a run proposes the same again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.controller.replay import Replay
    from nas.study.run import Run
    from nas.study.trial import Proposal


@click.command("replay", epilog="Example: nas replay latest")
@options.run
@options.results_dir
@options.as_json
def command(run: str, results_dir: Path, as_json: bool) -> None:
    """Ask the searcher of a run for its proposals again, each from the history it was made from.

    Reports that all proposals are the same, or names the first that differs (exit code 2). Nothing is
    trained. Runs of several workers or drivers, and resumed runs, are replayed in the order of their events.

    RUN is a run folder, a name under the results folder, or `latest`.
    """
    from nas.controller.replay import replay
    from nas.study.run import open_run

    with (opened := open_run(run, results_dir)).study:
        replayed, trials = replay(opened), len(opened.study.trials)
    if as_json:
        emit({"run": str(opened.folder), "trials": trials, **_described(replayed)})
    if replayed.differs is not None:
        raise _differs(opened, replayed)
    if replayed.unknown:
        first = f"the first is trial {replayed.unknown[0]}"
        message = (
            f"{len(replayed.unknown)} of {trials} trials do not record the history they were proposed from"
        )
        why = "an older version made them, results measured at rungs were not kept, or a driver was lost"
        hint = f"{why}; the other {replayed.same} are the same"
        raise NasError(f"{message}; {first}", where=str(opened.folder), hint=hint)
    if not as_json:
        echo(f"{replayed.same} of {trials} proposals are the same")


def _described(replayed: Replay) -> dict[str, Any]:
    differs = None
    if replayed.differs is not None:
        proposed = replayed.proposed and _shown(replayed.proposed)
        recorded = _shown(replayed.differs.proposal)
        differs = {"trial": replayed.differs.number, "recorded": recorded, "proposed": proposed}
    return {"same": replayed.same, "unknown": list(replayed.unknown), "differs": differs}


def _shown(proposal: Proposal) -> dict[str, Any]:
    return proposal.genotype.to_dict() | ({"recipe": proposal.recipe} if proposal.recipe else {})


def _differs(run: Run, replayed: Replay) -> NasError:
    """Return the error that states the recorded and the new proposal, and the versions that differ."""
    from nas.controller.config import versions

    trial, proposed = replayed.differs, replayed.proposed
    assert trial is not None
    lines = [
        f"trial {trial.number} is proposed differently; {replayed.same} before it are the same",
        f"  recorded: {trial.genotype}",
        f"  proposed: {proposed.genotype if proposed else 'nothing'}",
    ]
    pairs = [(name, then, versions().get(name, then)) for name, then in run.config.versions.items()]
    changed = [f"{name} {then} (now {now})" for name, then, now in pairs if then != now]
    same = "the versions are those of the run; before a release, rules may change within a version"
    hint = f"the run was made with {', '.join(changed)}" if changed else same
    return NasError("\n".join(lines), where=str(run.folder), hint=hint)
