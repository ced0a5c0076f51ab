"""Whatever a file or a command line says, the outcome is success or an error that says why.

Every input ends well or in a NasError of exit code 2 or 3 (6 where the file of a run is damaged),
within two seconds of work, with no other exception, no file outside the run and no code run. The
suite tries 200 inputs of each kind. The long form tries as many as it is told:

    NAS_FUZZ=2000 python -m pytest -q tests/space/test_fuzz.py

tests/fixtures/fuzz holds what was found; benchmarks/fuzz looks for more with atheris.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from testing.fuzzing import changed, harmless, open_genotype, open_space, torn, words
from testing.paths import FIXTURES
from testing.stranger import change_config, change_trial, config_of, copied

from nas.cli import run as nas
from nas.space.load import load_space, space_names

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("NAS_FUZZ", "200"))
DATA = FIXTURES
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    print_blob=True,
)

SPACES = [load_space(name).to_yaml() for name in space_names()]
GENOTYPES = [
    *(load_space(name).sample(seed).to_dict() for name in space_names() for seed in range(3)),
    json.loads((DATA / "genotype-v1.json").read_text()),
]


@given(text=torn(SPACES) | changed([yaml.safe_load(text) for text in SPACES]).map(yaml.safe_dump))
@fuzz
def test_any_space(tmp_path_factory, text):
    with harmless(tmp_path_factory.getbasetemp()):
        open_space(text)


@given(text=torn([json.dumps(data) for data in GENOTYPES]) | changed(GENOTYPES).map(json.dumps))
@fuzz
def test_any_genotype(tmp_path_factory, text):
    with harmless(tmp_path_factory.getbasetemp()):
        open_genotype(text)


@pytest.mark.parametrize("path", sorted((DATA / "fuzz").glob("*")), ids=lambda path: path.name)
def test_what_was_found_stays_mended(path, tmp_path):
    kinds = {".yaml": open_space, ".json": open_genotype}
    with harmless(tmp_path):
        kinds[path.suffix](path.read_bytes().decode("utf-8", "surrogateescape"))


# --- run folders

READERS = [
    "show run --trial 2",
    "show run --json",
    "pareto run",
    "pareto run --json --objectives error,params",
    "analyze run",
    "runs",
]
FILES = ["study.db", "config.json", "space.yaml", "weights/6.safetensors"]


@contextmanager
def a_run(factory, *made):
    """A copy of the kept run, in the current folder, where nothing but `made` appears beside it."""
    root = factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        folder = copied(root / "run")
        yield folder
        assert {path.name for path in root.iterdir()} <= {"run", *made}


def ends_well(arguments, capsys, codes=(0, 2, 3, 6)):
    """A command ends with one of the codes, soon, and says why where it is not 0."""
    with harmless(Path(os.devnull)):
        code = nas(arguments)
    printed = capsys.readouterr()
    assert code in codes, printed.err
    assert code == 0 or "error: " in printed.err
    assert "\x1b" not in printed.out + printed.err


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory):
    """The libraries that a command loads when it is given for the first time, two seconds of them, are no
    part of its work."""
    dry_run = "search --dry-run --space plain_vs_residual --data digits?limit=100 --trials 2 --epochs 1"
    with a_run(tmp_path_factory, "plot.png"):
        for line in (*READERS, "report run", "show run --plot plot.png", dry_run):
            assert nas([*line.split(), "--results-dir", "."]) == 0, line


@given(
    command=st.sampled_from(READERS),
    name=st.sampled_from(FILES),
    at=st.floats(0, 1),
    mask=st.integers(1, 255),
    length=st.integers(0, 64),
)
@fuzz
def test_any_damage_to_a_run(tmp_path_factory, capsys, command, name, at, mask, length):
    with a_run(tmp_path_factory) as folder:
        raw = (folder.path / name).read_bytes()
        start = int(at * len(raw))
        flipped = bytes(byte ^ mask for byte in raw[start : start + length])
        rest = raw[start + length :] if length else b""
        (folder.path / name).write_bytes(raw[:start] + flipped + rest)
        ends_well([*command.split(), "--results-dir", "."], capsys)


@given(command=st.sampled_from(READERS), data=st.data())
@fuzz
def test_any_config_with_a_checksum_that_fits(tmp_path_factory, capsys, command, data):
    with a_run(tmp_path_factory) as folder:
        config = data.draw(changed([config_of(folder)]))
        if isinstance(config, dict):
            change_config(folder, **dict.fromkeys(config_of(folder)) | config)
        ends_well([*command.split(), "--results-dir", "."], capsys)


@given(
    command=st.sampled_from(READERS),
    row=st.integers(1, 6),
    data=st.data(),
)
@fuzz
def test_any_trial_with_a_checksum_that_fits(tmp_path_factory, capsys, command, row, data):
    def change(held):
        new = data.draw(changed([dict(held)]))
        if isinstance(new, dict):
            held.clear()
            held.update({key: value for key, value in new.items() if key.isprintable()})

    with a_run(tmp_path_factory) as folder:
        change_trial(folder, change, row)
        ends_well([*command.split(), "--results-dir", "."], capsys)


# --- command lines

LINES = {
    "search --dry-run": "space data trials epochs recipe searcher seed-with seeds objectives seed name",
    "cost network.json": "input classes",
    "show network.json": "trial plot",
    "show run": "trial plot",
    "pareto run": "objectives plot",
    "pareto": "objectives results-dir",
    "analyze run": "epochs",
    "analyze": "results-dir",
    "report": "results-dir",
    "compare": "results-dir",
    "runs": "results-dir",
    "spaces": "",
    "zoo": "input classes",
    "export --best --knee": "trial zoo to weights column results-dir",
    "train": "trial epochs seed device results-dir",
    "train run --data x": "trial epochs seed device",
    "": "",
}
"""Commands with the options that get values; none of them trains or exports, whatever these are."""
GOOD = {
    "space": ["plain_vs_residual", "run/space.yaml"],
    "data": [
        "digits?limit=100",
        "digits?limit=100&size=12",
        "shapes?limit=50",
        "folder:run",
        "npz:run/study.db",
    ],
    "trials": ["1", "3"],
    "epochs": ["1", "70"],
    "recipe": ["lr=0.1", "lr=0.1,epochs=2", "pad=0,flip=true", "precision=bfloat16"],
    "searcher": ["random", "optuna:tpe", "optuna:nsga2", "paired", "balanced"],
    "seed-with": ["resnet20", "resnet20,vgg11", "fractalnet20"],
    "seeds": ["1", "3"],
    "objectives": ["error", "error,params", "flops,activations", "peak_memory"],
    "workers": ["0", "2"],
    "seed": ["0", "4294967296"],
    "name": ["mine", "run"],
    "input": ["3x8x8", "1x64x64", "3x1x1"],
    "classes": ["2", "70000"],
    "trial": ["2", "99"],
    "plot": ["plot.png", "plot.svg", "run", "plot.txt"],
    "results-dir": [".", "run", "run/study.db"],
    "to": ["run", "out"],
    "device": ["cpu", "cuda:9", "meta"],
    "zoo": ["resnet18"],
    "column": ["deepest"],
    "weights": ["run/weights/6.safetensors", "run/study.db"],
}
BAD = st.one_of(
    words.filter(lambda word: "/" not in word and word.isprintable()),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), max_size=20),
    st.sampled_from(
        ["0", "-1", "99999", "1" * 5000, "0x0x0", "3x8", "1e3", "nan", "٣", ".", "..", "{x}", "a?b", "#"]
    ),
    st.sampled_from(
        ["lr=nan", "lr=1e999", "epochs=0", "epochs=" + "9" * 5000, "flip=2", "pad=true", "lr=1,lr=1"]
    ),
    st.sampled_from(
        ["digits?limit=0", "digits?size=9999", "digits?limit=" + "9" * 5000, "digits?x", "x:y", "?"]
    ),
    st.sampled_from(
        ["error,error", "optuna:x", "resnet20,resnet20", "latest", "plain_vs_residul", "run,", ","]
    ),
)


@given(line=st.sampled_from(list(LINES)), data=st.data())
@fuzz
def test_any_command_line(tmp_path_factory, capsys, monkeypatch, line, data):
    # which trains for some batches
    monkeypatch.setattr("nas.controller.dry_run._training_seconds", lambda *_: 0.0)
    arguments = line.split()
    names = [f"--{name}" for name in LINES[line].split()]
    for option in data.draw(st.lists(st.sampled_from(names), max_size=4, unique=True)) if names else ():
        arguments += [option, data.draw(st.sampled_from(GOOD[option[2:]]) | BAD)]
    if not line or line in ("pareto", "analyze", "report", "compare", "spaces", "zoo", "train"):
        arguments.append(data.draw(BAD))
    with a_run(tmp_path_factory, "network.json", "plot.png", "plot.svg") as folder:
        (folder.path.parent / "network.json").write_text((DATA / "genotype-v1.json").read_text())
        ends_well(arguments, capsys, codes=(0, 2, 3))
