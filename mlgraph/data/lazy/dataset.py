"""Any map-style data set of torch as a source."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from mlgraph.data.lazy.decode import of_pillow
from mlgraph.data.lazy.source import Fetched, OnError, ReadFailure, Rows, Source, tensor_of
from mlgraph.errors import DataError, listing
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, init=False)
class DatasetSource(Source):
    """Elements of a map-style ``torch.utils.data.Dataset``, one per row.

    Images of Pillow, and uint8 arrays ``(height, width)`` or ``(height, width, channels)``, become
    uint8 tensors ``(channels, height, width)``. Two columns have the same source only if they are
    made of one another: nothing says what a data set holds but reading all of it.

    Args:
        dataset: The data set; it must not change any more, and must be picklable to be read in
            other processes.
        item: Place or key of the tensor in an element; may be left out where only one is there.
        spec: Shape and dtype of the rows, ``"batch"`` first. Without, the first element that can
            be read is, and all are taken to be like it.
        on_error: Whether an element that cannot be read stops the run, or is left out and
            reported.

    Raises:
        DataError: This is no map-style data set, or its first element has no tensor.

    >>> data = torch.utils.data.TensorDataset(torch.zeros(5, 2), torch.ones(5))
    >>> DatasetSource(data, item=0).spec
    (batch, 2) float32
    """

    dataset: Any
    item: int | str | None
    form: TensorSpec
    on_error: OnError
    n_rows: int
    token: str

    def __init__(
        self,
        dataset: Any,
        item: int | str | None = None,
        *,
        spec: TensorSpec | None = None,
        on_error: OnError = "raise",
    ) -> None:
        n_rows = _length(dataset)
        form = spec if spec is not None else _form(dataset, n_rows, item, on_error)
        self.__attrs_init__(dataset, item, form, on_error, n_rows, uuid.uuid4().hex)

    @property
    def spec(self) -> TensorSpec:
        return self.form

    @property
    def fingerprint(self) -> str:
        return self.token

    def __len__(self) -> int:
        return self.n_rows

    def fetch(self, rows: Rows) -> Fetched:
        if len(self.dataset) != self.n_rows:
            raise DataError(
                f"The data set has {len(self.dataset)} rows now, and had {self.n_rows}.",
                why="the rows of a column must stay what they are",
                mend="make the column anew",
            )
        found = [
            self._tensor(row, element)
            for row, element in zip(rows.tolist(), self._elements(rows), strict=True)
        ]
        return self._stacked(found)

    def _elements(self, rows: Rows) -> Sequence[Any]:
        if self._at_once:
            try:
                together: Sequence[Any] = self.dataset.__getitems__(rows.tolist())
            except Exception as problem:
                if len(rows) == 1:
                    raise _failure(int(rows[0]), problem) from problem
                together = [self._element(row) for row in rows.tolist()]
            if len(together) != len(rows):
                raise DataError(
                    f"The data set returned {len(together)} elements for {len(rows)} rows.",
                    why="its method __getitems__ must return one for each",
                )
            return together
        return [self._element(row) for row in rows.tolist()]

    def _element(self, row: int) -> Any:
        return _element(self.dataset, row)

    def _tensor(self, row: int, element: Any) -> Tensor:
        try:
            tensor = tensor_in(element, self.item)
        except DataError as error:
            why = f"{error.what} {error.why}".rstrip()
            raise ReadFailure(row, "the data set returned no tensor.", why, error.mend) from error
        if not self._row_spec.fits(tensor):
            got = TensorSpec(tuple(tensor.shape), tensor.dtype)
            raise ReadFailure(
                row,
                "the data set returned another shape or dtype than promised.",
                f"expected {self._row_spec}, arrived {got}",
                "give shape= with None where sizes differ, or dtype=",
            )
        return tensor

    def _stacked(self, rows: list[Tensor]) -> Fetched:
        if set(self.form.names) - {"batch"}:
            return rows
        if not rows:
            return torch.empty(self.form.filled({"batch": 0}), dtype=self.form.dtype)
        return torch.stack(rows)

    @cached_property
    def _row_spec(self) -> TensorSpec:
        return TensorSpec(self.form.shape[1:], self.form.dtype)

    @cached_property
    def _at_once(self) -> bool:
        return callable(getattr(self.dataset, "__getitems__", None))


def tensor_in(element: Any, item: int | str | None = None) -> Tensor:
    """The tensor of an element of a data set.

    Args:
        element: A tensor, an array, an image, a number, or a tuple, list or dict with one.
        item: Place or key of the tensor in it; may be left out where only one is there.

    Raises:
        DataError: There is no such item, or it is not clear which is meant, or it is no tensor.

    >>> tensor_in((np.zeros((4, 5), dtype=np.uint8), 7)).shape
    torch.Size([1, 4, 5])
    """
    if isinstance(element, Mapping | tuple | list):
        return _as_tensor(_chosen(element, item))
    if item is not None:
        raise DataError(
            f"The elements of the data set are single, so there is no item {item!r}.",
            mend="leave out item=",
        )
    return _as_tensor(element)


def _chosen(element: Any, item: int | str | None) -> Any:
    keys = list(element) if isinstance(element, Mapping) else list(range(len(element)))
    if item is None:
        found = [key for key in keys if _is_tensor(element[key])]
        if len(found) == 1:
            return element[found[0]]
        raise DataError(
            "It is not clear which item of an element is the tensor.",
            why=f"of {listing(keys)}, these are tensors: {listing(found)}"
            if found
            else f"none of {listing(keys)} is a tensor, array or image",
            mend="name it: lazy(dataset, item=...)",
        )
    place = item + len(keys) if isinstance(item, int) and item < 0 and keys else item
    if place not in keys:
        raise DataError(
            f"The elements of the data set have no item {item!r}.", why=f"they have {listing(keys)}"
        )
    return element[place]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) or _is_pillow(value)


def _is_pillow(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "convert")


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if _is_pillow(value):
        return of_pillow(value)
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, bool | int | float | np.generic):
        return torch.as_tensor(value)
    raise DataError(
        f"An element of the data set is of type {type(value).__name__}, not a tensor.",
        why="a tensor, an array, an image of Pillow or a number is expected",
        mend="pick the tensor with item=, or convert it in the data set",
    )


def _of_array(array: Any) -> Tensor:
    tensor = tensor_of(array)
    if array.dtype != np.uint8:
        return tensor
    if array.ndim == 2:
        return tensor[None]
    image = array.ndim == 3 and array.shape[2] in (1, 3, 4)
    return tensor.permute(2, 0, 1).contiguous() if image else tensor


def _length(dataset: Any) -> int:
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise DataError(
            f"A {type(dataset).__name__} is not a map-style data set.",
            why="it needs __getitem__ and __len__, so that rows can be read in any order",
            mend="read a stream into a list of tensors first",
        )
    return len(dataset)


def _form(dataset: Any, n_rows: int, item: int | str | None, on_error: OnError) -> TensorSpec:
    if n_rows == 0:
        raise DataError("The data set has no rows, so the shape is not known.", mend="give shape=")
    tries = min(n_rows, _TRIES) if on_error == "skip" else 1
    errors = []
    for row in range(tries):
        try:
            tensor = tensor_in(_element(dataset, row), item)
        except DataError as error:
            errors.append(error)
        else:
            return TensorSpec(("batch", *tensor.shape), tensor.dtype)
    if not errors[0].mend:
        mend = "give shape= and dtype=, so that none need be read to know the form"
        raise ReadFailure(0, errors[0].what, errors[0].why, mend) from errors[0]
    raise errors[0]


_TRIES = 100  # elements of which one must be a tensor, where the others may be skipped


def _element(dataset: Any, row: int) -> Any:
    try:
        return dataset[row]
    except Exception as problem:
        raise _failure(row, problem) from problem


def _failure(row: int, problem: Exception) -> ReadFailure:
    text = str(problem).strip().splitlines()
    said = f"{type(problem).__name__}: {text[0]}" if text else type(problem).__name__
    return ReadFailure(row, "the data set raised an exception.", said)
