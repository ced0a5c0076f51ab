"""predict.py and nas predict read an image pixel for pixel as the reader of training data does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import load_data
from nas.data.images import decode
from nas.errors import NasError
from nas.exporters import predict_script
from nas.exporters.predict import GREYED, RESIZED, find_images, read_pixels
from nas.exporters.preprocessing import LEAST_STD, Preprocessing, fit_of, normalisation
from nas.training.augment import Normalizer

SIZE = (20, 24)
COLOUR = (
    "rgb.png",
    "photo.jpg",
    "turned.jpg",
    "rgba.png",
    "palette.gif",
    "cmyk.jpg",
    "mirrored.tif",
    "frames.gif",
)
GREY = ("grey.png", "bits.png", "alpha.png", "deep.png", "deep.tif", "float.tif")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in every mode that is read, of 31 x 45 pixels."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(256, size=(31, 45, 3), dtype=np.uint8))
    grey = colour.convert("L")
    transparent = colour.convert("RGBA")
    transparent.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    mirror = Image.Exif()
    mirror[0x0112] = 2
    colour.save(folder / "rgb.png")
    colour.save(folder / "photo.jpg")
    colour.save(folder / "turned.jpg", exif=exif)
    colour.save(folder / "mirrored.tif", exif=mirror)
    transparent.save(folder / "rgba.png")
    colour.quantize(16).save(folder / "palette.gif", transparency=3)
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    grey.save(folder / "grey.png")
    grey.convert("1").save(folder / "bits.png")
    transparent.convert("LA").save(folder / "alpha.png")
    deep = rng.integers(65536, size=(31, 45), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep.astype(np.int32)).save(folder / "deep.tif")
    Image.fromarray(rng.random((31, 45), dtype=np.float32)).save(folder / "float.tif")
    grey.save(folder / "frames.gif", save_all=True, append_images=[grey.rotate(90)])
    return folder


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("name", [*COLOUR, *GREY])
def test_pixels_are_those_of_the_training(images: Path, name: str, fit: str) -> None:
    picture = decode(images / name, SIZE, name, fit)  # type: ignore[arg-type]
    grey = picture.pixels.ndim == 2
    expected = np.stack([picture.pixels] * 3) if grey else picture.pixels.transpose(2, 0, 1)
    about = {"input_shape": [3, *SIZE], "mean": [0.5] * 3, "std": [0.25] * 3, "fit": fit}
    facts = Preprocessing.of(about)
    assert facts is not None
    assert np.array_equal(predict_script.read_pixels(images / name, about).numpy(), expected)
    pixels, changes = read_pixels(images / name, facts)
    assert np.array_equal(pixels, expected)
    assert changes == (*picture.changes, RESIZED)
    if name in GREY:
        one = about | {"input_shape": [1, *SIZE], "mean": [0.5], "std": [0.25]}
        assert np.array_equal(predict_script.read_pixels(images / name, one).numpy()[0], picture.pixels)


def test_colour_is_turned_to_grey_for_a_grey_network_and_said_unless_nothing_is_lost(
    images: Path, tmp_path: Path
) -> None:
    facts = Preprocessing((31, 45), 1, (0.5,), (0.25,))
    grey = np.asarray(Image.open(images / "grey.png"))
    Image.open(images / "grey.png").convert("RGB").save(tmp_path / "same.png")
    for name, changes in ((tmp_path / "same.png", ()), (images / "rgb.png", (GREYED,))):
        pixels, said = read_pixels(name, facts)
        assert said == changes
        assert np.array_equal(pixels[0], grey)
        about = {"input_shape": [1, 31, 45]}
        assert np.array_equal(predict_script.read_pixels(name, about)[0].numpy(), grey)


def test_inputs_are_those_of_the_training_to_the_last_bit() -> None:
    dataset = load_data("digits?limit=200")
    about = {"input_shape": list(dataset.input_shape), **normalisation(dataset.mean, dataset.std)}
    pixels = torch.tensor(dataset.val_images)
    expected = Normalizer(dataset, torch.device("cpu"))(pixels.permute(0, 2, 3, 1))
    facts = Preprocessing.of(about)
    assert facts is not None
    assert torch.equal(facts.normalise(pixels), expected)
    assert torch.equal(predict_script.normalise(pixels, about), expected)


def test_a_channel_without_contrast_is_divided_by_one_grey_level() -> None:
    assert normalisation([0.5], [0.0])["std"] == [LEAST_STD]
    pixels = torch.full((1, 1, 2, 2), 128, dtype=torch.uint8)
    assert predict_script.normalise(pixels, {"mean": [127 / 255], "std": [0.0]}).flatten()[0] == 1


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(NasError, match=r"text\.png: not a readable image"):
        read_pixels(tmp_path / "text.png", Preprocessing((8, 8), 1, (0.5,), (0.25,)))


@pytest.mark.parametrize(("spec", "fit"), [("digits", "crop"), ("photos?size=8&fit=pad", "pad")])
def test_the_fit_is_that_of_the_data(spec: str, fit: str) -> None:
    assert fit_of(spec) == fit


def test_the_script_needs_torch_and_pillow_alone() -> None:
    script = f"import runpy, sys; runpy.run_path({predict_script.__file__!r}); print(*sys.modules)"
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in ("numpy", "safetensors", "nas"))
    command = [sys.executable, "-I", "-W", "ignore", "-c", f"import sys; {blocked}{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"torch", "PIL"} <= set(done.stdout.split())


def test_pictures_that_nas_wrote_are_no_images_to_predict(tmp_path: Path) -> None:
    trained, photo = tmp_path / "trained", tmp_path / "photo.png"
    trained.mkdir()
    for name in ("network.py", "config.json"):
        (trained / name).touch()
    Image.new("L", (8, 8)).save(photo)
    Image.new("L", (8, 8)).save(trained / "curve.png")
    assert list(find_images([tmp_path])) == [photo]
    with pytest.raises(NasError, match="holds no images, only pictures that nas wrote"):
        list(find_images([trained]))
    assert list(find_images([trained / "curve.png"])) == [trained / "curve.png"]  # named, and so meant
