"""A scikit-learn estimator as a value, and the tables it takes and gives."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from mlgraph.core.param import Token
from mlgraph.core.value import FrozenDict, freeze, lasting
from mlgraph.data.arrays import numbers
from mlgraph.data.column import feature_type
from mlgraph.errors import ConfigError, DataError, listing

# A sparse result is made dense up to this many cells (0.4 GB).
_DENSE_CELLS = 50_000_000
# Parameters that change no result.
RUNTIME = frozenset({"n_jobs", "verbose"})


@attrs.frozen(repr=False)
class EstimatorSpec:
    """A scikit-learn estimator as a value: its class and parameters.

    >>> from sklearn.preprocessing import StandardScaler
    >>> EstimatorSpec.of(StandardScaler(with_mean=False))
    StandardScaler(with_mean=False)
    """

    kind: type
    params: FrozenDict

    @classmethod
    def of(cls, estimator: Any) -> EstimatorSpec:
        """The description of an estimator, or of the one a class makes by default.

        Raises:
            ConfigError: It has no ``get_params``.
        """
        if isinstance(estimator, EstimatorSpec):
            return estimator
        estimator = estimator() if isinstance(estimator, type) else estimator
        if not _is_estimator(estimator):
            raise not_supported(estimator)
        params = estimator.get_params(deep=False)
        return cls(type(estimator), FrozenDict({k: _frozen(v) for k, v in params.items()}))

    def build(self) -> Any:
        """A new estimator, not fitted."""
        return self.kind(**{name: _thawed(value) for name, value in self.params.items()})

    def deep(self) -> dict[str, Any]:
        """All parameters, those of estimators inside included, by path."""
        return {name: _frozen(value) for name, value in self.build().get_params(deep=True).items()}

    def changed(self, params: Mapping[str, Any]) -> EstimatorSpec:
        """The same with other parameters, by path."""
        estimator = self.build()
        return EstimatorSpec.of(estimator.set_params(**{k: _thawed(v) for k, v in params.items()}))

    def tokens(self, path: str = "") -> Iterator[tuple[str, Token]]:
        """The tuning tokens among the parameters, by path."""
        for name, value in self.params.items():
            yield from _tokens(value, path + name, path)

    def __mlgraph_lasting__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.params.items() if name not in RUNTIME}
        return {"kind": self.kind, "params": lasting(kept)}

    def __repr__(self) -> str:
        signature = inspect.signature(self.kind).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.params.items()
            if name not in signature or repr(freeze(signature[name].default)) != repr(value)
        ]
        return f"{self.kind.__name__}({', '.join(shown)})"


@attrs.frozen(repr=False)
class _List:
    """A list among the parameters: some estimators tell lists from tuples."""

    items: tuple[Any, ...]

    def __repr__(self) -> str:
        return repr(list(self.items))


def _parts(spec: EstimatorSpec) -> Iterator[EstimatorSpec]:
    """The estimator and all those inside it."""
    yield spec
    waiting: list[Any] = list(spec.params.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, EstimatorSpec):
            yield from _parts(value)
        elif isinstance(value, (_List, tuple)):
            waiting += value.items if isinstance(value, _List) else value


def frame_for(spec: EstimatorSpec, table: pa.Table) -> Any:
    """The columns as the estimator takes them: a matrix, or a data frame.

    >>> from sklearn.decomposition import PCA
    >>> frame_for(EstimatorSpec.of(PCA()), pa.table({"a": [1, 2]}))
    array([[1.], [2.]])
    """
    parts = list(_parts(spec))
    if len(parts) == 1:
        _refuse_missing(spec, table)
    by_name = any(part.kind.__name__ == "ColumnTransformer" for part in parts)
    if not by_name and all(_simple(column.type) for column in table.columns):
        return np.column_stack([numbers(column) for column in table.columns])
    try:
        return table.to_pandas()
    except ImportError:
        raise ConfigError(
            f"{spec.kind.__name__} needs a data frame, and pandas is not installed.",
            why="columns that are not numbers, or are asked for by name, travel as a data frame",
            mend="pip install pandas, or encode the columns first",
        ) from None


def _simple(arrow: Any) -> bool:
    return feature_type(arrow) in ("float", "int", "bool")


def _refuse_missing(spec: EstimatorSpec, table: pa.Table) -> None:
    """Name the columns, where the estimator would only say that there are missing values."""
    holes = [name for name in table.column_names if table[name].null_count]
    if not holes or not spec.kind.__module__.startswith("sklearn."):
        return
    from sklearn.utils import get_tags

    tags = get_tags(spec.build())
    if not tags.input_tags.allow_nan and not tags.no_validation:
        raise DataError(
            f"{spec.kind.__name__} cannot work with missing values.",
            where=f"column {holes[0]!r}",
            why=f"columns with missing values: {listing(holes)}",
            mend='put po("impute") before it',
        )


def dense(spec: EstimatorSpec, result: Any) -> Any:
    """The result, a sparse matrix as a plain one.

    Raises:
        DataError: It would be too large.

    >>> from sklearn.preprocessing import OneHotEncoder
    >>> spec = EstimatorSpec.of(OneHotEncoder())
    >>> dense(spec, spec.build().fit_transform([["u"], ["v"]]))
    array([[1., 0.], [0., 1.]])
    """
    if not hasattr(result, "toarray"):
        return result
    cells = int(np.prod(result.shape))
    if cells > _DENSE_CELLS:
        raise DataError(
            f"{spec.kind.__name__} returned a sparse matrix that is too large to be a table.",
            why=f"{result.shape[0]} x {result.shape[1]} is {cells} cells; {_DENSE_CELLS} are "
            "allowed",
            mend="make fewer columns (max_features=, min_frequency=), or reduce them inside a "
            "Pipeline, for example with TruncatedSVD",
        )
    return result.toarray()


def names_of(estimator: Any, result: Any, given: Sequence[str], id: str) -> tuple[str, ...]:
    """Names of the columns of a result: what the estimator calls them, else ``<id>_0``, ...

    >>> names_of(object(), np.zeros((3, 2)), ["a"], "ica")
    ('ica_0', 'ica_1')
    """
    if hasattr(result, "columns"):
        return tuple(map(str, result.columns))
    width = 1 if result.ndim == 1 else result.shape[1]
    try:
        names = tuple(map(str, estimator.get_feature_names_out(list(given))))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        names = ()
    return names if len(names) == width else tuple(f"{id}_{i}" for i in range(width))


def columns_of(result: Any, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a matrix or data frame by name.

    >>> columns_of(np.array([[1, 2]]), ["a", "b"])
    {'a': array([1]), 'b': array([2])}
    """
    if hasattr(result, "iloc"):
        return {name: result.iloc[:, i] for i, name in enumerate(names)}
    if hasattr(result, "columns"):
        return {name: result[name] for name in names}
    matrix = result.reshape(len(result), -1)
    return {name: np.ascontiguousarray(matrix[:, i]) for i, name in enumerate(names)}


def not_supported(estimator: Any) -> ConfigError:
    """The error that says what an estimator must be able to do.

    >>> not_supported(3).what
    'int cannot be a node.'
    """
    return ConfigError(
        f"{type(estimator).__name__} cannot be a node.",
        why="expected get_params, set_params and fit, and one of: transform; predict of a "
        "classifier or regressor",
        mend='for a plain function, use po("colapply", fn=...)',
    )


def _is_estimator(value: Any) -> bool:
    needed = ("get_params", "set_params", "fit")
    return not isinstance(value, type) and all(hasattr(value, name) for name in needed)


def _frozen(value: Any) -> Any:
    if isinstance(value, EstimatorSpec) or _is_estimator(value):
        return EstimatorSpec.of(value)
    if isinstance(value, list):
        return _List(tuple(map(_frozen, value)))
    if type(value) is tuple:
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        return FrozenDict({key: _frozen(item) for key, item in value.items()})
    return freeze(value)


def _thawed(value: Any) -> Any:
    if isinstance(value, EstimatorSpec):
        return value.build()
    if isinstance(value, _List):
        return [_thawed(item) for item in value.items]
    if type(value) is tuple:
        return tuple(map(_thawed, value))
    if isinstance(value, FrozenDict):
        return {key: _thawed(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _tokens(value: Any, path: str, prefix: str) -> Iterator[tuple[str, Token]]:
    if isinstance(value, Token):
        yield path, value
    elif isinstance(value, EstimatorSpec):
        yield from value.tokens(f"{path}__")
    elif isinstance(value, (_List, tuple)):
        # Named parts, such as the steps of a Pipeline, are addressed without the list's name.
        for item in value.items if isinstance(value, _List) else value:
            if isinstance(item, tuple) and len(item) > 1 and isinstance(item[1], EstimatorSpec):
                yield from item[1].tokens(f"{prefix}{item[0]}__")
