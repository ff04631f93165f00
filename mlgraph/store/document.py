"""A graph as JSON values and back: what its file says, to be read and compared by people.

Nodes are named by their ids; all else is written and read as in a file. What a file keeps beside
its JSON (tensors, tables, estimators) has no place here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlgraph.core.graph import Graph
from mlgraph.errors import StateError
from mlgraph.store.archive import damaged
from mlgraph.store.codec import Reader, Writer, parts_of, text_of
from mlgraph.store.codecs import BY_TAG, CODECS
from mlgraph.store.load import bounded
from mlgraph.store.names import Names
from mlgraph.store.save import FORMAT, own_version
from mlgraph.store.text import from_bytes, to_bytes

_NAMES = {"format", "mlgraph", "nodes", "edges", "inputs", "outputs"}


def to_dict(graph: Graph) -> dict[str, Any]:
    """A graph as JSON values.

    Raises:
        StateError: A parameter cannot be written as JSON; names the node.

    >>> from mlgraph import po
    >>> to_dict(po("scale") >> po("nop"))["edges"]
    [['scale', 'output', 'nop', 'input']]
    """
    writer = Writer(CODECS)
    (written,) = writer.value(graph).values()
    if writer.tensors or writer.tables or writer.objects:
        raise StateError(
            "The graph cannot be written as JSON alone.",
            where=", ".join(writer.tensors),
            why="its parameters hold arrays, tensors, tables or estimators",
            mend="graph.save(path) keeps them in a file, and mlgraph.load(path) reads it",
        )
    named = zip(graph.ids, written["nodes"], strict=True)
    return {
        "format": FORMAT,
        "mlgraph": own_version(),
        "nodes": [{**node, "id": id, "chosen": "id" in node} for id, node in named],
        "edges": [list(edge) for edge in graph.edges],
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }


def from_dict(content: Mapping[str, Any], allow: Iterable[Any] = ()) -> Graph:
    """The graph of what ``to_dict`` returned, also after a journey as JSON text.

    Nothing that it names is run or imported but what a file may name.

    Args:
        content: The JSON values.
        allow: Your own functions and classes that they may name as well.

    Raises:
        StateError: They are not those of a graph, or name something that is not there or not
            allowed.

    >>> from mlgraph import po
    >>> graph = po("scale") >> po("pca", rank=2)
    >>> from_dict(to_dict(graph)) == graph
    True
    """
    try:
        return _read(_checked(content), Names.of(allow))
    except StateError as error:
        raise _of_no_file(error) from error.__cause__
    except MemoryError:
        raise
    except Exception as error:  # what does not fit shows where it is used
        why = f"{type(error).__name__}: {error}"
        raise _of_no_file(damaged("Its parts do not fit together.", why=why)) from error


def _checked(content: Any) -> tuple[dict[str, Any], int]:
    """The content as it is after a journey as text, and the length of that."""
    try:
        data = to_bytes(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged("It is not made of JSON values.", why=str(error)) from None
    found = from_bytes(data, "graph")
    if not isinstance(found, dict) or found.keys() != _NAMES:
        raise damaged("A graph has a format, nodes, edges, inputs and outputs.")
    if found["format"] != FORMAT:
        raise StateError(
            f"The file was written by mlgraph {found['mlgraph']}, in another form.",
            why=f"its format is {found['format']}; mlgraph {own_version()} reads format {FORMAT}",
            mend=f'pip install "mlgraph>={found["mlgraph"]}"',
        )
    return found, len(data)


def _read(checked: tuple[dict[str, Any], int], names: Names) -> Graph:
    content, size = checked
    ids = [text_of(node["id"]) for node in content["nodes"]]
    place = {id: number for number, id in enumerate(ids)}
    edges = [parts_of(edge, 4) for edge in content["edges"]]
    sides = [[_socket(place, at) for at in content[side]] for side in ("inputs", "outputs")]
    numbered = {
        "nodes": [_numbered(node) for node in content["nodes"]],
        "edges": [[place[source], out, place[to], into] for source, out, to, into in edges],
        "free": sides,
    }
    with bounded(size):
        graph: Graph = Reader(BY_TAG, names).value({"$graph": numbered})
    if list(graph.ids) != ids:
        raise damaged("Its nodes are not called as it says.")
    return graph


def _numbered(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node of a file: without an id where nobody chose one."""
    gone = {"chosen"} if node["chosen"] is True else {"chosen", "id"}
    return {name: value for name, value in node.items() if name not in gone}


def _socket(place: Mapping[str, int], address: str) -> list[Any]:
    id, _, port = text_of(address).rpartition(".")
    return [place[id], port]


def _of_no_file(error: StateError) -> StateError:
    """The same error where no file was read."""
    mend = error.mend.replace("load(path, ", "Graph.from_dict(content, ")
    what = error.what.replace("The file", "The dict", 1).replace("loaded", "read", 1)
    return StateError(what, where=error.where, why=error.why, mend=mend)
