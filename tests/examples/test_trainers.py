"""Other trainers on an exported file, where they are installed."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from testing.paths import ROOT

from nas.codegen.network_name import class_of
from nas.codegen.source import source
from nas.modules import ConvStem, PoolHead, Residual
from nas.space.genotype import Genotype, Node, expand


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file and the config of a small network for other images than it is trained on."""
    genotype = Genotype(ConvStem(8), (Node("a", Residual(8), ("stem",)),), PoolHead())
    text = source(expand(genotype, (3, 32, 32), 100))
    (tmp_path / "network.py").write_text(text)
    (tmp_path / "config.json").write_text(json.dumps({"class": class_of(text)}))
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", ["lightning", "accelerate"])
def test_an_exported_network_is_trained(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(package)
    script = ROOT / "examples" / f"{package}_training.py"
    monkeypatch.setattr(sys, "argv", [script.name, str(folder), "--epochs", "3"])
    error = runpy.run_path(str(script))["main"]()
    assert error < 0.8  # 0.9 by chance
    network = runpy.run_path(str(folder / "network.py"))["ResNet4"](10, 1)
    network.load_state_dict(torch.load(folder / f"{package}.pth"))
