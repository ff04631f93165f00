"""Categories as zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.embedding import levels_of


class OneHot(Layer):
    """A number for every level of every column: 1 for the level of the row, 0 for the others.

    Shape:
        input: ``(batch, columns)`` integer codes, ``columns`` known.
        output: ``(batch, number of levels)`` float32, the levels of the first column first.

    Args:
        drop_last: No number for the last code of each column: its rows are all zeros. After
            ``ingress_categ(unknown="slot")`` these are the levels that fit did not see.
        cardinalities: Number of levels of each column; by default that of the ingress.

    >>> codes = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
    >>> OneHot().infer(codes)
    ((batch, 8) float32,)
    """

    drop_last: bool = False
    cardinalities: tuple[int, ...] | None = param(default=None, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        levels = levels_of(x, self.cardinalities)
        kept = [count - self.drop_last for count in levels]
        if not any(kept):
            raise ShapeError(
                "Without the last level of each column there is none.",
                why=f"the columns have {levels} levels",
                mend="write drop_last=False",
            )
        return Indicators(kept)


class Indicators(nn.Module):
    """Whether a code is this level, for each level of each column; a code beyond them is none.

    >>> Indicators([2, 3])(torch.tensor([[0, 2], [2, 0]]))
    tensor([[1., 0., 0., 0., 1.],
            [0., 0., 1., 0., 0.]])
    """

    column: torch.Tensor
    level: torch.Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        pairs = [(column, level) for column, n in enumerate(levels) for level in range(n)]
        # They follow from the levels, so they are no state.
        self.register_buffer("column", torch.tensor([p[0] for p in pairs]), persistent=False)
        self.register_buffer("level", torch.tensor([p[1] for p in pairs]), persistent=False)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Zeros and ones ``(batch, sum of levels)`` for codes ``(batch, columns)``."""
        return (codes[:, self.column] == self.level).float()

    def extra_repr(self) -> str:
        return f"{len(self.level)}"
