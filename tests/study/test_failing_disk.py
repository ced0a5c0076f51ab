"""Any write, sync or rename fails, or the power is lost after it: the old or the new state is found, and a
failure is one NasError."""

from __future__ import annotations

import pytest
import torch
from testing.disk import crashes, failures
from testing.trials import SPACE, a_trial

from nas.errors import NasError, StorageError
from nas.files import read_checked, replace_folder, work_folder, write_checked
from nas.schedulers.rung_store import RungStore
from nas.training import checkpoint

OLD, NEW = {"trial": 0, "text": "old" * 2000}, {"trial": 1, "text": "new" * 3000}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def copies(tmp_path):
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


class Checked:
    """config.json."""

    @staticmethod
    def write(root, state):
        write_checked(root / "config.json", state)

    @staticmethod
    def read(root):
        return read_checked(root / "config.json")


class Checkpoint:
    """The state of a full training."""

    @staticmethod
    def write(root, state):
        checkpoint.save(root / "network.checkpoint", state | {"weights": torch.zeros(9)})

    @staticmethod
    def read(root):
        state = checkpoint.load(root / "network.checkpoint")
        return state and {name: state[name] for name in OLD}


class Paused:
    """A trial at a rung, and the state of its training."""

    @staticmethod
    def trial(state):
        epochs = state["trial"] + 1
        return a_trial(7, state="stopped", error=0.5, epochs=epochs, curve=({"epoch": 1},) * epochs)

    @classmethod
    def store(cls, root):
        store = RungStore(root / "rungs", [1, 2, 4], SPACE)
        store.keep(store.read())
        return store

    @classmethod
    def write(cls, root, state):
        cls.store(root).write(cls.trial(state), state["text"].encode())

    @classmethod
    def read(cls, root):
        store = cls.store(root)
        (trial,) = store.read()
        return {"trial": trial.epochs - 1, "text": store.checkpoint(7).decode()}


class Exported:
    """A folder of several files."""

    @staticmethod
    def write(root, state):
        try:
            with work_folder(root) as scratch:
                draft = scratch / "network"
                draft.mkdir()
                (draft / "trial").write_text(str(state["trial"]))
                (draft / "text").write_text(state["text"])
                replace_folder(draft, root / "network")
        except OSError as error:
            raise StorageError(str(error)) from error  # as `publish` does

    @staticmethod
    def read(root):
        with work_folder(root):  # as the next export does
            assert {path.name for path in (root / "network").iterdir()} == set(OLD)
            return {
                "trial": int((root / "network/trial").read_text()),
                "text": (root / "network/text").read_text(),
            }


KINDS = [Checked, Checkpoint, Paused, Exported]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_of_power_leaves_the_old_or_the_new(root, copies, kind):
    kind.write(root, OLD)
    assert kind.read(root) == OLD
    found = set()
    for returned, place in crashes(root, copies, lambda: kind.write(root, NEW)):
        state = kind.read(place)
        assert state in ([NEW] if returned else [OLD, NEW]), place
        found.add(state["trial"])
    assert found == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_leaves_the_old_or_the_new_and_is_one_error(root, copies, kind):
    kind.write(root, OLD)
    errors = 0
    for error, place in failures(root, copies, lambda place: kind.write(place, NEW)):
        state = kind.read(place)
        assert state == NEW if error is None else state in (OLD, NEW), place
        if error is not None:
            assert isinstance(error, NasError), error
            errors += 1
        kind.write(place, NEW)
        assert kind.read(place) == NEW
    assert errors > 5
