"""Nodes that choose or weigh rows to learn from; new data pass unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.task import Task
from mlgraph.data.transform import RowTransform
from mlgraph.errors import ConfigError, DataError, did_you_mean, listing

_Rows = NDArray[np.int64]


class Subsample(RowTransform):
    """Learn from a random part of the rows.

    Rows keep their order, unless they are drawn with replacement.

    Args:
        frac: Share of the rows, rounded up; above 1 only with ``replace``.
        stratify: Take this share of every class.
        use_groups: Take whole groups: as many as come closest to ``frac``. ``None``: if the task
            has a group.
        replace: Draw with replacement.

    Raises:
        ConfigError: ``frac`` is above 1 without ``replace``, or groups are to be stratified.
        DataError: There are no classes to stratify by, or no groups.

    >>> task = Task({"a": [1, 2, 3, 4]})
    >>> len(Subsample(frac=0.5).as_graph().fit(task).outputs["subsample.output"])
    2
    """

    random = True

    frac: float = param(default=1 - math.exp(-1), lower=0, upper=1e6)
    stratify: bool = False
    use_groups: bool | None = None
    replace: bool = False

    def validate(self) -> None:
        if self.frac > 1 and not self.replace:
            raise ConfigError(
                f"{self.call_name()} cannot take more rows than there are.",
                why=f"frac={self.frac} without replace",
                mend="pass replace=True, or a frac of at most 1",
            )
        if self.stratify and self.use_groups:
            raise ConfigError(
                f"{self.call_name()} cannot keep groups whole and stratify.",
                mend="choose one of stratify and use_groups",
            )

    def positions(self, task: Task, ctx: Context) -> _Rows:
        rng = np.random.default_rng(ctx.seed)
        if self._by_group(task):
            return self._groups(task, rng)
        if not self.stratify:
            return self._drawn(np.arange(len(task)), rng)
        codes = _class_codes(self.call_name(), task)
        parts = [self._drawn(np.flatnonzero(codes == code), rng) for code in np.unique(codes)]
        rows = np.concatenate([np.zeros(0, np.int64), *parts])
        return rows if self.replace else np.sort(rows)

    def _drawn(self, rows: _Rows, rng: np.random.Generator) -> _Rows:
        # Rounded first: 0.1 * 30 is a little more than 3.
        count = math.ceil(round(self.frac * len(rows), 9))
        drawn = rng.choice(rows, count, replace=self.replace) if len(rows) else rows
        return drawn if self.replace else np.sort(drawn)

    def _by_group(self, task: Task) -> bool:
        grouped = bool(task.roles["group"])
        if self.use_groups and not grouped:
            raise DataError("This task has no groups.", mend='Say task.with_roles(group="...").')
        if grouped and self.use_groups is None and self.stratify:
            raise DataError(
                f"{self.call_name()} cannot keep groups whole and stratify.",
                where=f"column {task.roles['group'][0]!r}",
                mend="pass use_groups=False or stratify=False",
            )
        return grouped and self.use_groups is not False

    def _groups(self, task: Task, rng: np.random.Generator) -> _Rows:
        words = task.column(task.roles["group"][0]).to_pylist()
        _, codes = np.unique(np.array([str(word) for word in words]), return_inverse=True)
        sizes = np.bincount(codes)
        drawn = self._group_order(sizes, rng)
        total = np.cumsum(sizes[drawn])
        count = int(np.argmin(np.abs(total - self.frac * len(task)))) + 1 if len(total) else 0
        kept = drawn[:count]
        if not self.replace:
            return np.flatnonzero(np.isin(codes, kept)).astype(np.int64)
        parts = [np.flatnonzero(codes == code) for code in kept]
        rows: _Rows = np.concatenate([np.zeros(0, np.int64), *parts])
        return rows

    def _group_order(self, sizes: _Rows, rng: np.random.Generator) -> _Rows:
        if not self.replace or len(sizes) == 0:
            return np.asarray(rng.permutation(len(sizes)), dtype=np.int64)
        # Enough draws for the share, even if all of them were of the smallest group.
        count = math.ceil(self.frac * sizes.sum() / sizes.min()) + 1
        return np.asarray(rng.integers(len(sizes), size=count), dtype=np.int64)


class ClassBalancing(RowTransform):
    """Draw rows so that classes become equally frequent.

    The target count is ``ratio`` times the mean count of the reference classes, rounded half to
    even. Of larger classes this many random rows are kept; rows of smaller ones are repeated, as
    equally often as possible. Classes without rows do not count.

    Args:
        ratio: Factor of the target count; with ``reference="one"``, the count itself.
        reference: The classes whose mean count is the reference.
        adjust: The classes that are changed; ``"upsample"``: those below the target count,
            ``"downsample"``: those above.
        shuffle: Mix the rows; if not, kept rows keep their order, and repeated ones follow.

    Raises:
        DataError: The task is no classification.

    >>> task = Task({"y": ["a", "a", "a", "b"]}, target="y")
    >>> fitted = ClassBalancing(reference="major").as_graph().fit(task)
    >>> np.bincount(fitted.outputs["classbalancing.output"].target_codes())
    array([3, 3])
    """

    key = "classbalancing"
    random = True

    ratio: float = param(default=1.0, lower=0, upper=1e6)
    reference: str = param(
        default="all", choices=("all", "major", "minor", "nonmajor", "nonminor", "one")
    )
    adjust: str = param(
        default="all",
        choices=("all", "major", "minor", "nonmajor", "nonminor", "upsample", "downsample"),
    )
    shuffle: bool = True

    def positions(self, task: Task, ctx: Context) -> _Rows:
        codes = _class_codes(self.call_name(), task)
        counts = np.bincount(codes[codes >= 0], minlength=len(task.classes))
        wanted = self._target(counts)
        rng = np.random.default_rng(ctx.seed)
        rows = np.arange(len(task))
        added: list[_Rows] = []
        for code in np.argsort(-counts, kind="stable").tolist():
            if counts[code] == 0 or not self._adjusts(code, counts, wanted):
                continue
            mixed = rng.permutation(np.flatnonzero(codes == code))
            rows = rows[~np.isin(rows, mixed[wanted:])]
            added.append(np.resize(mixed, max(wanted - len(mixed), 0)))
        every = np.concatenate([rows, *added])
        return rng.permutation(every) if self.shuffle else every

    def _target(self, counts: _Rows) -> int:
        if self.reference == "one":
            return round(self.ratio)
        chosen = [counts[code] for code in _chosen(self.reference, counts)]
        return round(self.ratio * float(np.mean(chosen))) if chosen else 0

    def _adjusts(self, code: int, counts: _Rows, wanted: int) -> bool:
        if self.adjust == "upsample":
            return bool(counts[code] < wanted)
        if self.adjust == "downsample":
            return bool(counts[code] > wanted)
        return code in _chosen(self.adjust, counts)


class ClassWeights(Node):
    """Give every row a weight by its class.

    Args:
        method: ``"balanced"``: n / (classes * count), as in scikit-learn.
            ``"inverse_class_frequency"``: n / count. ``"inverse_square_root_of_frequency"``: its
            root. ``"median_frequency_balancing"``: median count / count. ``"explicit"``: those of
            ``weights``.
        weights: Weights by class, one for every class; implies ``"explicit"``.
        name: The weight column; it takes the place of one there is.

    Raises:
        ConfigError: ``weights`` is missing.
        DataError: The task is no classification, or a class has no weight.

    >>> task = Task({"y": ["a", "a", "a", "b"]}, target="y")
    >>> ClassWeights().as_graph().fit(task).outputs["classweights.output"].weights().round(2)
    array([0.67, 0.67, 0.67, 2. ])
    """

    key = "classweights"
    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)

    method: str = param(
        default="balanced",
        choices=(
            "balanced",
            "inverse_class_frequency",
            "inverse_square_root_of_frequency",
            "median_frequency_balancing",
            "explicit",
        ),
    )
    weights: Mapping[str, Any] | None = None
    name: str = "weight"

    def validate(self) -> None:
        if self.method == "explicit" and self.weights is None:
            raise ConfigError(f"{self.call_name()} needs weights.", mend='weights={"class": 1.0}')
        bad = [value for value in (self.weights or {}).values() if not _is_weight(value)]
        if bad:
            raise ConfigError(
                f"{self.call_name()} cannot take the weight {bad[0]!r}.",
                why="expected a number of at least 0",
            )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        codes = _class_codes(self.call_name(), task)
        by_class = self._by_class(task, np.bincount(codes, minlength=len(task.classes)))
        return (task.with_weight(by_class[codes], self.name),), None

    def apply_training(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return self.fit(inputs, ctx)[0]

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["input"],)

    def _by_class(self, task: Task, counts: _Rows) -> NDArray[np.float64]:
        if self.weights is not None:
            return self._explicit(task, self.weights)
        seen = counts[counts > 0]
        if len(seen) == 0:
            return np.ones(len(counts))
        safe = np.maximum(counts, 1)
        if self.method == "balanced":
            return np.asarray(counts.sum() / (len(seen) * safe))
        if self.method == "median_frequency_balancing":
            return np.asarray(np.median(seen) / safe if len(seen) else safe * 1.0)
        inverse = counts.sum() / safe
        return np.asarray(inverse if self.method == "inverse_class_frequency" else inverse**0.5)

    def _explicit(self, task: Task, weights: Mapping[str, Any]) -> NDArray[np.float64]:
        known = {str(label): label for label in task.classes}
        given = {str(label): value for label, value in weights.items()}
        wrong = sorted(given.keys() ^ known.keys())
        if wrong:
            raise DataError(
                f"The weights of {self.call_name()} do not fit the classes.",
                why=f"the classes are {listing(known)}; the weights are of {listing(given)}",
                mend=did_you_mean(wrong[0], known) or "give every class a weight",
            )
        return np.array([given[label] for label in known], dtype=np.float64)


def _class_codes(asking: str, task: Task) -> _Rows:
    if not task.classes:
        raise DataError(
            f"{asking} needs classes.",
            why=f"the task is of kind {task.kind!r}",
            mend="use it in classification only",
        )
    codes: _Rows = task.target_codes()
    return codes


def _chosen(which: str, counts: _Rows) -> set[int]:
    """The classes meant; among those that have rows."""
    seen = np.flatnonzero(counts > 0).tolist()
    major = [code for code in seen if counts[code] == counts.max()]
    minor = [code for code in seen if counts[code] == min(counts[seen], default=0)]
    sets = {"all": set(seen), "major": set(major), "minor": set(minor)}
    if which in sets:
        return sets[which]
    return set(seen) - sets[which.removeprefix("non")]


def _is_weight(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < math.inf
