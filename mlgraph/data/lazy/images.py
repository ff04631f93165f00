"""What sources of encoded images have in common: how their bytes become tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from mlgraph.data.lazy.cast import cast
from mlgraph.data.lazy.decode import CHANNELS, check_mode, decoder
from mlgraph.data.lazy.source import Fetched, OnError, ReadFailure, Rows, Source, stacked_if
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, kw_only=True)
class Images(Source):
    """Encoded images, decoded when they are asked for.

    Args:
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        size: Height and width, where all images have the same; otherwise a name.
        background: Colour on which what is transparent is put; only for ``"RGB"``.
        on_error: Whether an image that cannot be read stops the run, or is left out and reported.
        channels: How many channels are promised; only for ``"unchanged"``.
        dtype: What pixels are converted to; without, all images must have 8 bits. Only for
            ``"unchanged"``.

    Raises:
        ConfigError: There is no such mode.

    >>> issubclass(Images, Source)
    True
    """

    mode: str = "RGB"
    size: tuple[int | str, int | str] | None = None
    background: str | None = None
    on_error: OnError = "raise"
    channels: int | None = None
    dtype: torch.dtype | None = None

    def __attrs_post_init__(self) -> None:
        check_mode(self.mode, self.background)

    @cached_property
    def spec(self) -> TensorSpec:
        sizes = self.size or ("height", "width")
        channels = self.channels or CHANNELS[self.mode]
        return TensorSpec(("batch", channels, *sizes), self.dtype or torch.uint8)

    @abstractmethod
    def encoded(self, rows: Rows) -> Iterator[Tensor]:
        """The bytes of each of these rows, ``(bytes,)`` uint8."""

    @abstractmethod
    def failure(self, row: int, problem: Exception) -> ReadFailure:
        """What to say of a row whose bytes cannot be read or decoded."""

    def fetch(self, rows: Rows) -> Fetched:
        decode, found = self._as_promised, []
        try:
            for data in self.encoded(rows):
                found.append(decode(data))
        except Exception as problem:
            raise self.failure(int(rows[len(found)]), problem) from problem
        return stacked_if(found, self.spec)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_decode"}

    @property
    def _reading(self) -> tuple[str, str, str]:
        """Of what, besides their bytes, the tensors depend."""
        promised = (self.size, self.channels, self.dtype)
        return self.mode, str(promised), str(self.background)

    def _as_promised(self, data: Tensor) -> Tensor:
        image = self._decode(data)
        if self.channels not in (None, len(image)):
            raise DataError(
                f"An image of {len(image)} channels is not one of {self.channels}.",
                mend='choose a mode that gives all images the same, such as mode="RGB"',
            )
        if self.dtype is not None:
            return cast(image, self.dtype)
        if image.dtype != torch.uint8:
            raise DataError(
                f"Pixels of {image.dtype} are not the uint8 that is expected.".replace(
                    "torch.", ""
                ),
                mend=f'give their type, lazy(..., mode="unchanged", dtype={image.dtype})',
            )
        return image

    @cached_property
    def _decode(self) -> Callable[[Tensor], Tensor]:
        return decoder(self.mode, self.background)


def unfit(row: int, image: str, problem: DataError) -> ReadFailure:
    """What to say of an image that could be decoded, and is not what was asked for.

    >>> print(unfit(3, "its image", DataError("It is grey.", mend="paint it")))
    its image is not as promised.
      why:   It is grey.
      mend:  paint it
    """
    why = f"{problem.what} {problem.why}".rstrip()
    return ReadFailure(row, f"{image} is not as promised.", why, problem.mend)
