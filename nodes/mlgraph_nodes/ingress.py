"""Where a table enters a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow.compute as pc
import torch

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port, register_conversion
from mlgraph.data.feed import Feed
from mlgraph.data.lazy.make import materialize
from mlgraph.data.select import Selector
from mlgraph.data.task import Task
from mlgraph.data.tensortoken import TensorToken, entering_spec
from mlgraph.data.token import CategoricalToken, IngressToken, NumericToken, as_words
from mlgraph.errors import DataError, MLGraphError, UnknownColumnError, listing
from mlgraph.net.descriptor import ModelDescriptor

NUMERIC = frozenset({"float", "int"})
CATEGORICAL = frozenset({"category", "string", "bool"})


class _Ingress(Node):
    """A task enters the network: fitted, its columns are fixed."""

    inputs = (Port("input", Task),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)
    accepts: ClassVar[frozenset[str]] = frozenset()

    columns: Any = param(default=None, convert=Selector.of)

    @abstractmethod
    def token(self, id: str, task: Task) -> IngressToken:
        """What the columns of this task become."""

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        token = self.token(ctx.id, task)
        token.refuse_missing(task)
        return (ModelDescriptor.entering(token, task),), token

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = inputs["input"]
        missing = [name for name in state.columns if name not in task.features]
        if missing:
            raise UnknownColumnError(
                f"Columns {listing(missing)} are not there.",
                why=f"{ctx.id!r} was fitted on {listing(state.columns)}",
            )
        return (Feed({ctx.id: task}),)

    def instead(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, ...] | None:
        """The network without its values, where only these are wrong."""
        task = inputs["input"]
        if ctx.phase == "apply":
            return (Feed({ctx.id: task}),)
        try:
            return (ModelDescriptor.entering(self.token(ctx.id, task), task),)
        except MLGraphError:
            return None

    def _picked(self, task: Task) -> tuple[str, ...]:
        names = tuple(self.columns.pick(task))
        if not names:
            raise DataError(
                f"No column is left for {self.key}.",
                why=f"the task has the features {listing(task.features)}"
                if task.features
                else "the task has no features",
                mend="a network needs at least one feature",
            )
        wrong = [name for name in names if task.types[name] not in self.accepts]
        if wrong:
            raise _wrong_type(self, task, wrong)
        return names


class IngressNum(_Ingress):
    """Numbers enter the network, as float32.

    Shape:
        output: ``(batch, columns)`` float32.

    Args:
        columns: The columns, by default all features; floats and integers are accepted.

    Raises:
        DataError: A column is not numeric, or has missing or infinite values.

    >>> task = Task({"x": [1.0, 2.0], "y": ["a", "b"]}, target="y")
    >>> IngressNum().as_graph().fit(task).outputs["ingress_num.output"].spec
    (batch, 1) float32
    """

    accepts = NUMERIC

    def token(self, id: str, task: Task) -> IngressToken:
        return NumericToken(id, self._picked(task))


class IngressCateg(_Ingress):
    """Categories enter the network, as codes.

    Shape:
        output: ``(batch, columns)`` int64, codes ``0 .. k-1`` of the levels seen in fit.

    Args:
        columns: The columns, by default all features; categories, strings and booleans.
        unknown: A level that fit did not see is an ``"error"``, or gets the ``"slot"`` ``k``.

    Raises:
        DataError: A column is not categorical, has missing values, or an unseen level.

    >>> task = Task({"x": ["u", "v"], "y": ["a", "b"]}, target="y")
    >>> IngressCateg().as_graph().fit(task).outputs["ingress_categ.output"].spec
    (batch, 1) int64
    """

    accepts = CATEGORICAL
    unknown: Literal["error", "slot"] = "error"

    def token(self, id: str, task: Task) -> IngressToken:
        names = self._picked(task)
        levels = tuple(_levels(task, name) for name in names)
        return CategoricalToken(id, names, levels=levels, slot=self.unknown == "slot")


class IngressTensor(_Ingress):
    """A column of tensors enters the network; a lazy one is read batch by batch.

    Shape:
        output: ``(batch, *sizes)``, where a name is a size that is not known.

    Args:
        columns: The column, by default the only feature.
        shape: Sizes of a row, ``None`` for one that is not known; by default those of the column,
            and with ``"first"`` those of the first row, which is read to find them.
        dtype: The dtype, by default float32 for floats, and the column's own for others.

    Raises:
        DataError: There are several columns, or they are no tensors.
        ShapeError: The column has another shape, in training or later.

    >>> import torch
    >>> task = Task({"x": torch.zeros(4, 3, 8, 8), "y": ["a", "b"] * 2}, target="y")
    >>> IngressTensor().as_graph().fit(task).outputs["ingress_tensor.output"].spec
    (batch, 3, 8, 8) float32
    """

    accepts = frozenset({"tensor"})
    shape: tuple[int | None, ...] | Literal["first"] | None = None
    dtype: torch.dtype | None = None

    def token(self, id: str, task: Task) -> IngressToken:
        names = self._picked(task)
        if len(names) > 1:
            raise DataError(
                f"{self.key} takes one column of tensors, and there are {len(names)}.",
                why=f"they are {listing(names)}",
                mend=f'let each enter by itself: po("ingress_tensor", columns="{names[0]}")',
            )
        spec = task.lazy(names[0]).spec
        given = _first_shape(task, names[0]) if self.shape == "first" else self.shape
        return TensorToken(id, names, entering_spec(spec, given, self.dtype))


class Ingress(_Ingress):
    """A task of one kind of feature enters the network: numbers, categories or a tensor.

    This is the node that is put between a task and a layer where none was written.

    Raises:
        DataError: The features are of several kinds, or of one that no network takes.

    >>> task = Task({"x": [1.0, 2.0], "y": ["a", "b"]}, target="y")
    >>> Ingress().as_graph().fit(task).outputs["ingress.output"].spec
    (batch, 1) float32
    """

    accepts = NUMERIC | CATEGORICAL | {"tensor"}

    def token(self, id: str, task: Task) -> IngressToken:
        types = {task.types[name] for name in self._picked(task)}
        if types <= NUMERIC:
            return IngressNum(columns=self.columns).token(id, task)
        if types <= CATEGORICAL:
            return IngressCateg(columns=self.columns).token(id, task)
        if types == {"tensor"}:
            return IngressTensor(columns=self.columns).token(id, task)
        raise _several_kinds(task, self.columns.pick(task))


def _several_kinds(task: Task, names: Sequence[str]) -> DataError:
    """Refuse one door for features of several kinds, told apart in words."""
    kinds = {"tensors": {"tensor"}, "categories": CATEGORICAL, "numbers": NUMERIC}
    found = {word: [n for n in names if task.types[n] in kind] for word, kind in kinds.items()}
    shown = [f"features {listing(of)} are {word}" for word, of in found.items() if of]
    words = " and ".join(reversed([word for word, of in found.items() if of]))
    return DataError(
        f"{words.capitalize()} cannot enter a network through one door.",
        where=shown[0],
        why="; ".join(shown[1:]),
        mend='put po("encode") before the network, or let two paths enter: '
        'po("ingress_num", columns=sel.type("float", "int")) and po("ingress_categ", ...)'
        + (', and tensors by po("ingress_tensor", ...)' if found["tensors"] else ""),
    )


def _first_shape(task: Task, name: str) -> tuple[int | None, ...]:
    """The shape of the first row."""
    if len(task) == 0:
        raise DataError(f"Column {name!r} has no row whose shape could be found.")
    return tuple(materialize(task.lazy(name).take([0]))[0].shape)


def _levels(task: Task, name: str) -> tuple[str, ...]:
    """The levels of a column: declared order for a category, sorted otherwise."""
    declared = task.levels(name)
    words = as_words(task.column(name))
    seen = set(pc.unique(words).drop_null().to_pylist())
    if task.types[name] == "bool":
        return ("false", "true")
    return tuple(level for level in declared if level in seen) if declared else tuple(sorted(seen))


def _wrong_type(node: _Ingress, task: Task, wrong: list[str]) -> DataError:
    shown = ", ".join(f"{name!r} ({task.types[name]})" for name in wrong)
    return DataError(
        f"{node.key} cannot take {shown}.",
        why=f"it takes columns of type {listing(sorted(node.accepts))}",
        mend=_other_doors({task.types[name] for name in wrong}),
    )


def _other_doors(types: set[str]) -> str:
    """What to do with features of these types."""
    if types == {"tensor"}:
        return 'tensors enter by po("ingress_tensor", columns=...)'
    doors = ', tensors enter by po("ingress_tensor", columns=...)' if "tensor" in types else ""
    return (
        f'po("encode") makes numbers of categories, po("datefeatures") of dates{doors}; '
        'columns=sel.type("float") leaves the others out'
    )


register_conversion(Task, ModelDescriptor, Ingress)
