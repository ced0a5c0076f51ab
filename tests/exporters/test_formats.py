"""Networks as ONNX, torch.export program, Hugging Face folder and timm model: each verified after writing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from testing.exports import CONFIG, make_trial, trained_weights

import nas
from nas.cli import run as command_line
from nas.codegen.build import build
from nas.errors import NasError
from nas.exporters.formats import FORMATS, hf, load_formats, timm
from nas.exporters.run import export_trials

PTH_FORMAT = """
PACKAGES = ()


def write(folder, network, images):
    import torch

    torch.save(network.state_dict(), folder / "model.pth")


def runners(folder):
    import json, runpy
    import torch

    state = torch.load(folder / "model.pth", weights_only=True)
    name = json.loads((folder / "config.json").read_text())["class"]
    network = runpy.run_path(str(folder / "network.py"))[name](num_classes=10, in_chans=1)
    network.load_state_dict(state)
    return {"pth": network.eval()}
"""
NAMES = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export of a network in every format that needs no package but onnx. The name of its data, a
    stranger's word, is a program that the card must not run."""
    folder, trial = tmp_path_factory.mktemp("exported?to=a#b%41"), make_trial(0)
    data = f"digits\n```python\nopen({str(folder / 'canary')!r}, 'w')\n```\n"
    config = CONFIG.model_copy(update={"classes": tuple(NAMES), "data": data})
    (done,) = export_trials(
        [trial], folder, config, {0: trained_weights(trial)}, formats=["onnx", "pt2", "hf"]
    )
    return done


@pytest.mark.slow
def test_every_format_computes_what_the_network_does(exported):
    assert {path.name for path in exported.folder.iterdir()} == {
        *("network.py", "config.json", "README.md", "model.safetensors", "model.onnx", "model.pt2"),
        *("predict.py", "configuration_nas.py", "modeling_nas.py", "image_processing_nas.py"),
        "preprocessor_config.json",
    }
    assert set(exported.formats) == {"onnx", "onnxruntime", "pt2", "hf", "predict.py"}
    assert max(exported.formats.values()) <= 1e-5
    assert {"Load", "ONNX", "torch.export", "From the Hugging Face hub"} <= set(exported.lines)
    assert max(exported.lines.values()) <= 1e-5


@pytest.mark.slow
def test_text_in_a_card_is_not_run(exported):
    assert "canary" in (exported.folder / "README.md").read_text()
    assert not (exported.folder.parent / "canary").exists()


@pytest.mark.slow
def test_the_onnx_file_is_whole_and_takes_any_number_of_images(exported):
    onnx = pytest.importorskip("onnx", reason="pip install 'nas-modules[onnx]'")
    model = onnx.load(exported.folder / "model.onnx", load_external_data=False)
    for value, size in ((model.graph.input[0], [1, 8, 8]), (model.graph.output[0], [10])):
        batch, *rest = value.type.tensor_type.shape.dim
        assert batch.dim_param
        assert [dim.dim_value for dim in rest] == size
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


@pytest.mark.slow
def test_the_hub_finds_names_and_metadata(exported):
    folder = exported.folder
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"]["3"] == "3"
    assert (config["num_labels"], config["num_channels"], config["image_size"]) == (10, 1, 8)
    _, front, card = (folder / "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["pipeline_tag"] == "image-classification"
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.9375}]
    assert len(hub_lines(card).splitlines()) == 6
    hub = pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")
    hub.ModelCard.load(folder / "README.md").data.to_dict()


def hub_lines(card: str) -> str:
    """The code of the card for the hub of Hugging Face."""
    return card.split("## From the Hugging Face hub\n\n```python\n")[1].split("```")[0]


PREDICT = """
import json, torch
images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
with torch.no_grad():
    print(json.dumps(network(images).tolist()))
"""


@pytest.mark.slow
def test_the_lines_of_the_card_predict_what_the_network_does(exported):
    import torch
    from safetensors.torch import load

    trial = make_trial(0)
    network = nas.build(trial.genotype, (1, 8, 8), 10)
    network.load_state_dict(load(trained_weights(trial)))
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = network.eval()(images)
        assert not torch.allclose(network.train()(images), expected, atol=0.01)  # the batch's own statistics
    card = (exported.folder / "README.md").read_text().split("---\n", 2)[2]
    lines = hub_lines(card)
    command = [sys.executable, "-I", "-B", "-c", lines + PREDICT]
    done = subprocess.run(command, cwd=exported.folder, capture_output=True, text=True, check=True)
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_verification_runs_the_lines_of_the_card_as_they_are_written(tmp_path, monkeypatch):
    """Lines without `network.eval()` are found out: the verification adds none."""
    faulty = tmp_path / "hf.py"
    faulty.write_text(Path(hf.__file__).read_text().replace("network.eval()\n", ""))
    spec = importlib.util.spec_from_file_location("nas.exporters.formats.faulty", faulty)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(hf, "blocks", module.blocks)
    trial = make_trial(0)
    with pytest.raises(NasError, match=r"the card's lines, From the Hugging Face hub differ by"):
        export_trials([trial], tmp_path / "out", CONFIG, {0: trained_weights(trial)}, formats=["hf"])
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_networks_with_masks_are_exported_too(tmp_path):
    from dataclasses import replace

    from nas.graph.cost import cost
    from nas.study.trial import Proposal

    space = nas.load_space("fcn_heads").with_input((3, 16, 16), 4)
    genotype = space.sample(1)
    figures = cost(nas.expand(genotype, (3, 16, 16), 4))
    trial = replace(make_trial(0), proposal=Proposal(genotype, "random"), cost=figures)
    config = CONFIG.model_copy(update={"input_shape": (3, 16, 16), "num_classes": 4})
    network = nas.build(genotype, (3, 16, 16), 4)
    from safetensors.torch import save

    (done,) = export_trials(
        [trial], tmp_path, config, {0: save(network.state_dict())}, formats=["onnx", "hf"]
    )
    assert max(done.formats.values()) <= 1e-5
    assert "image-segmentation" in (done.folder / "README.md").read_text()


def test_weights_are_needed(tmp_path):
    with pytest.raises(NasError, match="trial 0: no weights to write as pt2"):
        export_trials([make_trial(0)], tmp_path, CONFIG, {}, formats=["pt2"])


@pytest.mark.parametrize("name", FORMATS)
def test_command_line_and_guide_read_the_list_of_formats(name, capsys):
    assert command_line(["export", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"{name}: {FORMATS[name]}" in text
    guide = Path(__file__).parents[2] / "docs" / "how_to" / "other_tools.md"
    assert f"| `{name}` | {FORMATS[name]}" in guide.read_text()


@pytest.mark.slow
def test_a_format_is_a_file_and_a_line_of_the_list_and_what_computes_otherwise_is_refused(
    tmp_path, monkeypatch
):
    """A format that only this test knows is written and verified like the others."""
    file = tmp_path / "pth.py"
    trial, to = make_trial(0), tmp_path / "out"
    monkeypatch.setitem(FORMATS, "pth", "a state dict")
    for text in (PTH_FORMAT.replace('{"pth": network.eval()}', '{"pth": network}'), PTH_FORMAT):
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("nas.exporters.formats.pth", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, "nas.exporters.formats.pth", module)
        if text != PTH_FORMAT:
            with pytest.raises(NasError, match=r"trial 0: .* outputs of pth differ by"):
                export_trials([trial], to, CONFIG, {0: trained_weights(trial)}, formats=["pth"])
            assert not list(to.iterdir())
    (done,) = export_trials([trial], to, CONFIG, {0: trained_weights(trial)}, formats=["pth"])
    assert done.formats["pth"] <= 1e-5
    assert (done.folder / "model.pth").is_file()


def test_an_unknown_format_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(NasError, match="did you mean 'onnx'"):
        load_formats(["onx"])
    monkeypatch.setattr("nas.plugins.find_spec", lambda package: None)
    with pytest.raises(NasError, match=r"onnx: not installed: onnx, .*\n.*pip install 'nas-modules\[onnx\]'"):
        load_formats(["hf", "onnx"])


@pytest.mark.slow
def test_the_command_exports_the_form_that_was_asked_for(tmp_path, capsys):
    import torch

    asked = ["export", "--zoo", "resnet20", "--fold-bn", "--format", "pt2", "--to", str(tmp_path)]
    assert command_line(asked) == 0
    assert "by pt2: outputs differ by" in capsys.readouterr().out
    program = torch.export.load(tmp_path / "resnet20-folded" / "model.pt2")
    assert "conv2d" in program.graph_module.code
    assert "batch_norm" not in program.graph_module.code


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ({}, ["'crop_pct': 1.0,", "'interpolation': 'bicubic',", "'crop_mode': 'center',"]),
        ({"zoo": "resnet18"}, ["'crop_pct': 1.0,", "'interpolation': 'bicubic',"]),  # trained on other images
        (
            {"zoo": "resnet18", "weights_file": "a.pth"},
            ["'crop_pct': 0.875,", "'interpolation': 'bilinear',"],
        ),
        ({"zoo": "efficientnet_b0", "weights_file": "a.pth"}, ["'interpolation': 'bicubic',"]),
        ({"fit": "pad"}, ["'crop_mode': 'border',", "padded with black"]),
    ],
)
def test_timm_prepares_images_as_the_weights_expect_them(tmp_path, entries, shown):
    network = build(make_trial(0).genotype, (1, 8, 8), 10)
    about = {"name": "mine", "class": "Net", "num_classes": 10, **entries}
    (tmp_path / "config.json").write_text(json.dumps(about))
    timm.write(tmp_path, network.eval(), torch.zeros(1, 1, 8, 8))
    text = (tmp_path / timm.FILE).read_text()
    compile(text, timm.FILE, "exec")
    assert all(part in text for part in shown)
    assert ("padded with black" in text) == ("fit" in entries)


def timm_or_skip():
    try:
        import timm
    except ImportError:
        pytest.skip("timm is not installed; it needs torchvision, which this torch may have no build for")
    except RuntimeError as error:
        pytest.skip(f"timm cannot be imported: {error}")
    return timm


@pytest.mark.slow
def test_timm_makes_the_network_and_its_backbone(tmp_path, monkeypatch):
    import torch

    timm = timm_or_skip()
    trial = make_trial(0)
    (done,) = export_trials([trial], tmp_path, CONFIG, {0: trained_weights(trial)}, formats=["timm"])
    assert done.formats["timm"] <= 1e-5
    monkeypatch.syspath_prepend(str(done.folder))
    (name,) = importlib.import_module("timm_model").__all__
    images = torch.rand(2, 1, 8, 8)
    options = {"drop_rate": 0.1, "global_pool": "avg"}  # what timm's training script passes
    network = timm.create_model(name, pretrained=True, num_classes=5, **options).eval()
    assert network.drop_rate == 0.1
    assert network(images).shape == (2, 5)
    kept = timm.create_model(name, pretrained=True).state_dict()
    assert all(
        torch.equal(value, kept[key]) for key, value in network.stage1.state_dict(prefix="stage1.").items()
    )
    backbone = timm.create_model(name, pretrained=True, features_only=True).eval()
    assert [found.shape[2] for found in backbone(images)] == [8, 4, 2]
    assert backbone.feature_info.reduction() == [1, 2, 4]
