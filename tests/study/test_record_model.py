"""A study beside a dict that does the same: two programs record trials, and are killed, resumed, cut short
and starved of space in any order. No recorded trial is lost, changed or recorded twice."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from testing.trials import SPACE, a_trial

from nas.errors import NasError, StorageError
from nas.study.study import Study

DOMAINS = {path: list(options) for path, options in SPACE.domains().items()}
TRIALS = [
    a_trial(number, reason="timeout" if number % 5 == 4 else "", message="late") for number in range(12)
]


class RecordedTrials(RuleBasedStateMachine):
    """`model` holds what was recorded, by number; `drivers` are the programs that write."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "study.db"
        self.drivers = [Study.create(self.path, objectives=["error", "flops"], domains=DOMAINS)]
        self.model: dict[int, object] = {}

    def teardown(self) -> None:
        for driver in self.drivers:
            driver.close()
        shutil.rmtree(self.folder)

    @rule(driver=st.integers(0, 1), number=st.integers(0, len(TRIALS) - 1))
    def record(self, driver, number):
        """Records a trial, unless this driver or another has its number."""
        writer = self.drivers[driver % len(self.drivers)]
        try:
            writer.record(TRIALS[number])
        except NasError:
            assert number in self.model
        else:
            assert number not in self.model
            self.model[number] = TRIALS[number]

    @rule(driver=st.integers(0, 1))
    def refresh(self, driver):
        """Reads what the other driver has recorded."""
        reader = self.drivers[driver % len(self.drivers)]
        reader.refresh()
        assert {trial.number: trial for trial in reader.trials} == self.model

    @precondition(lambda self: len(self.drivers) < 2)
    @rule()
    def second_driver(self):
        self.drivers.append(Study.open(self.path))

    @rule()
    def kill(self):
        """All programs end without closing the database: the files are as they stand, in a new place."""
        place = Path(tempfile.mkdtemp(dir=self.folder.parent))
        for file in self.folder.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, place)
        for driver in self.drivers:
            driver.close()
        shutil.rmtree(self.folder)
        self.folder, self.path = place, place / "study.db"
        self.drivers = [Study.open(self.path)]

    @rule(keep=st.integers(1, 9))
    def cut_within_a_record(self, keep):
        """The power is lost while one more trial is written: a part of its pages is in the WAL file."""
        free = next((number for number in range(len(TRIALS)) if number not in self.model), None)
        if free is None:
            return
        self.drivers[0].refresh()
        wal = self.folder / "study.db-wal"
        with self.drivers[0]._engine.connect():
            before = wal.stat().st_size if wal.exists() else 0
            self.drivers[0].record(TRIALS[free])
            raw = wal.read_bytes()
            if len(raw) <= before:  # the file began anew: nothing to cut that was not there before
                self.model[free] = TRIALS[free]
                return
            wanted = before + (len(raw) - before) * keep // 10
            place = Path(tempfile.mkdtemp(dir=self.folder.parent))
            shutil.copy(self.path, place)
            (place / "study.db-wal").write_bytes(raw[:wanted])
        for driver in self.drivers:
            driver.close()
        shutil.rmtree(self.folder)
        self.folder, self.path = place, place / "study.db"
        self.drivers = [Study.open(self.path)]

    @rule(number=st.integers(0, len(TRIALS) - 1), room=st.integers(0, 9000))
    def full_disk(self, number, room):
        """A trial is recorded where files may grow by a few bytes only."""
        if number in self.model:
            return
        sizes = [file.stat().st_size for file in self.folder.iterdir() if not file.name.endswith("-shm")]
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + room, hard))
        try:
            with suppress(StorageError):
                self.drivers[0].record(TRIALS[number])
                self.model[number] = TRIALS[number]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @invariant()
    def a_reader_finds_what_was_recorded(self):
        with Study.open(self.path) as reader:
            assert {trial.number: trial for trial in reader.trials} == self.model
            assert len(reader.trials) == len(self.model)


TestRecordedTrials = RecordedTrials.TestCase
TestRecordedTrials.settings = settings(
    max_examples=int(os.environ.get("NAS_FUZZ", "5")), stateful_step_count=10, deadline=None, database=None
)
