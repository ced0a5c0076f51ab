"""Classify images, or their pixels, with the network of this folder. It needs torch and Pillow alone.

    python predict.py IMAGE... [--top K] [--json] [--device NAME] [--to FOLDER]

Images are turned as EXIF says, brought to the size of the training and normalised exactly as in training. A
network that classifies pixels writes a mask of each image to FOLDER (predicted_masks by default), a PNG whose
values are class indices. In Python: `load()` returns the network, `read(path)` its input,
`predict(network, images)` probabilities.
"""

import argparse
import contextlib
import importlib.util
import json
import struct
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
ORIENTATION = 0x0112


def config() -> dict[str, Any]:
    """Return the config.json of the folder: sizes, class names, mean and standard deviation."""
    about: dict[str, Any] = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    return about


def load() -> nn.Module:
    """Return the network with its weights, in evaluation mode."""
    about = config()
    spec = importlib.util.spec_from_file_location("network", FOLDER / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cls = getattr(module, about["class"])
    network: nn.Module = cls(num_classes=about["num_classes"], in_chans=about["input_shape"][0])
    network.load_state_dict(read_safetensors(FOLDER / "model.safetensors"))
    return network.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: the length of a JSON header, the header, and raw values."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = torch.frombuffer(bytearray(data[start:end]), dtype=DTYPES[entry["dtype"]])
        tensors[name] = values.view(entry["shape"])
    return tensors


def read(path: str | Path, about: Mapping[str, Any] | None = None) -> Tensor:
    """Return the input of the network for one image file, float32 (channels, height, width)."""
    about = about or config()
    return normalise(read_pixels(path, about), about)


def read_pixels(path: str | Path, about: Mapping[str, Any]) -> Tensor:
    """Return an image file as uint8 (channels, height, width), see `pixels_of`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF data
        with Image.open(path, formats=FORMATS) as image:
            return pixels_of(image, about)


def pixels_of(image: Image.Image, about: Mapping[str, Any]) -> Tensor:
    """Return a Pillow image as uint8 (channels, height, width), turned and resized as in training."""
    channels, height, width = about["input_shape"]
    image = to_8_bits(upright(image))
    if channels == 1 and image.mode == "RGB":
        image = image.convert("L")
    image = resize(image, (width, height), about.get("fit", "crop"))
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = values.view(height, width, -1).permute(2, 0, 1)
    return pixels.expand(channels, height, width).contiguous()


def upright(image: Image.Image) -> Image.Image:
    """Return the image, turned or mirrored as its EXIF orientation says."""
    orientation = 1
    with contextlib.suppress(Exception):  # damaged EXIF data say nothing
        orientation = image.getexif().get(ORIENTATION, 1)  # before loading, which turns TIFF
    image.load()
    if orientation not in range(2, 9):
        return image
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB; transparency is laid on white."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = torch.frombuffer(bytearray(image.convert("I").tobytes()), dtype=torch.int32)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integers outside 0 to 65535 are not read")
        return from_values((values.double() / 257).round(), image.size)
    if image.mode == "F":
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.float32)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("floats outside 0 to 1 are not read")
        return from_values((values * 255).round(), image.size)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if min(layer.getchannel("A").tobytes()) < 255:
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, layer).convert(mode)
    return image.convert(mode)


def from_values(values: Tensor, size: tuple[int, int]) -> Image.Image:
    """Return a grey image of these values, given row by row."""
    return Image.frombytes("L", size, bytes(values.to(torch.uint8).tolist()))


def resize(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """Bring an image to (width, height): its middle is cropped, or it is squashed, or padded with black."""
    if image.size == size:
        return image
    if fit == "squash":
        return image.resize(size, Image.Resampling.BICUBIC)
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    inner = ImageOps.contain(image, size, Image.Resampling.BICUBIC)
    padded = Image.new(image.mode, size, 0)
    padded.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return padded


def normalise(pixels: Tensor, about: Mapping[str, Any]) -> Tensor:
    """Return float32 inputs of uint8 pixels (..., channels, height, width)."""
    mean = 255 * torch.tensor(about["mean"]).view(-1, 1, 1)
    scale = 1 / (255 * torch.tensor(about["std"])).clamp(min=1).view(-1, 1, 1)
    return (pixels.float() - mean) * scale


def predict(network: nn.Module, images: Tensor) -> Tensor:
    """Return the probabilities of the classes, (n, classes), of inputs (n, channels, height, width).

    A network that classifies pixels gives (n, classes, height, width).
    """
    with torch.inference_mode():
        scores: Tensor = network(images)
        return scores.softmax(1)


def palette() -> list[int]:
    """Return red, green and blue of 256 classes; as in Pascal VOC, neighbours differ and class 0 is black."""
    return [
        sum((i >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
        for i in range(256)
        for channel in range(3)
    ]


def to_image(mask: Tensor) -> Image.Image:
    """Return a mask (height, width) as an image whose values are class indices, shown in colours."""
    image = Image.frombytes("P", (mask.shape[1], mask.shape[0]), bytes(mask.flatten().tolist()))
    image.putpalette(palette())
    return image


def write_mask(scores: Tensor, path: str, folder: Path) -> tuple[Path, Tensor]:
    """Write the mask of an image; return its file, and the share of the pixels of each class."""
    mask, file = scores.argmax(0).cpu(), folder / f"{Path(path).stem}.png"
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        to_image(mask).save(stream, "PNG")
    return file, mask.flatten().bincount(minlength=len(scores)) / mask.numel()


def main() -> None:
    """Print the classes of images with their probabilities, or with their shares of the pixels."""
    parser = argparse.ArgumentParser(description="Classify images with the network of this folder.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes per image (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument(
        "--to", type=Path, default=Path("predicted_masks"), metavar="FOLDER", help="for masks"
    )
    asked = parser.parse_args()
    about, network = config(), load().to(asked.device)
    names = about.get("classes") or [f"class {i}" for i in range(about["num_classes"])]
    masks, broken = about.get("task") == "segmentation", 0
    for path in asked.images:
        try:
            image = read(path, about)
        except Exception as error:
            print(f"error: {path}: not a readable image: {error}", file=sys.stderr)
            broken += 1
            continue
        scores = predict(network, image[None].to(asked.device))[0]
        if masks:
            try:
                file, scores = write_mask(scores, path, asked.to)
            except OSError as error:
                print(f"error: {error}; name another folder by --to", file=sys.stderr)
                sys.exit(2)
        best = scores.topk(max(1, min(asked.top, len(names))))
        rows = [
            (names[i], share) for share, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        if asked.json:
            what, place = ("share", {"mask": str(file)}) if masks else ("probability", {})
            answers = [{"class": name, what: share} for name, share in rows]
            print(json.dumps({"image": path, **place, "predictions": answers}))
        else:
            shown = "  ".join(f"{name} {share:.1%}" for name, share in rows)
            print(f"{path}  {file}  {shown}" if masks else f"{path}  {shown}")
    sys.exit(2 if broken else 0)


if __name__ == "__main__":
    main()
