"""Frame: contents whose columns can be chosen, added, replaced and renamed; no learning yet.

Choosing columns copies a dict of references, never data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from mlgraph.data.column import Column
from mlgraph.data.contents import Contents
from mlgraph.data.ingest import ingest, to_column
from mlgraph.data.lazy.column import LazyTensor, as_lazy
from mlgraph.data.roles import renamed, unknown_column
from mlgraph.data.selector import Selector
from mlgraph.errors import DataError, listing


@attrs.frozen(eq=False, slots=False, init=False, repr=False)
class Frame(Contents):
    """Named Arrow columns in roles, one id per row.

    What a ``Task`` is made of; see there for how to make one.
    """

    def select(self, columns: Selector | str | Sequence[str] | None) -> Self:
        """Only these features, in the order they have here.

        Raises:
            DataError: A column is not a feature, or there is no such column.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1], "b": [2]}).select("b").features
        ('b',)
        """
        self._refuse_other_roles(columns)
        return self.replace({}, Selector.of(columns).pick(self))

    def drop(self, columns: Selector | str | Sequence[str]) -> Self:
        """All features but these.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1], "b": [2]}).drop("b").features
        ('a',)
        """
        self._refuse_other_roles(columns)
        gone = Selector.of(columns).pick(self)
        return self.replace({}, [name for name in self.features if name not in gone])

    def replace(
        self, columns: Mapping[str, Any], order: Sequence[str], *, copy: bool = True
    ) -> Self:
        """The features in ``order``: those in ``columns`` new, the others as they are.

        Args:
            columns: New values by name, one per row in view.
            order: Names of all features from now on.
            copy: Whether NumPy arrays are copied.

        Raises:
            DataError: Lengths differ, or a name belongs to a column that is not a feature.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1], "b": [2]}).replace({"c": [3.0]}, ["c", "a"]).types
        mappingproxy({'c': 'float', 'a': 'int'})
        """
        new = {name: self._arrived(name, values, copy) for name, values in columns.items()}
        self._check_order(new, order)
        features = {name: new[name] if name in new else self.columns[name] for name in order}
        others = {
            name: column for name, column in self.columns.items() if name not in self.features
        }
        roles = {**self.roles, "feature": tuple(order)}
        return self._with(columns={**features, **others}, roles=roles)

    def with_columns(self, columns: Any, at: Mapping[str, str] | None = None) -> Self:
        """More features; those whose name exists take the place of the old ones.

        Args:
            columns: Columns by name, or a table, with one value per row in view.
            at: The feature that a new one follows; without it, new ones come last.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1], "b": [2]}).with_columns({"c": [3]}, at={"c": "a"}).features
        ('a', 'c', 'b')
        """
        new = ingest(columns).columns
        order = list(self.features)
        for name in [name for name in new if name not in order]:
            after = (at or {}).get(name)
            if after is not None and after not in order:
                raise unknown_column(after, order)
            order.insert(len(order) if after is None else order.index(after) + 1, name)
        return self.replace(new, order)

    def lazy(self, name: str) -> LazyTensor:
        """A column of tensors as one that is read when asked for.

        Raises:
            DataError: The column does not hold tensors.
            UnknownColumnError: There is no such column.

        >>> import numpy as np
        >>> from mlgraph.data.task import Task
        >>> Task({"image": np.zeros((5, 8, 8))}).lazy("image")
        <lazy 8 x 8 float64, 5 rows>
        """
        try:
            return as_lazy(self._column(name))
        except DataError as error:
            raise error.at(f"column {name!r}") from None

    def with_lazy(self, columns: Mapping[str, LazyTensor]) -> Self:
        """The same with lazy tensors in the places of features.

        Raises:
            DataError: There is no such feature, or lengths differ.

        >>> import numpy as np
        >>> import torch
        >>> from mlgraph.data.task import Task
        >>> task = Task({"image": np.zeros((5, 8, 8))})
        >>> task.with_lazy({"image": task.lazy("image").to(torch.float32)}).lazy("image").dtype
        torch.float32
        """
        return self.replace(columns, self.features)

    def rename(self, mapping: Mapping[str, str]) -> Self:
        """The same columns under new names, in all their roles.

        Raises:
            DataError: There is no such column, or two would have one name.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1], "b": [2]}).rename({"a": "c"}).features
        ('c', 'b')
        """
        for name in mapping:
            self._column(name)
        names = [mapping.get(name, name) for name in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1 or not name})
        if twice:
            raise DataError(
                f"Renaming would give several columns the name {twice[0]!r}.",
                mend="choose other names, or drop all but one of these columns first",
            )
        columns = dict(zip(names, self.columns.values(), strict=True))
        return self._with(columns=columns, roles=renamed(self.roles, mapping))

    # Inside

    def _arrived(self, name: str, values: Any, copy: bool = True) -> Column:
        column = to_column(name, values, copy=copy)
        if len(column) != len(self):
            raise DataError(
                f"New column {name!r} has {len(column)} values for {len(self)} rows.",
                where=f"column {name!r}",
            )
        return column

    def _check_order(self, new: Mapping[str, Column], order: Sequence[str]) -> None:
        for name in order:
            if name in self.columns and name not in self.features:
                raise self._not_a_feature(name)
            if name not in new and name not in self.features:
                raise unknown_column(name, self.features)
        lost = [name for name in new if name not in order]
        if lost or len(set(order)) != len(order):
            raise DataError(
                "Names do not fit the order of the features.",
                why=f"not in the order: {listing(lost)}" if lost else "a name occurs twice",
            )

    def _refuse_other_roles(self, columns: object) -> None:
        names = [columns] if isinstance(columns, str) else columns
        for name in names if isinstance(names, list | tuple) else ():
            if name in self.columns and name not in self.features:
                raise self._not_a_feature(name)

    def _not_a_feature(self, name: str) -> DataError:
        parts = [role for role, names in self.roles.items() if name in names]
        return DataError(
            f"Column {name!r} is not a feature.",
            where=f"column {name!r}",
            why=f"its role is {listing(parts)}" if parts else "it has no role",
            mend="Only features can be selected, dropped or replaced.",
        )
