"""Cases of a layer, drawn at random: parameters by their declared type, inputs by trial.

Nothing is known of a layer but what it declares. So candidates are offered to it, and those it
refuses are drawn again. It has to refuse them in an error of ours: any other is a failure.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter

import attrs
import torch

from mlgraph.core.declare import declared, required
from mlgraph.core.port import Port
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import MLGraphError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.guess import Unguessable, guessed
from mlgraph.testing.layer import check_inference, check_layer
from mlgraph.testing.rows import CLASSES, Specs, check_alone, with_rows

BUDGET = 150
PARAMETER_TRIES = 50
INPUT_TRIES = 20

# Of all inputs together. All patterns of known and unknown sizes are tried, so many take long.
MAX_DIMS = 6

Case = tuple[Layer, Specs]


def check_drawn(
    layer_class: type[Layer], *, cases: int = 3, seed: int = 0, task: TaskSpec = CLASSES
) -> None:
    """Check everything a layer promises, for parameters and inputs drawn at random.

    The first case is checked for all promises, the others for inference and rows.

    Args:
        layer_class: The class of the layer.
        cases: How many cases.
        seed: Of the draws.
        task: What ``build`` is told of the task.

    Raises:
        AssertionError: A promise is broken, or no inputs were found.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_drawn(Linear, cases=2)
    """
    for number in range(cases):
        draws = random.Random(f"{layer_class.key} {seed} {number}")
        layer, specs = drawn(layer_class, draws, task=task)
        try:
            if number == 0:
                check_layer(layer, specs, task=task)
            else:
                check_inference(layer, specs, task)
                check_alone(layer, specs, task)
        except Exception as error:
            error.add_note(f"for {layer!r} and inputs {specs}")
            raise


def drawn(
    layer_class: type[Layer],
    draws: random.Random,
    *,
    task: TaskSpec = CLASSES,
    budget: int = BUDGET,
    dims: int = MAX_DIMS,
) -> Case:
    """A layer with parameters drawn at random, and specs of inputs that it takes.

    A layer that has ``examples`` is one of these.

    Args:
        layer_class: The class of the layer.
        draws: Where all choices come from.
        task: What ``build`` is told of the task.
        budget: How many sets of parameters are tried, each with several sets of inputs.
        dims: How many dimensions several inputs have together, as far as there are such inputs.

    Raises:
        AssertionError: All candidates were refused, or one in an error that is not ours.

    >>> from mlgraph_nodes.gated import GLU
    >>> drawn(GLU, random.Random(1))
    (nn("glu"), (...))
    """
    examples = tuple(layer_class.examples())
    if examples:
        return draws.choice(examples)
    refusals: Counter[str] = Counter()
    for attempt in range(budget):
        sizes = Sizes.drawn(draws, dims if attempt < budget // 5 else 15)
        try:
            layer = _created(layer_class, sizes, draws)
            return layer, _taken(layer, sizes, draws, task)
        except Unguessable as unknown:
            raise _gives_up(layer_class, str(unknown)) from None
        except MLGraphError as error:
            refusals[error.why or error.what] += 1
    often = "; ".join(why for why, _ in refusals.most_common(3))
    raise _gives_up(layer_class, f"all were refused, most often: {often}")


def _gives_up(layer_class: type[Layer], why: str) -> AssertionError:
    return AssertionError(
        f"No parameters and inputs could be guessed to test {layer_class.call_name()}.\n"
        f"  why:   {why}\n"
        f"  mend:  let the class method {layer_class.__name__}.examples() return some: "
        "[(layer, (spec, ...)), ...]"
    )


def _created(layer_class: type[Layer], sizes: Sizes, draws: random.Random) -> Layer:
    """A layer whose parameters go together; the last refusal if there are none among some."""
    for last in range(1, PARAMETER_TRIES + 1):
        try:
            return layer_class.create(params=_parameters(layer_class, draws, sizes))
        except MLGraphError:
            if last == PARAMETER_TRIES:
                raise
    raise AssertionError


def _taken(layer: Layer, sizes: Sizes, draws: random.Random, task: TaskSpec) -> Specs:
    """Specs that the layer takes; the last refusal if there are none among a few."""
    for last in range(1, INPUT_TRIES + 1):
        specs = sizes.specs(layer.ports()[0], draws)
        try:
            layer.infer(*specs, task=task)
            layer.infer(*with_rows(specs, "batch"), task=task)
        except MLGraphError:
            _refuse_foreign(layer, specs, task)
            if last == INPUT_TRIES:
                raise
        else:
            return specs
    raise AssertionError


def _refuse_foreign(layer: Layer, specs: Specs, task: TaskSpec) -> None:
    """Assert that ``build`` says what is wrong itself; inference puts its words to any error."""
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), forked(0), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                layer.make(specs, task)
        except MLGraphError:
            return
        except Exception as error:
            foreign = error
        else:
            return
    raise AssertionError(
        f"build() of {layer!r} raised a {type(foreign).__name__} for {specs}: {foreign}\n"
        "  mend:  raise a ShapeError or ConfigError that says how to mend it"
    ) from foreign


def _parameters(layer_class: type[Layer], draws: random.Random, sizes: Sizes) -> dict[str, object]:
    """Values for all required parameters, and for none, few or many of the others."""
    share = draws.choice((0.0, 0.0, 0.2, 0.4))
    params: dict[str, object] = {}
    for name, hint, details in declared(layer_class):
        needed = name in required(layer_class)
        if name == layer_class.open_field or not (needed or draws.random() < share):
            continue
        try:
            params[name] = guessed(hint, details, draws, sizes.others)
        except Unguessable as unknown:
            if needed:
                raise Unguessable(f"the parameter {name!r} {unknown}") from None
    return params


@attrs.frozen
class Sizes:
    """The sizes that the inputs of one case are made of: few, so that some of them fit.

    Args:
        batch: The number of rows; no other size is equal to it.
        others: All other sizes.
        dims: How many dimensions several inputs have together.

    >>> sizes = Sizes.drawn(random.Random(0))
    >>> sizes.batch in sizes.others
    False
    """

    batch: int
    others: tuple[int, ...]
    dims: int

    @classmethod
    def drawn(cls, draws: random.Random, dims: int = MAX_DIMS) -> Sizes:
        """A few sizes, most of which can be divided."""
        batch = draws.choice((2, 3, 5, 7))
        pool = [size for size in (2, 3, 4, 4, 5, 6, 6, 7, 8, 8) if size != batch]
        others = draws.sample(pool, draws.choice((1, 2, 2, 3, 4)))
        return cls(batch, (*others, *([1] if draws.random() < 0.1 else [])), dims)

    def specs(self, ports: tuple[Port, ...], draws: random.Random) -> Specs:
        """A spec for each port, more for a variadic one; alike more often than not."""
        names = [
            port.name
            for port in ports
            for _ in range(draws.choice((1, 2, 2, 3)) if port.variadic else 1)
        ]
        ranks = [rank for rank in (1, 2, 2, 3, 3, 4, 5) if rank * len(names) <= self.dims]
        rank = draws.choice(ranks or [1])
        dtype = draws.choice((torch.float32,) * 6 + (torch.int64,) * 3 + (torch.bool,))
        first = (self.batch, *(draws.choice(self.others) for _ in range(rank - 1)))
        return tuple(
            self._of(name, self._like(first, draws) if place else first, dtype, draws)
            for place, name in enumerate(names)
        )

    def _of(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype, draws: random.Random
    ) -> TensorSpec:
        """The input of a port, whose name may tell what it is."""
        if "mask" in name:
            return self._mask(shape, draws)
        if "lengths" in name:
            return TensorSpec((self.batch,), torch.int64)
        if "indices" in name:
            return TensorSpec(shape, torch.int64)
        return self._spec(shape, dtype, draws)

    def _like(self, first: tuple[int, ...], draws: random.Random) -> tuple[int, ...]:
        """The shape of another input: the same, one with other sizes, or one of fewer sizes."""
        kind = draws.random()
        if kind < 0.4:
            return first
        if kind < 0.6:
            return first[: draws.randint(1, len(first))]
        return (self.batch, *(draws.choice((size, *self.others, 1)) for size in first[1:]))

    def _mask(self, first: tuple[int, ...], draws: random.Random) -> TensorSpec:
        """A mask of the rows' places, or of pairs of places."""
        rest = first[1:] or (self.batch,)
        shapes = (first, first[:2], rest[:1] * 2, (rest[0], draws.choice(self.others)))
        dtype = draws.choice((torch.bool, torch.bool, torch.bool, torch.float32))
        return TensorSpec(draws.choice(shapes), dtype)

    def _spec(self, shape: tuple[int, ...], dtype: torch.dtype, draws: random.Random) -> TensorSpec:
        if dtype is not torch.int64 or len(shape) != 2 or draws.random() < 0.3:
            return TensorSpec(shape, dtype)
        levels = [draws.randint(1, 9) for _ in range(shape[-1])]
        return TensorSpec(shape, dtype, cardinalities=levels)


__all__ = ["Sizes", "check_drawn", "drawn"]
