"""Where a table enters a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow.compute as pc

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port, register_conversion
from mlgraph.data.feed import Feed
from mlgraph.data.select import Selector
from mlgraph.data.task import Task
from mlgraph.data.token import CategoricalToken, IngressToken, NumericToken, as_words
from mlgraph.errors import DataError, UnknownColumnError, listing
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


class Ingress(_Ingress):
    """A task of one kind of feature enters the network: numbers or categories.

    This is the node that is put between a task and a layer where none was written.

    Raises:
        DataError: The features are of several kinds, or of one that no network takes.

    >>> task = Task({"x": [1.0, 2.0], "y": ["a", "b"]}, target="y")
    >>> Ingress().as_graph().fit(task).outputs["ingress.output"].spec
    (batch, 1) float32
    """

    accepts = NUMERIC | CATEGORICAL

    def token(self, id: str, task: Task) -> IngressToken:
        types = {task.types[name] for name in self._picked(task)}
        if types <= NUMERIC:
            return IngressNum(columns=self.columns).token(id, task)
        if types <= CATEGORICAL:
            return IngressCateg(columns=self.columns).token(id, task)
        raise DataError(
            "Numbers and categories cannot enter a network through one door.",
            where=f"features {listing(self._of(task, CATEGORICAL))} are categories",
            why=f"features {listing(self._of(task, NUMERIC))} are numbers",
            mend='put po("encode") before the network, or let two paths enter: '
            'po("ingress_num", columns=sel.type("float", "int")) and po("ingress_categ", ...)',
        )

    def _of(self, task: Task, kinds: frozenset[str]) -> list[str]:
        return [name for name in self.columns.pick(task) if task.types[name] in kinds]


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
        mend='po("encode") makes numbers of categories, po("datefeatures") of dates; '
        'columns=sel.type("float") leaves the others out',
    )


register_conversion(Task, ModelDescriptor, Ingress)
