"""What every node promises, as functions that anybody's tests can call.

    from mlgraph.testing import check_node

    def test_my_node_keeps_its_promises(task):
        check_node(MyNode(), task)

A promise that a node does not make is switched off by name: ``skip=("batches",)``. The promises
are meant for nodes that get a task and give a task or a prediction.
"""

from __future__ import annotations

import copy
import functools
import json
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from mlgraph.core.base import Context, NodeBase
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.core.route import Nop
from mlgraph.data.prediction import Prediction
from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.data.transform import TaskTransform
from mlgraph.errors import ConfigError, DataError, MLGraphError, UnknownParameterError, listing
from mlgraph.testing.alike import alike, alike_columns, rows_of

SEED = 7


def check_node(node: Node, task: Task, *, skip: Collection[str] = ()) -> None:
    """Check that a node keeps the promises of ``PROMISES``.

    Args:
        node: The node.
        task: Data it can be fitted on: a few dozen rows with ids 0, 1, 2, ..., features of all the
            types it should cope with.
        skip: Names of promises that it does not make.

    Raises:
        AssertionError: A promise is broken; says which.
        ConfigError: There is no promise of a name in ``skip``.

    >>> from mlgraph.core.route import Nop
    >>> check_node(Nop(), Task({"a": [1.0, 2.0, 3.0]}), skip=("wrong_input", "layout"))
    """
    unknown = [name for name in skip if name not in PROMISES]
    if unknown:
        raise ConfigError(
            f"There is no promise {listing(unknown)}.", why=f"they are {listing(PROMISES, 30)}"
        )
    for name, check in PROMISES.items():
        if name in skip:
            continue
        try:
            check(node, task)
        except AssertionError as error:
            raise AssertionError(f"{node!r} breaks the promise {name!r}: {error}") from error
        except Exception as error:
            error.add_note(f"while {node!r} was checked for the promise {name!r}")
            raise


def construction(node: Node, task: Task) -> None:
    """Id, ports and ``repr`` are there; unknown names and impossible values are refused."""
    assert repr(node).startswith(("po(", "nn(")), f"its repr is {node!r}"
    inputs, outputs = node.ports()
    assert inputs and outputs, "it needs an input and an output"
    type(node).check_id(node.default_id)
    _refuses(UnknownParameterError, lambda: node.with_parameters({"no_such_parameter": 1}))
    for field in attrs.fields(type(node)):  # type: ignore[arg-type]
        details = field.metadata.get("param")
        if details is not None and details.choices:
            wrong = {field.name: "no such choice"}
            _refuses(ConfigError, functools.partial(node.with_parameters, wrong))


def wrong_input(node: Node, task: Task) -> None:
    """A value that is no task is refused in both phases, by an error that names the node."""
    graph, fitted = node.as_graph(), _fit(node, task)
    for attempt in (lambda: graph.fit(3, seed=SEED), lambda: fitted.predict(3)):
        error = _refuses(MLGraphError, attempt)
        assert node.default_id in str(error), f"the error does not name the node: {error}"


def repeatable(node: Node, task: Task) -> None:
    """With one seed, two fits agree, and so do two applications of one fit."""
    one, two = _fit(node, task), _fit(node, task)
    alike(_outputs(one), _outputs(two), "two fits")
    alike(one.predict(task), one.predict(task), "two applications")
    alike(one.predict(task), two.predict(task), "applications of two fits")


def fit_is_apply(node: Node, task: Task) -> None:
    """What comes out of the fit is what comes out when the same data are new data."""
    fitted = _fit(node, task)
    made, applied = _outputs(fitted), _by_port(node, fitted.predict(task))
    for name, value in made.items():
        alike(value, applied[name], f"output {name!r} of fit and apply")


def input_unchanged(node: Node, task: Task) -> None:
    """The task that goes in stays as it was."""
    columns, content = dict(task.columns), task.fingerprint
    _fit(node, task).predict(task)
    same = all(task.columns[name] is column for name, column in columns.items())
    assert same and task.fingerprint == content, "the task was changed"


def layout(node: Node, task: Task) -> None:
    """Data without the features of the fit are refused."""
    fitted = _fit(node, task)
    _refuses(MLGraphError, lambda: _apply(node, fitted, task.select(sel.none())))


def column_order(node: Node, task: Task) -> None:
    """The order of the columns of new data makes no difference."""
    fitted = _fit(node, task)
    turned = task.replace({}, tuple(reversed(task.features)))
    wanted = _by_port(node, fitted.predict(task))
    alike(wanted, _apply(node, fitted, turned), "columns in another order", ordered=False)


def no_features(node: Node, task: Task) -> None:
    """A task without features passes, with as many rows."""
    nothing = task.select(sel.none())
    fitted = _fit(node, nothing)
    result = fitted.predict(nothing)
    for value in _by_port(node, result).values():
        assert len(value) == len(task), f"{len(value)} rows came of {len(task)}"


def no_rows(node: Node, task: Task) -> None:
    """No rows become no rows, with the same columns."""
    fitted = _fit(node, task)
    full, none = fitted.predict(task), fitted.predict(task.empty())
    for name, value in _by_port(node, none).items():
        alike(rows_of(_by_port(node, full)[name], []), value, f"output {name!r} of no rows")


def one_row(node: Node, task: Task) -> None:
    """A row alone becomes what it becomes among others."""
    fitted = _fit(node, task)
    _parts_are_whole(node, fitted, task, [[0], [len(task) - 1]])


def batches(node: Node, task: Task) -> None:
    """Rows in batches, in any order, become what they become together."""
    mixed = np.random.default_rng(SEED).permutation(len(task))
    _parts_are_whole(node, _fit(node, task), task, np.array_split(mixed, 3))


def columns_restriction(node: Node, task: Task) -> None:
    """``columns=`` keeps the others as they are, and does to these what it would do to them alone.

    Only for nodes that derive from ``TaskTransform``.
    """
    if not isinstance(node, TaskTransform):
        return
    nothing = node.with_parameters({"columns": sel.none()})
    alike(_fit(nothing, task).predict(task), task, "a task of which no column is selected")
    names = node.affected(task)
    half = names[: (len(names) + 1) // 2]
    part = node.with_parameters({"columns": sel.names(*half)})
    found = _fit(part, task).predict(task)
    alone = _fit(node, task.select(half)).predict(task.select(half)) if half else found
    for name in alone.features if half else ():
        alike_columns(found, alone, name, "half of the columns")
    for name in task.features:
        kept = name in half or found.columns[name] is task.columns[name]
        assert kept, f"column {name!r}, which was not selected, was changed"


def target_blind(node: Node, task: Task) -> None:
    """The target of new data, other or absent, makes no difference to what is made of them."""
    if task.target is None:
        return
    fitted = _fit(node, task)
    wanted = fitted.predict(task)
    turned = task.to_arrow()
    place = turned.column_names.index(task.target)
    values = turned[task.target].take(pa.array(np.arange(len(task))[::-1]))
    turned = turned.set_column(place, task.target, values)
    for table in (turned, task.table()):
        new = Task(table, row_ids=task.row_ids, **_goal(task, table))
        if task.target not in new.columns:
            new = fitted.prototypes[next(iter(fitted.prototypes))].like(new)
        alike(wanted, fitted.predict(new), "another target", target=False)


def empty_class(node: Node, task: Task) -> None:
    """A class without rows is still a class afterwards."""
    if task.kind != "classification" or task.levels(str(task.target)) is None:
        return
    words = task.column(str(task.target)).combine_chunks()
    levels = [*words.dictionary.to_pylist(), "a class without rows"]
    target = pa.DictionaryArray.from_arrays(words.indices, pa.array(levels, pa.string()))
    table = task.to_arrow()
    place = table.column_names.index(str(task.target))
    table = table.set_column(place, str(task.target), target)
    more = Task(table, row_ids=task.row_ids, **_goal(task, table))
    for value in _by_port(node, _fit(node, more).predict(more)).values():
        assert value.classes == more.classes, f"the classes became {value.classes}"


def validation(node: Node, task: Task) -> None:
    """Validation data become in the fit what they become as new data."""
    if node.trains:
        return
    train, held = task.take(np.arange(0, len(task), 2)), task.take(np.arange(1, len(task), 2))
    wanted = _by_port(node, _fit(node, train).predict(held))
    name = next(name for name, value in wanted.items() if isinstance(value, Task))
    ids = [node.default_id, "probe_of_valid"]
    graph = (node.as_graph() & _ProbeOfValid()).connect(f"{ids[0]}.{name}", ids[1])
    found = graph.fit(train, valid=held, seed=SEED).states[ids[1]]
    alike(wanted[name], found, "validation data")


def copies(node: Node, task: Task) -> None:
    """Copies and pickles of the node are equal to it; a pickled fit predicts the same."""
    for other in (copy.copy(node), copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert other == node and hash(other) == hash(node), "a copy is not equal"
    content = node.to_json()
    assert json.loads(json.dumps(content)) == content, "its JSON does not survive"
    fitted = _fit(node, task)
    again = pickle.loads(pickle.dumps(fitted))
    alike(fitted.predict(task), again.predict(task), "a pickled fit")


def hashes(node: Node, task: Task) -> None:
    """A value changes the hash but not the structure's; an id changes both.

    Values that change no result change neither.
    """
    graph, renamed = node.as_graph(), node.renamed("another_id").as_graph()
    assert graph.hash != renamed.hash, "an id does not change the hash"
    assert graph.structure_hash != renamed.structure_hash, "an id does not change the structure"
    for name in node.field_names():
        value = getattr(node, name)
        if not isinstance(value, bool) or "structure" in node.tags(name):
            continue
        try:
            other = node.with_parameters({name: not value}).as_graph()
        except ConfigError:
            continue
        runs = "runtime" in node.tags(name)
        told = f"the value of {name!r} {'changes' if runs else 'does not change'} the hash"
        assert (other.hash == graph.hash) == runs, told
        same = other.structure_hash == graph.structure_hash
        assert same, f"the value of {name!r} changes the structure"


def without_target(node: Node, task: Task) -> None:
    """Data without a target will do."""
    plain = Task(task.table(), row_ids=task.row_ids)
    fitted = _fit(node, plain)
    assert len(fitted.predict(plain)) == len(task)


def missing_values(node: Node, task: Task) -> None:
    """Missing values are dealt with, or refused by an error that names a column."""
    places = pa.array([None, *range(1, len(task))], pa.int64())
    columns = {
        name: task.column(name).take(places)
        for name in task.features
        if task.types[name] != "tensor"
    }
    holes = task.replace(columns, task.features)
    for attempt in (lambda: _fit(node, holes), lambda: _fit(node, task).predict(holes)):
        try:
            attempt()
        except DataError as error:
            named = any(repr(name) in str(error) for name in columns)
            assert named, f"missing values are refused without naming a column: {error}"


def position(node: Node, task: Task) -> None:
    """What comes out does not depend on what else is in the graph."""
    alone = _fit(node, task)
    longer = (Nop(id="before") >> node).fit(task, seed=SEED)
    alike(_outputs(alone), _outputs(longer), "another graph")
    alike(alone.predict(task), longer.predict(task), "another graph")


PROMISES: Mapping[str, Callable[[Node, Task], None]] = {
    check.__name__: check
    for check in (
        construction,
        wrong_input,
        repeatable,
        fit_is_apply,
        input_unchanged,
        layout,
        column_order,
        no_features,
        no_rows,
        one_row,
        batches,
        columns_restriction,
        target_blind,
        empty_class,
        validation,
        copies,
        hashes,
        without_target,
        missing_values,
        position,
    )
}


class _ProbeOfValid(Node):
    """Remembers the validation value that reaches it."""

    inputs = (Port("input"),)
    outputs = (Port("output", None),)
    trains = True
    key = "probe_of_valid"

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return (None,), (ctx.valid or {}).get("input")

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (None,)


def _fit(node: Node, task: Task) -> FittedGraph:
    return node.as_graph().fit(task, seed=SEED)


def _apply(node: NodeBase, fitted: FittedGraph, task: Task) -> dict[str, Any]:
    """The node's ``apply`` itself: the graph would put the columns in order first."""
    id = node.default_id
    port = node.ports()[0][0]
    ctx = Context(id=id, phase="apply", seed=SEED)
    value = (task,) if port.variadic else task
    outputs = node.apply(fitted.states[id], {port.name: value}, ctx)
    names = [port.name for port in node.ports()[1]]
    named = outputs if isinstance(outputs, Mapping) else dict(zip(names, outputs, strict=True))
    return _comparable(named)


def _outputs(fitted: FittedGraph) -> dict[str, Any]:
    named = {name.rpartition(".")[2]: value for name, value in fitted.outputs.items()}
    return _comparable(named)


def _by_port(node: NodeBase, result: Any) -> dict[str, Any]:
    names = [port.name for port in node.ports()[1]]
    if isinstance(result, Mapping):
        return _comparable({name.rpartition(".")[2]: value for name, value in result.items()})
    return _comparable({names[0]: result})


def _comparable(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in named.items() if isinstance(v, (Task, Prediction))}


def _goal(task: Task, table: pa.Table) -> dict[str, Any]:
    if task.target not in table.column_names:
        return {}
    return {"target": task.target, "kind": task.kind}


def _parts_are_whole(node: Node, fitted: FittedGraph, task: Task, parts: Any) -> None:
    whole = _by_port(node, fitted.predict(task))
    for places in parts:
        for name, value in _by_port(node, fitted.predict(task.take(places))).items():
            alike(rows_of(whole[name], places), value, f"rows {list(places)[:3]} on their own")


def _refuses(kind: type[Exception], attempt: Callable[[], Any]) -> Exception:
    try:
        attempt()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")
