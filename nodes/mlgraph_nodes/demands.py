"""What layers demand of their inputs before they are built, each with its own refusal.

Shapes of outputs are found by running a module. These functions are for inputs that torch would
take in another meaning (an image without a batch), or refuse in words about its own internals.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec

FLOAT = 'nn("fn", torch.Tensor.float)'
IMAGE_FLOAT = (
    'po("trafo_to_dtype", torch.float32, scale=True) before the network makes numbers from 0 to 1, '
    f"and {FLOAT} in it from 0 to 255"
)


def need_floats(x: TensorSpec) -> None:
    """Refuse codes, other integers and complex numbers.

    Raises:
        ShapeError: The dtype is not one of floating-point numbers.

    >>> need_floats(TensorSpec(("batch", 4)))
    """
    if not x.dtype.is_floating_point:
        others = f'embed codes with nn("embedding"), make other integers floats with {FLOAT}'
        raise ShapeError(
            "Floating-point numbers are needed.",
            why=f"the dtype is {_name(x.dtype)}",
            mend=f"for images {IMAGE_FLOAT}; {others}" if x.dtype == torch.uint8 else others,
        )


def need_singles(x: TensorSpec) -> None:
    """Refuse numbers that are not of the precision of weights, or of a lower one.

    Raises:
        ShapeError: They are integers, complex, or of higher precision.

    >>> need_singles(TensorSpec(("batch", 4)))
    """
    need_floats(x)
    weights = torch.get_default_dtype()
    if torch.finfo(x.dtype).bits > torch.finfo(weights).bits:
        raise ShapeError(
            f"Numbers of dtype {_name(weights)} are needed.",
            why=f"weights are {_name(weights)}, and the input is {_name(x.dtype)}",
            mend=f"put {FLOAT} before it",
        )


def need_rank(x: TensorSpec, ranks: Sequence[int], layout: str, mend: str = "") -> None:
    """Refuse another number of dimensions.

    Raises:
        ShapeError: The rank is none of ``ranks``.

    >>> need_rank(TensorSpec(("batch", 4)), [2, 3], "(batch, features[, length])")
    """
    if x.rank not in ranks:
        raise ShapeError(
            f"An input of {' or '.join(map(str, ranks))} dimensions is needed.",
            why=f"it is {layout}, and {x} has rank {x.rank}",
            mend=mend or 'change the rank with nn("flatten"), nn("unsqueeze") or nn("reshape")',
        )


def place(x: TensorSpec, dim: int, name: str = "dim", extra: int = 0) -> int:
    """The place of a dimension, negative numbers counted from the end.

    Args:
        x: The input.
        dim: Number of the dimension.
        name: Name of the parameter that holds it.
        extra: Places beyond those of the input: 1 where a dimension is inserted.

    Raises:
        ShapeError: There is no such dimension.

    >>> place(TensorSpec(("batch", 4, 5)), -1)
    2
    """
    count = x.rank + extra
    if not -count <= dim < count:
        raise ShapeError(
            f"There is no dimension {name}={dim}.",
            why=f"{x} has rank {x.rank}, so {name} is one of {-count} to {count - 1}",
        )
    return dim % count


def need_halves(x: TensorSpec, dim: int) -> None:
    """Refuse to split the batch, or a dimension of odd size, in halves.

    Raises:
        ShapeError: The dimension is the batch, is not there, or has an odd size.

    >>> need_halves(TensorSpec(("batch", 4)), -1)
    """
    if place(x, dim) == 0:
        raise ShapeError(
            "The batch cannot be split in halves.",
            why=f"dim={dim} of {x} is the batch",
            mend="choose another dimension",
        )
    size = x.dim(dim)
    if isinstance(size, int) and size % 2:
        raise ShapeError(
            "A size that is divisible by 2 is needed.",
            why=f"dimension {dim} has size {size}",
            mend="give the layer before it an even size",
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
