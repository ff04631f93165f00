"""Encoded images as tensors: torchvision where it reads a format right, otherwise Pillow."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mlgraph.errors import ConfigError, DataError, did_you_mean

Mode = Literal["RGB", "L", "RGBA", "LA", "unchanged"]
CHANNELS: dict[str, int | str] = {"RGB": 3, "L": 1, "RGBA": 4, "LA": 2, "unchanged": "channels"}


def check_mode(mode: str, background: str | None) -> None:
    """Refuse what is no mode, and a background where nothing is put on it.

    Raises:
        ConfigError: There is no such mode, or the background is not for it.

    >>> check_mode("RGB", "white")
    """
    if mode not in get_args(Mode):
        raise ConfigError(
            f"mode={mode!r} is not a mode of images.",
            why="it is 'RGB', 'L', 'RGBA', 'LA' or 'unchanged'",
            mend=did_you_mean(mode, get_args(Mode)),
        )
    if background is not None and mode != "RGB":
        raise ConfigError(
            f"background={background!r} needs mode='RGB'.",
            why=f"in mode {mode!r} what is transparent stays so",
        )


def decoder(mode: str, background: str | None = None) -> Callable[[Tensor], Tensor]:
    """A function that makes an image of the bytes of a file.

    Args:
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        background: Colour on which what is transparent is put; without, transparency is dropped.

    Shape:
        returns: a function of ``(bytes,)`` uint8 that gives ``(channels, height, width)`` uint8.

    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (5, 4)).save(file, "PNG")
    >>> decoder("L")(torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)).shape
    torch.Size([1, 4, 5])
    """
    if background is not None:
        return _on(background)
    read, number = _torchvision(), _TORCHVISION.get(mode)

    def decode(data: Tensor) -> Tensor:
        if read is None or number is None or not _is_read_right(data, mode):
            return _pillow(data, mode)
        image = read(data, number)
        if image.dim() == 4:  # the first picture of a moving one
            image = image[0]
        if image.dtype == torch.uint16 and mode != "unchanged":
            image = (image.to(torch.int32) >> 8).to(torch.uint8)
        return image

    return decode


def cause(problem: Exception) -> str:
    """What a library says about an image, without where in its sources it says so.

    >>> cause(RuntimeError("decode_png, /src/decode_png.cpp:19, Content is not png"))
    'Content is not png'
    """
    text = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
    text = re.sub(r"^(\[Enforce fail[^]]*\]\s*)?[\w()]+, /\S+:\d+,\s*", "", text)
    return re.sub(r"<_io\.BytesIO object at \w+>", "these bytes", text)


def of_pillow(image: Any, mode: str = "unchanged") -> Tensor:
    """An image of Pillow as a tensor, shape ``(channels, height, width)``, mostly uint8.

    Of 16 bits the upper 8 are taken, unless ``mode`` is ``"unchanged"``.

    Raises:
        DataError: The mode has 8 bits, and the image has 32: nothing says from where to where.

    >>> from PIL import Image
    >>> of_pillow(Image.new("P", (5, 4))).shape
    torch.Size([3, 4, 5])
    """
    if mode == "unchanged":
        transparent = "transparency" in image.info
        mode = {"P": "RGBA" if transparent else "RGB", "1": "L", "CMYK": "RGB"}.get(
            image.mode, image.mode
        )
    if mode != image.mode and image.mode.startswith(("I", "F")):  # Pillow would cut them off
        image = _of_8_bits(image, mode)
    array = np.array(image if image.mode == mode else image.convert(mode))
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(array)
    return tensor[None] if tensor.dim() == 2 else tensor.permute(2, 0, 1).contiguous()


def _of_8_bits(image: Any, mode: str) -> Any:
    """A grey image of 16 bits with the upper 8 of them."""
    from PIL import Image

    if not image.mode.startswith("I;16"):
        name = "float32" if image.mode == "F" else "int32"
        raise DataError(
            f"Pixels of {name} cannot become 8 bits, as mode {mode!r} has them.",
            why="nothing says which of their values are black and white",
            mend=f'read them as they are, lazy(..., mode="unchanged", dtype=torch.{name})',
        )
    return Image.fromarray((np.array(image) >> 8).astype(np.uint8))


def _is_read_right(data: Tensor, mode: str) -> bool:
    """Whether torchvision reads this format as asked for."""
    head = bytes(data[:32].tolist())
    if head.startswith(b"\x89PNG"):
        depth, colours = head[24:25], head[25:26]
        return mode in ("RGB", "L") or (depth >= b"\x08" and colours != b"\x03" and mode != "LA")
    if head.startswith(b"\xff\xd8"):
        return mode in ("RGB", "L")
    return mode == "RGB" and (head[:4] == b"GIF8" or head[8:12] == b"WEBP")


def _torchvision() -> Callable[[Tensor, int], Tensor] | None:
    """The operator itself: its function in torchvision.io warns that it will go one day."""
    import torchvision.io  # noqa: F401

    return getattr(torch.ops.image, "decode_image", None)


def _pillow(data: Tensor, mode: str) -> Tensor:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data.numpy().tobytes())) as image:
            return of_pillow(image, mode)


def _on(background: str) -> Callable[[Tensor], Tensor]:
    from PIL import ImageColor

    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError as problem:
        raise ConfigError(f"background={background!r} is not a colour.") from problem
    below = torch.tensor(colour, dtype=torch.int32)[:, None, None]
    opaque, layered = decoder("RGB"), decoder("RGBA")

    def decode(data: Tensor) -> Tensor:
        if bytes(data[:2].tolist()) == b"\xff\xd8":
            return opaque(data)
        image = layered(data).to(torch.int32)
        alpha = image[3:]
        mixed = image[:3] * alpha + below * (255 - alpha)
        return ((mixed + 127) // 255).to(torch.uint8)

    return decode


# The modes as torchvision numbers them.
_TORCHVISION = {"unchanged": 0, "L": 1, "RGB": 3, "RGBA": 4}
