"""Ensembles inside one network: dimension 1 holds the members, which share most weights.

TabM is ``ensemble``, then blocks of ``ensemble_linear``, and ``ensemble_head``. In TabM-mini an
``ensemble_scale`` is all that differs between the members, and in the packed one nothing is shared
(``separate_linear``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from mlgraph.core.param import param
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_rank, need_singles
from mlgraph_nodes.num_embedding import SeparateLinears

Initialization = Literal["ones", "normal", "random-signs"]


class Ensemble(Layer):
    """The same features for each member of an ensemble.

    Shape:
        input: ``(batch, features)``.
        output: ``(batch, k, features)``.

    Args:
        k: Number of members.

    References: Gorishniy et al. (2024), "TabM", arXiv:2410.24210.

    >>> Ensemble().infer(TensorSpec(("batch", 8)))
    ((batch, 32, 8) float32,)
    """

    k: int = param(default=32, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_rank(x, [2], "(batch, features)", 'put nn("flatten") before it')
        return Members(self.k)


class EnsembleLinear(Layer):
    """Affine maps of the members that share a matrix: ``((x * r) W) * s + b``.

    Each member has vectors ``r``, ``s`` and ``b`` of its own; ``b`` starts equal for all.

    Shape:
        input: ``(batch, members, features)``, ``members`` and ``features`` known.
        output: ``(batch, members, out_features)``.

    Args:
        out_features: Size of the output.
        bias: Add ``b``.
        r_init: The start of ``r``: ``"ones"``, standard ``"normal"`` or ``"random-signs"``. It
            is what makes the members differ, so in TabM it is random in the first layer.
        s_init: The start of ``s``.
        feature_width: Draw one number for each column of the task in place of one for each of
            the ``features``: the input are the numbers, each so wide, and the categories, one-hot,
            in the order of the ingresses.

    References: Gorishniy et al. (2024), "TabM", arXiv:2410.24210; Wen et al. (2020),
    "BatchEnsemble", arXiv:2002.06715.

    >>> EnsembleLinear(out_features=16).infer(TensorSpec(("batch", 32, 8)))
    ((batch, 32, 16) float32,)
    """

    out_features: int = param(lower=1)
    bias: bool = True
    r_init: Initialization = "ones"
    s_init: Initialization = "ones"
    feature_width: int | None = param(default=None, lower=1)

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        members, features = _sizes(x)
        chunks = feature_chunks(features, self.feature_width, task)
        module = BatchEnsembleLinear(members, features, self.out_features, self.bias)
        start_(module.r, self.r_init, chunks)
        start_(module.s, self.s_init)
        return module


class EnsembleScale(Layer):
    """Each feature of each member times a learned number.

    Shape:
        input, output: ``(batch, members, features)``, ``members`` and ``features`` known.

    Args:
        init: The start: ``"random-signs"``, standard ``"normal"`` or ``"ones"``.
        bias: Add another number, 0 at the start.
        feature_width: One draw for each column of the task, as in ``ensemble_linear``.

    References: Gorishniy et al. (2024), "TabM", arXiv:2410.24210, where it makes TabM-mini.

    >>> EnsembleScale().infer(TensorSpec(("batch", 32, 8)))
    ((batch, 32, 8) float32,)
    """

    init: Initialization = "random-signs"
    bias: bool = False
    feature_width: int | None = param(default=None, lower=1)

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        members, features = _sizes(x)
        module = MemberScale(members, features, self.bias)
        start_(module.weight, self.init, feature_chunks(features, self.feature_width, task))
        return module


class SeparateLinear(Layer):
    """An affine map for each place of dimension 1 (member, token), sharing nothing.

    Shape:
        input: ``(batch, places, features)``, ``places`` and ``features`` known.
        output: ``(batch, places, out_features)``.

    Args:
        out_features: Size of the output.
        bias: Add a learned constant.

    >>> SeparateLinear(out_features=16).infer(TensorSpec(("batch", 32, 8)))
    ((batch, 32, 16) float32,)
    """

    out_features: int = param(lower=1)
    bias: bool = True

    def build(self, x: TensorSpec) -> nn.Module:
        return SeparateLinears(*_sizes(x), self.out_features, self.bias)


class EnsembleHead(Layer):
    """For each member, an affine map of its own to the output size of the task.

    Every member learns the task; their probabilities or quantities are averaged.

    Shape:
        input: ``(batch, members, features)``, ``members`` and ``features`` known.
        output: ``(batch, members, output size)``.

    Args:
        bias: Add a learned constant.

    Raises:
        ConfigError: The task has no target.

    References: Gorishniy et al. (2024), "TabM", arXiv:2410.24210.

    >>> task = TaskSpec("classification", ("a", "b", "c"))
    >>> EnsembleHead().infer(TensorSpec(("batch", 32, 8)), task=task)
    ((batch, 32, 3) float32,)
    """

    ensemble = True

    bias: bool = True

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        return SeparateLinears(*_sizes(x), task.output_size, self.bias)


class Members(nn.Module):
    """A view of the same features for each member.

    >>> Members(3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, k, features)`` of ``(batch, features)``."""
        return x.unsqueeze(1).expand(-1, self.k, -1)

    def extra_repr(self) -> str:
        return f"k={self.k}"


class BatchEnsembleLinear(nn.Module):
    """One matrix for all members, scaled for each in both of its dimensions.

    >>> BatchEnsembleLinear(3, 4, 5)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(self, members: int, entering: int, leaving: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(leaving, entering))
        self.r = nn.Parameter(torch.ones(members, entering))
        self.s = nn.Parameter(torch.ones(members, leaving))
        scale = entering**-0.5
        nn.init.uniform_(self.weight, -scale, scale)
        start = torch.empty(leaving).uniform_(-scale, scale) if bias else None
        self.bias = None if start is None else nn.Parameter(start.repeat(members, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, members, leaving)`` of ``(batch, members, entering)``."""
        found = functional.linear(x * self.r, self.weight) * self.s
        return found if self.bias is None else found + self.bias


class MemberScale(nn.Module):
    """Features times numbers of each member.

    >>> MemberScale(3, 4)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, members: int, features: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, features))
        self.bias = nn.Parameter(torch.zeros(members, features)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scaled features, ``(batch, members, features)``."""
        scaled = x * self.weight
        return scaled if self.bias is None else scaled + self.bias


def feature_chunks(features: int, width: int | None, task: TaskSpec) -> list[int] | None:
    """How many of the features come from each column of the task; None where it is not asked.

    Args:
        features: Number of features.
        width: How many each number has; None not to ask.
        task: The task, with the columns of each ingress.

    Raises:
        ShapeError: The features are not numbers so wide, and one-hot categories.

    >>> columns = {"numbers": ("a", "b"), "words": ("c",)}
    >>> task = TaskSpec("regression", columns=columns, cardinalities={"words": (3,)})
    >>> feature_chunks(11, 4, task)
    [4, 4, 3]
    """
    if width is None:
        return None
    levels = [n for counts in task.cardinalities.values() for n in counts]
    numbers = sum(len(names) for names in task.columns.values()) - len(levels)
    rest = features - numbers * width
    spare = sum(levels) - rest  # a level of each column, or none, may have no place
    if spare not in (0, len(levels)):
        raise ShapeError(
            f"The {features} features are not those of the columns.",
            why=f"there are {numbers} numbers, each {width} wide, and {len(levels)} categories "
            f"of {sum(levels)} levels",
            mend="write feature_width=<width of a number's embedding>, or None",
        )
    dropped = 1 if spare else 0
    chunks: list[int] = []
    for id, names in task.columns.items():
        counts = task.cardinalities.get(id)
        chunks += [width] * len(names) if counts is None else [n - dropped for n in counts]
    return chunks


def start_(
    weight: torch.Tensor, initialization: Initialization, chunks: Sequence[int] | None = None
) -> None:
    """Give numbers of members their start, in place; those of one chunk are equal.

    >>> signs = torch.empty(2, 3)
    >>> start_(signs, "random-signs", [3])
    >>> bool((signs.abs() == 1).all() and (signs == signs[:, :1]).all())
    True
    """
    with torch.no_grad():
        if initialization == "ones":
            weight.fill_(1.0)
            return
        drawn = weight.new_empty(weight.shape[0], len(chunks) if chunks else weight.shape[1])
        if initialization == "normal":
            drawn.normal_()
        else:
            drawn.bernoulli_(0.5).mul_(2).sub_(1)
        parts = [drawn[:, i : i + 1].expand(-1, n) for i, n in enumerate(chunks or [])]
        weight.copy_(torch.cat(parts, dim=1) if parts else drawn)


def _sizes(x: TensorSpec) -> tuple[int, int]:
    need_singles(x)
    need_rank(x, [3], "(batch, members, features)", 'make members with nn("ensemble")')
    return x.size(1), x.size(2)
