"""A run in optuna-dashboard, also while a search writes it.

The dashboard shows a copy in memory, so nothing that is clicked there changes the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.plugins import need
from nas.study.optuna_study import add_trials, empty_study
from nas.training.task import ignore

if TYPE_CHECKING:
    import optuna

    from nas.study.run import Run

HOST = "localhost"
INTERVAL = 2.0
"""Seconds between two looks for new trials."""


def serve(run: Run, port: int = 8080, on_error: Callable[[NasError], None] = ignore) -> None:
    """Show a run at http://localhost:port/ until Ctrl-C.

    on_error: see `live_storage`. NasError if optuna-dashboard is not installed or the port is taken.
    """
    need("dashboard", "optuna_dashboard")
    from optuna_dashboard import run_server

    refusals: list[OSError] = []

    def answer(storage: optuna.storages.InMemoryStorage) -> None:
        try:
            run_server(storage, host=HOST, port=port)
        except OSError as error:
            refusals.append(error)

    with live_storage(run, on_error=on_error) as storage, suppress(KeyboardInterrupt):
        # In a thread: wsgiref swallows a Ctrl-C that arrives while it answers a request.
        server = Thread(target=answer, args=(storage,), daemon=True)
        server.start()
        while server.is_alive():
            server.join(INTERVAL)
    if refusals:
        message = f"cannot listen on port {port}: {refusals[0].strerror}"
        raise NasError(message, where=HOST, hint="choose another --port") from refusals[0]


@contextmanager
def live_storage(
    run: Run, interval: float = INTERVAL, on_error: Callable[[NasError], None] = ignore
) -> Iterator[optuna.storages.InMemoryStorage]:
    """A storage of Optuna in memory that holds a run and follows it.

    interval: seconds between two looks for new trials; on_error: called once each time that the run can
    no longer be read. Trials recorded so far come in the order of their numbers, later ones as they
    are recorded; the user attribute `number` is the number in the run.
    """
    import optuna

    storage = optuna.storages.InMemoryStorage()
    converted = empty_study(run.study, run.name, storage)
    add_trials(converted, run.study, sorted(run.study.trials, key=lambda trial: trial.number))
    ended = Event()
    thread = Thread(target=_follow, args=(run, converted, interval, on_error, ended), daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        ended.set()
        thread.join()


def _follow(
    run: Run,
    converted: optuna.Study,
    interval: float,
    on_error: Callable[[NasError], None],
    ended: Event,
) -> None:
    shown, failing = len(run.study.trials), False
    while not ended.wait(interval):
        try:
            run.study.refresh()
        except NasError as error:
            if not failing:
                on_error(error)
            failing = True
            continue
        failing = False
        add_trials(converted, run.study, run.study.trials[shown:])
        shown = len(run.study.trials)
