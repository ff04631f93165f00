"""Which columns a node works on: chosen by the user, and of types that the node accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.column import TYPES
from mlgraph.data.selector import Selector
from mlgraph.data.task import Task
from mlgraph.errors import DataError, listing


def selector(value: object) -> Selector | None:
    """What a parameter ``columns=`` may be: ``None``, a name, names or a selector.

    >>> selector("a"), selector(None)
    (sel.names('a'), None)
    """
    return None if value is None else Selector.of(value)


class ColumnsNode(Node):
    """A node from task to task that works on some of the features.

    Class attributes:
        accepts: The feature types the node can work on.

    Args:
        columns: The columns to work on, by default all that the node accepts.

    >>> ColumnsNode.inputs
    (Port('input', Task),)
    """

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)
    accepts: ClassVar[frozenset[str]] = frozenset(TYPES)

    columns: Any = param(default=None, convert=selector)

    def affected(self, task: Task) -> tuple[str, ...]:
        """The columns the node works on.

        Raises:
            DataError: A column that was asked for by name has a type the node cannot work on.
        """
        picked = task.features if self.columns is None else self.columns.pick(task)
        asked = _asked_for(self.columns.__mlgraph_json__()) if self.columns is not None else ()
        for name in picked:
            if name in asked and task.types[name] not in self.accepts:
                raise self._unfit(name, task.types[name])
        return tuple(name for name in picked if task.types[name] in self.accepts)

    def _unfit(self, name: str, kind: str) -> DataError:
        accepted = [known for known in TYPES if known in self.accepts]
        return DataError(
            f"{self.call_name()} cannot work on column {name!r}.",
            where=f"column {name!r}",
            why=f"it is {kind}; accepted are {listing(accepted)}",
            mend="leave it out of columns=, or convert it first",
        )


def _asked_for(content: Mapping[str, Any]) -> frozenset[str]:
    """The names a selector spells out; those it excludes or finds by a rule do not count."""
    if content["sel"] == "names":
        return frozenset(content["args"])
    if content["sel"] in ("and", "or"):
        return frozenset().union(*map(_asked_for, content["args"]))
    return frozenset()
