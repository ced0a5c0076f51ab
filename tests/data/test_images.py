"""Pixels as they are meant: depth, floats, orientation, transparency, palettes, frames."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from testing.images import write_folder

from nas.data import load_data
from nas.data.images import decode, decode_pair, quiet_decoders
from nas.errors import NasError

RAMP = np.linspace(0, 65535, 32 * 32).reshape(32, 32)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(image, kind="PNG", **options):
    with quiet_decoders():
        return decode(saved(image, kind, **options), None, "here")


@pytest.mark.parametrize(
    ("dtype", "kind"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("<i4", "TIFF"), ("<u2", "PPM")]
)
def test_sixteen_bits_are_scaled(dtype, kind):
    values = np.rint(RAMP).astype(dtype)
    mode = {"<u2": "I;16", ">u2": "I;16B", "<i4": "I"}[dtype]
    picture = read(Image.frombytes(mode, (32, 32), values.tobytes()), kind)
    assert picture.pixels.shape == (32, 32)
    assert picture.pixels.mean() == pytest.approx(127.5, abs=0.1)
    np.testing.assert_array_equal(picture.pixels, np.rint(values / 257).astype(np.uint8))
    assert "scaled to 8" in picture.changes[0]


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000]])
def test_integers_of_an_unknown_scale_are_refused(values):
    with pytest.raises(NasError, match="up to 65535 are read"):
        read(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF")


def test_floats_from_0_to_1_are_scaled():
    values = (RAMP / 65535).astype(np.float32)
    picture = read(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(picture.pixels, np.rint(values * 255).astype(np.uint8))


@pytest.mark.parametrize("values", [[0, 1.5], [-0.1, 1], [0, 255], [0, np.nan], [0, np.inf]])
def test_floats_of_an_unknown_scale_are_refused(values):
    with pytest.raises(NasError, match="only 0 to 1 are read"):
        read(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(orientation, kind):
    """The upright image is dark on the left and bright at the bottom."""
    upright = np.zeros((32, 48), dtype=np.uint8)
    upright[:, 24:], upright[16:] = 100, 200
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the reader undoes
    stored = Image.fromarray(upright).convert("RGB")
    if orientation in inverse:
        stored = stored.transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    picture = read(stored, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
    assert picture.size == (32, 48)
    np.testing.assert_allclose(picture.pixels[:, :, 0].astype(int), upright, atol=12)
    assert bool(picture.changes) == (orientation > 1)


def test_damaged_exif_data_turn_nothing():
    exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    picture = read(Image.new("RGB", (8, 4)), "JPEG", exif=exif)
    assert (picture.size, picture.changes) == ((4, 8), ())


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "bytes"])
    def test_it_is_laid_on_white(self, mode):
        """Black ink on a transparent ground; where alpha is ignored all is black."""
        alpha = np.full((8, 8), 0, dtype=np.uint8)
        alpha[2:4] = 255
        options = {}
        if mode in ("P", "bytes"):
            image = Image.fromarray((alpha > 0).astype(np.uint8), "P")
            image.putpalette([0, 0, 0, 0, 0, 0])
            options = {"transparency": 0 if mode == "P" else b"\x00\xff"}
        else:
            image = Image.new("RGBA", (8, 8))
            image.putalpha(Image.fromarray(alpha))
            image = image.convert("LA" if mode == "LA" else "RGBA")
        picture = read(image, "PNG", **options)
        assert picture.pixels.ndim == (2 if mode == "LA" else 3)
        pixels = picture.pixels if mode == "LA" else picture.pixels[:, :, 0]
        np.testing.assert_array_equal(pixels, 255 - alpha)
        assert picture.changes == ("transparency laid on white",)

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_a_colour_that_is_transparent_is_white(self, mode):
        image = Image.new(mode, (4, 4), 0 if mode == "L" else (0, 0, 0))
        image.putpixel((0, 0), 100 if mode == "L" else (100, 100, 100))
        picture = read(image, "PNG", transparency=0 if mode == "L" else (0, 0, 0))
        assert picture.pixels.reshape(16, -1)[:, 0].tolist() == [100] + [255] * 15

    def test_half_transparent_ink_is_half_as_dark(self):
        picture = read(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
        np.testing.assert_allclose(picture.pixels, 127, atol=1)

    def test_an_opaque_image_is_not_changed(self):
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = read(Image.fromarray(pixels).convert("RGBA"))
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.changes == ()


def test_cmyk_ycbcr_palette_and_one_bit_keep_their_colours():
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8], pixels[8:, 8:] = (255, 0, 0), (0, 0, 255)
    image = Image.fromarray(pixels)
    np.testing.assert_allclose(read(image.convert("CMYK"), "TIFF").pixels, pixels, atol=3)
    np.testing.assert_allclose(read(image.convert("YCbCr"), "TIFF").pixels, pixels, atol=3)
    np.testing.assert_array_equal(read(image.convert("P", palette=Image.Palette.ADAPTIVE)).pixels, pixels)
    np.testing.assert_array_equal(read(Image.new("1", (4, 4), 1)).pixels, np.full((4, 4), 255))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken_and_said(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.changes == ("first of several frames taken",)


def test_what_was_changed_is_counted_over_all_parts(tmp_path):
    for part, count in (("train", 6), ("test", 2)):
        write_folder(tmp_path / part, ["cat", "dog"], count=count, seed=count)
        for name in ("cat", "dog"):
            Image.new("RGBA", (8, 8), (9, 9, 9, 9)).save(tmp_path / part / name / "0.png")
    assert load_data(f"folder:{tmp_path}").full_reading.changes == {"transparency laid on white": 4}


def grey_png(path, values, bits):
    """Write a grey PNG whose pixels have so many bits each."""
    rows = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in values
    )
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_values_of_a_mask_are_its_classes_whatever_their_bits(tmp_path, bits):
    classes = np.random.default_rng(0).integers(0, min(2**bits, 8), (6, 8)).astype(np.uint8)
    grey_png(tmp_path / "mask.png", classes, bits)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "image.png")
    pair = decode_pair(tmp_path / "image.png", tmp_path / "mask.png", None)
    assert (pair.mask == classes).all()


def test_a_mask_of_a_format_that_changes_values_is_refused(tmp_path):
    for name in ("image.png", "mask.jpg"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    with pytest.raises(NasError, match="JPEG has changed"):
        decode_pair(tmp_path / "image.png", tmp_path / "mask.jpg", None)
