"""Saving: a graph, fitted or not, or an estimator, as one file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlgraph.core.files import replacing
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.errors import MLGraphError, StateError
from mlgraph.store import tensors
from mlgraph.store.archive import Entry, pack
from mlgraph.store.arrow import to_bytes as table_bytes
from mlgraph.store.codec import Writer
from mlgraph.store.codecs import CODECS
from mlgraph.store.text import MAX_BYTES, to_bytes

FORMAT = 1
# The estimators that can be saved, by class name.
ESTIMATORS = ("GraphClassifier", "GraphRegressor", "GraphTransformer")


def save(saved: Any, path: str | Path) -> None:
    """Write a graph, fitted graph or estimator to a file.

    The file appears when it is complete; if saving fails, an older file stays as it is.

    Args:
        saved: What to save.
        path: Where to.

    Raises:
        StateError: A part of it cannot be saved; names the node.

    >>> import tempfile
    >>> from mlgraph import load, po
    >>> graph = po("scale") >> po("pca")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(graph, f"{folder}/graph.mlgraph")
    ...     load(f"{folder}/graph.mlgraph") == graph
    True
    """
    entries = entries_of(saved)
    with replacing(path) as file:
        pack(file, entries)


def entries_of(saved: Any) -> dict[str, Entry]:
    """The entries of the file of something, by name.

    Raises:
        StateError: A part of it cannot be saved; names the node.

    >>> from mlgraph import po
    >>> list(entries_of(po("scale").as_graph()))
    ['manifest.json', 'graph.json']
    """
    writer = Writer(CODECS)
    kind, parts = _parts(writer, saved)
    made = {f"{name}.json": Entry.of(_bounded(name, to_bytes(p))) for name, p in parts.items()}
    if writer.tensors:
        made[tensors.NAME] = tensors.entry(writer.tensors)
    for number, table in enumerate(writer.tables):
        made[f"tables/{number}.arrow"] = Entry.of(table_bytes(table))
    for number, data in enumerate(writer.objects):
        made[f"objects/{number}.skops"] = Entry.of(data)
    return {"manifest.json": Entry.of(to_bytes(_manifest(kind, writer))), **made}


def _manifest(kind: str, writer: Writer) -> dict[str, Any]:
    providers = {
        name: {"version": version, "nodes": sorted(keys)}
        for name, (version, keys) in sorted(writer.providers.items())
    }
    return {"format": FORMAT, "kind": kind, "mlgraph": own_version(), "providers": providers}


def own_version() -> str:
    """The version of mlgraph that is installed, or the empty string.

    >>> own_version().count(".")
    2
    """
    try:
        return importlib.metadata.version("mlgraph")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _parts(writer: Writer, saved: Any) -> tuple[str, dict[str, Any]]:
    """What kind of thing it is, and its documents by name."""
    if isinstance(saved, Graph):
        return "graph", {"graph": {"graph": _graph(writer, saved)}}
    if isinstance(saved, FittedGraph):
        return "fitted", _fitted(writer, saved)
    name = type(saved).__name__
    if name in ESTIMATORS and type(saved).__module__.startswith("mlgraph.learn."):
        return "estimator", _estimator(writer, saved)
    raise StateError(
        f"A {name} cannot be saved as a file of its own.",
        why="graphs, fitted graphs and the estimators made of graphs can",
        mend="save(node.as_graph(), path)" if hasattr(saved, "as_graph") else "",
    )


def _graph(writer: Writer, graph: Graph) -> Any:
    with writer.inside("graph"):
        return writer.value(graph)


def _fitted(writer: Writer, fitted: FittedGraph) -> dict[str, Any]:
    graph = {"graph": _graph(writer, fitted.graph), "resolved": _graph(writer, fitted.resolved)}
    with writer.inside("inputs"):
        prototypes = writer.fields(fitted.prototypes)
    states = {
        "seed": fitted.seed,
        "states": _states(writer, fitted.states),
        "prototypes": prototypes,
    }
    return {"graph": graph, "states": states}


def _states(writer: Writer, states: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for id, state in states.items():
        try:
            with writer.inside(id):
                made[id] = writer.value(state)
        except MLGraphError as error:
            raise error.at(f"node {id!r}, state") from None
    return made


def _estimator(writer: Writer, estimator: Any) -> dict[str, Any]:
    own = estimator.get_params(deep=False)
    learned = {name: v for name, v in vars(estimator).items() if name not in own}
    found = learned.pop("graph_", None)
    made = _fitted(writer, found) if isinstance(found, FittedGraph) else {"graph": {}}
    with writer.inside("estimator"):
        params = writer.fields(own)
        kept = writer.fields(learned)
    about = {"class": type(estimator).__name__, "params": params, "learned": kept}
    return {**made, "graph": {**made["graph"], "estimator": about}}


def _bounded(name: str, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise StateError(
            "There is too much to be saved as JSON.",
            where=f"{name}.json",
            why=f"it has {len(data):,} bytes; {MAX_BYTES:,} can be loaded again",
            mend="keep large states as arrays, tensors or Arrow data",
        )
    return data
