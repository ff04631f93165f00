import io

import numpy as np
import pytest
import torch
from PIL import Image

from mlgraph.data.lazy.decode import decoder
from mlgraph.errors import ConfigError, DataError

RANDOM = np.random.default_rng(0)
RGB = Image.fromarray(RANDOM.integers(0, 256, (8, 5, 3), dtype=np.uint8))
RGBA = Image.fromarray(RANDOM.integers(0, 256, (8, 5, 4), dtype=np.uint8))
PICTURES = {
    "colour": (RGB, "PNG", {}),
    "transparent": (RGBA, "PNG", {}),
    "palette": (RGB.quantize(16), "PNG", {}),
    "transparent palette": (RGB.quantize(16), "PNG", {"transparency": 3}),
    "grey": (RGB.convert("L"), "PNG", {}),
    "grey and transparent": (RGBA.convert("LA"), "PNG", {}),
    "black and white": (RGB.convert("1"), "PNG", {}),
    "jpeg": (RGB, "JPEG", {}),
    "grey jpeg": (RGB.convert("L"), "JPEG", {}),
    "print": (RGB.convert("CMYK"), "JPEG", {}),
    "gif": (RGB.quantize(16), "GIF", {}),
    "webp": (RGB, "WEBP", {"lossless": True}),
    "transparent webp": (RGBA, "WEBP", {"lossless": True}),
    "bmp": (RGB, "BMP", {}),
    "tiff": (RGB, "TIFF", {}),
}


def _bytes(picture):
    image, kind, options = PICTURES[picture]
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _decoded(data, mode, background=None):
    return decoder(mode, background)(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def _expected(data, mode):
    array = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_every_format_is_read_as_pillow_reads_it(picture, mode):
    data = _bytes(picture)
    found, expected = _decoded(data, mode), _expected(data, mode)
    assert found.dtype == torch.uint8 and found.shape == expected.shape
    # The two libraries round grey differently, and jpeg has a grey channel of its own.
    near = 0 if mode in ("RGB", "RGBA") else 8 if "JPEG" in PICTURES[picture] else 1
    assert np.abs(found.numpy().astype(int) - expected).max() <= near


@pytest.mark.parametrize(("picture", "channels"), [("grey", 1), ("transparent", 4), ("palette", 3)])
def test_unchanged_keeps_the_channels_there_are(picture, channels):
    assert _decoded(_bytes(picture), "unchanged").shape == (channels, 8, 5)


def test_a_palette_is_never_read_as_its_numbers():
    data = _bytes("palette")
    assert np.array_equal(_decoded(data, "unchanged").numpy(), _expected(data, "RGB"))


def test_sixteen_bits_become_eight_unless_unchanged():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(file, "PNG")
    assert _decoded(file.getvalue(), "L").tolist() == [[[0, 0, 1, 255]]]
    assert _decoded(file.getvalue(), "RGB").dtype == torch.uint8
    assert _decoded(file.getvalue(), "unchanged").dtype == torch.uint16


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_of_sixteen_bits_the_upper_eight_are_taken_in_any_format_and_mode(kind, mode):
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(file, kind)
    found = _decoded(file.getvalue(), mode)
    assert found.dtype == torch.uint8 and found[0].tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("name", ["float32", "int32"])
def test_thirty_two_bits_do_not_become_eight(name):
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 1, 70000]], dtype=name)).save(file, "TIFF")
    with pytest.raises(DataError, match=f"{name} cannot become 8 bits") as told:
        _decoded(file.getvalue(), "RGB")
    assert f'mode="unchanged", dtype=torch.{name}' in told.value.mend
    assert _decoded(file.getvalue(), "unchanged").tolist() == [[[0, 1, 70000]]]


def test_of_a_moving_picture_the_first_is_read():
    file, still = io.BytesIO(), RGB.quantize(16)
    still.save(file, "GIF", save_all=True, append_images=[still.rotate(180)])
    assert np.array_equal(_decoded(file.getvalue(), "RGB"), _expected(file.getvalue(), "RGB"))


@pytest.mark.parametrize("picture", ["transparent", "transparent palette", "colour", "jpeg", "gif"])
def test_what_is_transparent_is_put_on_the_background(picture):
    data = _bytes(picture)
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    below = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(below, image).convert("RGB")).transpose(2, 0, 1)
    found = _decoded(data, "RGB", "white").numpy()
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_background_needs_colours():
    with pytest.raises(ConfigError, match="needs mode='RGB'"):
        from mlgraph.data.lazy.decode import check_mode

        check_mode("L", "white")
    with pytest.raises(ConfigError, match="is not a colour"):
        decoder("RGB", "wheat-ish")
