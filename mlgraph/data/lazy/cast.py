"""Tensors in another dtype, where every value fits."""

from __future__ import annotations

import torch
from torch import Tensor

from mlgraph.errors import DataError


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The same values in another dtype; fractions are cut off, and what overflows is refused.

    Raises:
        DataError: A value is beyond what the dtype can hold.

    >>> cast(torch.tensor([1.7]), torch.int64)
    tensor([1])
    >>> cast(torch.tensor([300]), torch.uint8)
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: 300 does not fit uint8.
      why:   it holds 0 to 255
      mend:  choose a wider dtype, or scale the values before
    """
    if x.dtype == dtype:
        return x
    if x.numel() and not x.is_meta and _may_overflow(x.dtype, dtype):
        _refuse_overflow(x, dtype)
    return x.to(dtype)


def _may_overflow(old: torch.dtype, new: torch.dtype) -> bool:
    if old == torch.bool or new == torch.bool or new.is_complex:
        return False
    if old.is_complex:
        return True
    one, other = _limits(old), _limits(new)
    floats = old.is_floating_point and not new.is_floating_point
    return floats or one[0] < other[0] or one[1] > other[1]


def _refuse_overflow(x: Tensor, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    if x.is_complex():
        raise DataError(f"Complex numbers do not fit {name}.", mend="take their absolute value")
    low, high = _limits(dtype)
    known = x.to(_WIDER.get(x.dtype, x.dtype))
    ends = torch.aminmax(known.nan_to_num(posinf=0, neginf=0) if x.is_floating_point() else known)
    least, most = ends.min.item(), ends.max.item()
    strange = x.is_floating_point() and not dtype.is_floating_point and not x.isfinite().all()
    if strange or least < low or most > high:
        bad = "An infinite or missing value" if strange else f"{most if most > high else least:g}"
        raise DataError(
            f"{bad} does not fit {name}.",
            why=f"it holds {low:g} to {high:g}",
            mend="choose a wider dtype, or scale the values before",
        )


# torch finds no least and most of these.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}


def _limits(dtype: torch.dtype) -> tuple[float, float]:
    if dtype == torch.bool:
        return 0, 1
    info = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return info.min, info.max
