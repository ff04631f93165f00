"""What a DataLoader is asked for, and what it answers: the rows of whole batches."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.reader import Read, Reader
from mlgraph.errors import MLGraphError


class Request(NamedTuple):
    """The rows of one batch: their places in the reader, and what random operations draw from.

    >>> Request(np.array([0, 1]), Draw(seed=1)).draw.epoch
    0
    """

    places: NDArray[np.int64]
    draw: Draw


class Rows(Dataset[Any]):
    """The reader as the data set of a DataLoader; what it refuses comes back as a value.

    >>> len(Rows(Reader({}, np.arange(3))))
    3
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitems__(self, request: Request) -> Any:
        return self[request]

    def __getitem__(self, request: Request) -> Any:
        try:
            # Tensors of the inference mode do not tell whether they were changed in place.
            with torch.inference_mode(False), torch.no_grad():
                return self.reader.read(request.places, request.draw)
        except MLGraphError as error:
            return error
        except Exception as error:
            if get_worker_info() is None or not _travels(error):
                raise
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            return error

    def __len__(self) -> int:
        return len(self.reader)


class Requests:
    """The batches of the present epoch; workers that stay alive are asked for new ones.

    >>> list(Requests())
    []
    """

    def __init__(self) -> None:
        self.now: list[Request] = []

    def __iter__(self) -> Iterator[Request]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


def raised(found: Read | Exception) -> Read:
    """What was read, unless that failed.

    Raises:
        Exception: What was found is one.

    >>> raised(Read({}, None, ())).tensors
    {}
    """
    if isinstance(found, Exception):
        raise found
    return found


def _travels(error: Exception) -> bool:
    """Whether an exception comes out of another process as what it is."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def same(read: Any) -> Any:
    """What is given: a batch need not be put together of its rows.

    >>> same(1)
    1
    """
    return read
