"""What scikit-learn passes to ``fit`` and ``predict``, checked, as what a Task is made of.

Two ways lead in. Arrays, and data frames of integers and floats only, are checked as scikit-learn
checks them (shape, finiteness, type) and become columns of floats. Data frames with columns of
another type (strings, categories, booleans, dates) keep their types: scikit-learn checks names and
number of columns, the task and the nodes of the graph check the values. Arrays of objects with
strings in them go the second way if the graph can work on categories.

``validate_data`` also sets ``n_features_in_`` and ``feature_names_in_``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, column_or_1d, get_tags
from sklearn.utils.validation import _check_sample_weight, validate_data

from mlgraph.data.frame import Frame
from mlgraph.data.ingest import ingest
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.task import Task
from mlgraph.errors import DataError


def training_data(
    estimator: Any, X: Any, y: Any = None, *, y_numeric: bool = False, multi_output: bool = False
) -> tuple[Any, NDArray[Any] | None]:
    """Checked features and target of a fit.

    Args:
        estimator: The estimator that is fitted; learns number and names of the features.
        X: An array or data frame, rows first.
        y: One value per row, or None where the estimator can do without.
        y_numeric: Whether the target is a quantity.
        multi_output: Whether there may be several targets.

    Returns:
        What a Task is made of, and the target as an array of one dimension, or of two if there
        are several targets.

    Raises:
        DataError: X is a task, holds lazy tensors, or is a dict.
        ValueError: scikit-learn's, in its words.

    >>> from mlgraph.learn.supervised import GraphRegressor
    >>> training_data(GraphRegressor(), [[1], [2]], [3, 4])
    ({'x0': array([1., 2.])}, array([3, 4]))
    """
    _refuse_other_forms(estimator, X)
    if _keeps_types(estimator, X):
        # The target first: its check forgets the names of the features.
        if y is not None:
            y = validate_data(estimator, y=y, y_numeric=y_numeric, multi_output=multi_output)
        validate_data(estimator, X, y, skip_check_array=True)
        check_consistent_length(X, y)
        _refuse_no_rows(estimator, X)
        return _columns(X), _flat(y)
    rules = _rules(estimator)
    if y is None:
        matrix = validate_data(estimator, X, None, **rules)
    else:
        rules |= {"y_numeric": y_numeric, "multi_output": multi_output}
        matrix, y = validate_data(estimator, X, y, **rules)
    names = getattr(estimator, "feature_names_in_", None)
    return _by_name(matrix, _numbered(matrix) if names is None else names), _flat(y)


def new_data(estimator: Any, X: Any, names: Sequence[str]) -> Any:
    """Checked features of new rows, as what a Task is made of.

    Args:
        estimator: The fitted estimator.
        X: An array or data frame.
        names: What the columns of an array are called.

    Raises:
        DataError: X is a task, holds lazy tensors, or is a dict.
        ValueError: scikit-learn's, in its words.

    >>> from mlgraph.learn.supervised import GraphRegressor
    >>> estimator = GraphRegressor()
    >>> table, _ = training_data(estimator, [[1], [2]], [3, 4])
    >>> new_data(estimator, [[5]], list(table))
    {'x0': array([5.])}
    """
    _refuse_other_forms(estimator, X)
    if _keeps_types(estimator, X):
        validate_data(estimator, X, reset=False, skip_check_array=True)
        _refuse_no_rows(estimator, X)
        # Columns without names of their own are found by place.
        return _columns(X, None if hasattr(estimator, "feature_names_in_") else names)
    matrix = validate_data(estimator, X, reset=False, **_rules(estimator))
    return _by_name(matrix, names)


def row_weights(sample_weight: Any, rows: int) -> NDArray[np.float64] | None:
    """Checked weights, or None.

    Raises:
        ValueError: Not one number of at least 0 per row, or all are 0.

    >>> row_weights([1, 2], 2)
    array([1., 2.])
    """
    if sample_weight is None:
        return None
    weights = _check_sample_weight(
        sample_weight, np.empty((rows, 1)), dtype=np.float64, ensure_non_negative=True
    )
    if not np.any(weights):
        raise DataError(
            "All sample weights are zero.",
            why="at least one row must count",
            mend="leave sample_weight out, or give some row a weight above 0",
        )
    return np.asarray(weights, dtype=np.float64)


def training_task(
    table: Any,
    y: Any = None,
    *,
    kind: str | None = None,
    weights: NDArray[np.float64] | None = None,
    groups: Any = None,
) -> Task:
    """A task of checked features, target, weights and groups, under names that are free.

    >>> training_task({"y": [1.0, 2.0]}, [0.5, 1.5], kind="regression").target
    'y_2'
    """
    columns: dict[str, Any] = dict(ingest(table).columns)
    parts = [] if y is None else [y] if np.ndim(y) == 1 else list(np.transpose(y))
    targets: list[str] = []
    for i, values in enumerate(parts):
        targets.append(_free("y" if len(parts) == 1 else f"y{i}", columns))
        columns[targets[-1]] = values
    roles: dict[str, Any] = {"target": targets} if targets else {}
    if weights is not None:
        roles["weight"] = _free("sample_weight", columns)
        columns[roles["weight"]] = weights
    if groups is not None:
        roles["group"] = _free("groups", columns)
        columns[roles["group"]] = np.asarray(groups)
    return Task(columns, **roles, kind=kind)


def _flat(y: NDArray[Any] | None) -> NDArray[Any] | None:
    """A target in a single column as a vector, with scikit-learn's warning."""
    if y is None or np.ndim(y) == 1 or np.shape(y)[1] > 1:
        return y
    flat: NDArray[Any] = column_or_1d(y, warn=True)
    return flat


def _rules(estimator: Any) -> dict[str, Any]:
    """How arrays are checked. Floats: integers would later refuse new rows with fractions."""
    finite: bool | str = "allow-nan" if get_tags(estimator).input_tags.allow_nan else True
    return {"dtype": [np.float64, np.float32], "ensure_all_finite": finite}


def _keeps_types(estimator: Any, X: Any) -> bool:
    """Whether the columns of X have types that an array of floats would lose."""
    if hasattr(X, "iloc") and hasattr(X, "dtypes") and getattr(X, "ndim", 0) == 2:
        return any(getattr(dtype, "kind", "O") not in "iuf" for dtype in X.dtypes)
    if hasattr(X, "__arrow_c_stream__") and len(getattr(X, "shape", ())) == 2:
        return not all(_is_number(field.type) for field in pa.table(X).schema)
    if isinstance(X, (np.ndarray, list)) and get_tags(estimator).input_tags.categorical:
        return _has_strings(np.asarray(X, dtype=object) if isinstance(X, list) else X)
    return False


def _refuse_other_forms(estimator: Any, X: Any) -> None:
    """Refuse what graphs take and scikit-learn cannot: it indexes rows of tables of values."""
    is_sparse = hasattr(X, "tocsr")  # one form of sparse matrices is a dict, too
    if isinstance(X, Frame | LazyTensor | Mapping) and not is_sparse:
        raise DataError(
            f"{type(estimator).__name__} takes an array or a data frame, not a {type(X).__name__}.",
            why="scikit-learn picks rows of tables of values, and has no tensors to be read later",
            mend="fit the graph itself: graph.fit(task, valid=0.2), then fitted.predict(task); "
            "task.split(0.2, seed=1) makes two tasks of one",
        )


def _refuse_no_rows(estimator: Any, X: Any) -> None:
    if len(X) == 0:
        raise DataError(
            f"X has 0 sample(s), and {type(estimator).__name__} needs at least one.",
            mend="pass a table with rows",
        )


def _is_number(arrow: Any) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow))


def _has_strings(array: NDArray[Any]) -> bool:
    objects = array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat)
    return array.ndim == 2 and (objects or array.dtype.kind == "U")


def _columns(X: Any, names: Sequence[str] | None = None) -> Any:
    """The columns by name; those of an array by place."""
    if isinstance(X, (np.ndarray, list)):
        matrix = np.asarray(X, dtype=object)
        columns = [matrix[:, i].tolist() for i in range(matrix.shape[1])]
        return dict(zip(names or _numbered(matrix), columns, strict=True))
    if names is None:
        return X
    return dict(zip(names, ingest(X).columns.values(), strict=True))


def _numbered(matrix: NDArray[Any]) -> list[str]:
    return [f"x{i}" for i in range(matrix.shape[1])]


def _by_name(matrix: NDArray[Any], names: Iterable[str]) -> dict[str, NDArray[Any]]:
    return {name: matrix[:, i] for i, name in enumerate(names)}


def _free(name: str, taken: Iterable[str]) -> str:
    """The name, or the first of ``name_2``, ``name_3``, ... that no column has."""
    known, number, free = set(taken), 2, name
    while free in known:
        free, number = f"{name}_{number}", number + 1
    return free
