"""What sources of encoded images have in common: how their bytes become tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from mlgraph.data.lazy.decode import CHANNELS, decoder
from mlgraph.data.lazy.source import Fetched, OnError, ReadFailure, Rows, Source, stacked_if
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, kw_only=True)
class Images(Source):
    """Encoded images, decoded when they are asked for.

    Args:
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        size: Height and width, where all images have the same; otherwise a name.
        background: Colour on which what is transparent is put; only for ``"RGB"``.
        on_error: Whether an image that cannot be read stops the run, or is left out and reported.

    >>> issubclass(Images, Source)
    True
    """

    mode: str
    size: tuple[int | str, int | str] | None
    background: str | None
    on_error: OnError

    @cached_property
    def spec(self) -> TensorSpec:
        sizes = self.size or ("height", "width")
        return TensorSpec(("batch", CHANNELS[self.mode], *sizes), torch.uint8)

    @abstractmethod
    def encoded(self, rows: Rows) -> Iterator[Tensor]:
        """The bytes of each of these rows, ``(bytes,)`` uint8."""

    @abstractmethod
    def failure(self, row: int, problem: Exception) -> ReadFailure:
        """What to say of a row whose bytes cannot be read or decoded."""

    def fetch(self, rows: Rows) -> Fetched:
        decode, found = self._decode, []
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
        return self.mode, str(self.size), str(self.background)

    @cached_property
    def _decode(self) -> Callable[[Tensor], Tensor]:
        return decoder(self.mode, self.background)
