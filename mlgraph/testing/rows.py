"""Which inputs hold the rows of a batch, and whether a layer keeps rows apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer
from mlgraph.tensor.probe import Values, flat
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked

Specs = tuple[TensorSpec, ...]
Tensors = tuple[torch.Tensor, ...]

CLASSES = TaskSpec("classification", ("a", "b", "c"))


def values(specs: Specs, seed: int) -> Tensors:
    """Random tensors of these specs, all sizes known.

    >>> [tensor.shape for tensor in values((TensorSpec((4, 3)), TensorSpec((4,))), 0)]
    [torch.Size([4, 3]), torch.Size([4])]
    """
    made = [Values(seed + place)(spec, spec.sizes()) for place, spec in enumerate(specs)]
    return tuple(made)


def row_inputs(specs: Sequence[TensorSpec]) -> tuple[int, ...]:
    """Places of the inputs whose first dimension is the batch.

    The batch is the first dimension of the first input, unless that is a 1, which is repeated. A
    mask may have another one; where equal sizes leave that open, no place is returned.

    >>> row_inputs([TensorSpec((4, 5, 8)), TensorSpec((5, 5)), TensorSpec((4, 5))])
    (0, 2)
    >>> row_inputs([TensorSpec((4, 5, 8)), TensorSpec((4, 4))])
    ()
    """
    firsts = [spec.size(0) if spec.rank else 1 for spec in specs]
    rows = next((size for size in firsts if size > 1), None)
    unlike = len({spec.rank for spec in specs}) > 1
    if rows is None or (unlike and any(rows in spec.shape[1:] for spec in specs)):
        return ()
    return tuple(place for place, size in enumerate(firsts) if size == rows)


def with_rows(specs: Specs, rows: int | str) -> Specs:
    """The specs with another number of rows.

    >>> with_rows((TensorSpec((4, 5)), TensorSpec((1, 5))), "batch")
    ((batch, 5) float32, (1, 5) float32)
    """
    places = row_inputs(specs)
    return tuple(
        spec.with_shape([rows, *spec.shape[1:]]) if place in places else spec
        for place, spec in enumerate(specs)
    )


def check_alone(layer: Layer, specs: Specs, task: TaskSpec = CLASSES, seed: int = 0) -> None:
    """In evaluation, a row of the output is made of the same row of the inputs, which stay.

    A layer that moves the batch to another place is left out, and so is one that is told to work
    along dimension 0, or to normalise by the batch at hand.

    Raises:
        AssertionError: Rows are mixed, or an input is changed in place.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_alone(Linear(out_features=2), (TensorSpec((5, 3)),))
    """
    with forked(seed):
        module = layer.make(specs, task).eval()
    tensors, others = values(specs, seed), values(specs, seed + 1000)
    before = _outputs(module, tensors, seed)
    for place, (tensor, again) in enumerate(zip(tensors, values(specs, seed), strict=True)):
        assert same(tensor, again), f"{layer!r} changes its input {place} in place"
    if _is_told_to_mix(layer, specs, module):
        return
    for number, spec in enumerate(layer.infer(*with_rows(specs, "batch"), task=task)):
        if spec.shape[:1] != ("batch",):
            continue
        for rows in (slice(0, 1), slice(1, None)):
            changed = _changed(tensors, others, row_inputs(specs), rows)
            after = _outputs(module, changed, seed)[number]
            rest = slice(1, None) if rows.start == 0 else slice(0, 1)
            assert same(before[number][rest], after[rest]), (
                f"{layer!r} mixes rows: for {specs}, a row of output {number} depends on others"
            )


def _outputs(module: nn.Module, tensors: Tensors, seed: int) -> Tensors:
    with torch.no_grad(), forked(seed):
        return flat(module(*tensors))


def _changed(tensors: Tensors, others: Tensors, places: tuple[int, ...], rows: slice) -> Tensors:
    """The tensors with these rows replaced by others."""
    changed = [tensor.clone() for tensor in tensors]
    for place in places:
        changed[place][rows] = others[place][rows]
    return tuple(changed)


def same(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether they are equal up to rounding: a sum may be taken in another order.

    >>> same(torch.tensor([1.0, float("nan")]), torch.tensor([1.0 + 1e-6, float("nan")]))
    True
    """
    if one.dtype != two.dtype or one.shape != two.shape:
        return False
    return torch.allclose(one, two, rtol=1e-3, atol=1e-5, equal_nan=True)


def _is_told_to_mix(layer: Layer, specs: Specs, module: nn.Module) -> bool:
    chosen = [value for name, value in layer.parameters().items() if "dim" in name]
    dims = [dim for value in chosen for dim in (value if isinstance(value, tuple) else (value,))]
    firsts = [0, *(-spec.rank for spec in specs)]
    batch_norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return any(type(dim) is int and dim in firsts for dim in dims) or any(
        norm.running_mean is None for norm in batch_norms
    )


__all__ = ["check_alone", "row_inputs", "same", "values", "with_rows"]
