"""What layers of sequences have in common: sizes that have to be equal, lengths, and masks.

Sequences are ``(batch, time, features)`` everywhere.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from mlgraph.core.param import Token
from mlgraph.core.port import Port
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ShapeError, listing
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.explain import listed
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles


class SequenceLayer(Layer):
    """A layer of sequences, with masks or lengths where parameters ask for them.

    What has to be equal may arrive under different names: a batch called ``batch`` and a mask
    whose rows are called ``mask_0``. Here they are made one, or refused if they are known.
    """

    @abstractmethod
    def layout(self) -> dict[str, str]:
        """The dimensions of each input; equal names are equal sizes, ``|`` parts alternatives."""

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return tuple(map(layer_port, self.layout())), self.outputs

    def infer(
        self, *specs: TensorSpec, task: TaskSpec | None = None, name: str | None = None
    ) -> tuple[TensorSpec, ...]:
        with contextlib.suppress(ShapeError):  # build will refuse them, in the words of inference
            specs = tuple(self.checked(specs).values())
        return super().infer(*specs, task=task, name=name)

    def checked(self, specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
        """The inputs by port, sizes that have to be equal made equal.

        Raises:
            ShapeError: Number, rank, dtype or a known size is wrong.
        """
        layout = self.layout()
        if len(specs) != len(layout):
            raise ShapeError(
                f"{len(layout)} input{'s are' if len(layout) > 1 else ' is'} needed.",
                why=f"got {listed(specs)}, for {listing(layout)}",
            )
        inputs = dict(zip(layout, specs, strict=True))
        chosen = {port: _chosen(port, x, layout[port]) for port, x in inputs.items()}
        return aligned(inputs, chosen)


class SequenceMask(Layer):
    """Which positions of sequences of several lengths are padding.

    Shape:
        lengths: ``(batch,)`` integers.
        sequence: ``(batch, time, ...)``, of which only the size of ``time`` is used.
        output: ``(batch, time)``, True from the end of a sequence on, as in ``key_padding_mask``.

    >>> lengths, sequence = TensorSpec(("batch",), torch.int64), TensorSpec(("batch", "time", 8))
    >>> SequenceMask().infer(lengths, sequence)
    ((batch, time) bool,)
    """

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        lengths = TensorSpec((3,), torch.int64)
        yield cls(), (lengths, TensorSpec((3, 5, 2)))
        yield cls(), (lengths, TensorSpec((3, 5), torch.bool))

    def build(self, lengths: TensorSpec, sequence: TensorSpec) -> nn.Module:
        _chosen("lengths", lengths, "batch")
        if sequence.rank < 2:
            raise ShapeError(
                "A sequence has 2 dimensions or more.",
                why=f"it is (batch, time, ...), and {sequence} has rank {sequence.rank}",
            )
        inputs = {"lengths": lengths, "sequence": sequence}
        aligned(inputs, dict.fromkeys(inputs, "batch"))
        return Apply(padding_mask)


def padding_mask(lengths: torch.Tensor, sequence: torch.Tensor) -> torch.Tensor:
    """True from the end of each sequence on.

    >>> padding_mask(torch.tensor([1, 2]), torch.zeros(2, 3)).int().tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    times = torch.arange(sequence.shape[1], device=sequence.device)
    return times >= lengths.unsqueeze(1)


def aligned(inputs: Mapping[str, TensorSpec], layout: Mapping[str, str]) -> dict[str, TensorSpec]:
    """Specs in which sizes of one name in the layout have one name, or are one number.

    Raises:
        ShapeError: Two of them are known, and differ.

    >>> specs = {"input": TensorSpec(("batch", 5, 8)), "mask": TensorSpec(("rows", "time"))}
    >>> aligned(specs, {"input": "batch time features", "mask": "batch time"})["mask"]
    (batch, 5) float32
    """
    found = dict(inputs)
    words = [word for names in layout.values() for word in names.split()]
    for word in dict.fromkeys(words):
        sizes = {
            (port, dim): found[port].dim(dim)
            for port, names in layout.items()
            for dim, name in enumerate(names.split())
            if name == word
        }
        common = _common(word, sizes)
        unknown = {size for size in sizes.values() if isinstance(size, str)}
        found = {
            port: x.with_shape([common if size in unknown else size for size in x.shape])
            for port, x in found.items()
        }
    return found


def _common(word: str, sizes: Mapping[tuple[str, int], int | str]) -> int | str:
    known = {place: size for place, size in sizes.items() if isinstance(size, int)}
    if len(set(known.values())) > 1:
        places = ", ".join(f"{size} in dimension {d} of {p!r}" for (p, d), size in known.items())
        raise ShapeError(
            f"Inputs have different sizes of {word!r}.",
            why=f"it is {places}",
            mend="feed inputs that belong together",
        )
    return next(iter(known.values()), next(iter(sizes.values())))


def _chosen(port: str, x: TensorSpec, alternatives: str) -> str:
    """The alternative that has the rank of the input, which is also asked for its dtype."""
    ranks = {len(names.split()): names.strip() for names in alternatives.split("|")}
    layout = " or ".join(f"({', '.join(names.split())})" for names in ranks.values())
    try:
        need_rank(x, list(ranks), layout)
        _need_dtype(port, x)
    except ShapeError as error:
        why = f"input {port!r}: {error.why}"
        raise ShapeError(error.what, why=why, mend=error.mend) from None
    return ranks[x.rank]


def _need_dtype(port: str, x: TensorSpec) -> None:
    if port == "lengths":
        need_integers(x)
    elif port.endswith("mask"):
        _need_mask(x)
    else:
        need_singles(x)


def need_integers(x: TensorSpec) -> None:
    """Refuse what cannot be counts.

    Raises:
        ShapeError: The dtype is not one of integers.

    >>> need_integers(TensorSpec(("batch",), torch.int64))
    """
    dtype = x.dtype
    if dtype.is_floating_point or dtype.is_complex or dtype == torch.bool:
        raise ShapeError(
            "Integers are needed.",
            why=f"it is {x}",
            mend='put nn("fn", torch.Tensor.long) before it',
        )


def _need_mask(x: TensorSpec) -> None:
    if x.dtype not in (torch.bool, torch.get_default_dtype()):
        raise ShapeError(
            "A mask is bool, or numbers to add to scores.",
            why=f"it is {x}",
            mend='put nn("fn", torch.Tensor.bool) before it',
        )


def switched_on(layer: Layer, inputs: Mapping[str, str]) -> dict[str, str]:
    """Those of the inputs for which the parameter of the same name is True.

    >>> from mlgraph_nodes.recurrent import GRU
    >>> switched_on(GRU(hidden_size=4, lengths=True), {"lengths": "batch"})
    {'lengths': 'batch'}
    """
    settled(*(getattr(layer, name) for name in inputs))
    return {name: layout for name, layout in inputs.items() if getattr(layer, name)}


def settled(*values: object) -> None:
    """Refuse tuning tokens among values that ports depend on.

    Raises:
        TypeError: One of them is a token; the node says it better.

    >>> settled(True, "self")
    """
    if any(isinstance(value, Token) for value in values):
        raise TypeError("ports depend on a tuning token")
