"""Loading: nothing from the file is run, nothing is written, and every part is checked first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.errors import StateError
from mlgraph.store import tensors
from mlgraph.store.archive import MAX_BYTES, Archive, damaged
from mlgraph.store.arrow import from_bytes as table_from
from mlgraph.store.codec import Reader, text_of
from mlgraph.store.codecs import BY_TAG
from mlgraph.store.names import Names
from mlgraph.store.save import ESTIMATORS, FORMAT, own_version
from mlgraph.store.text import MAX_BYTES as MAX_TEXT
from mlgraph.store.text import from_bytes
from mlgraph.store.weights import SLACK, Bounded

_MAX_MANIFEST = 2**22
# Of torch, while values are made: losses and networks are tried out, nothing is trained.
_OPERATIONS = 2**20


def load(path: str | Path, allow: Iterable[Any] = (), *, max_bytes: int = MAX_BYTES) -> Any:
    """Read what ``save`` wrote: a graph, a fitted graph or an estimator.

    Nothing in the file is run, and no pickle is read. What it may name is fixed: nodes of the
    catalogue, and functions and classes of torch, NumPy and scikit-learn that only calculate.

    Args:
        path: The file.
        allow: Your own functions and classes that it may name as well.
        max_bytes: The largest file that is read.

    Returns:
        A Graph, a FittedGraph, or a GraphClassifier, GraphRegressor or GraphTransformer.

    Raises:
        StateError: The file is damaged, not one of mlgraph's, made by a newer version, or names
            something that is not there or not allowed.
        OSError: It cannot be opened.

    >>> import tempfile
    >>> from mlgraph import Task, po
    >>> task = Task({"a": [1.0, 3.0]})
    >>> fitted = po("scale").as_graph().fit(task)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted.save(f"{folder}/fitted.mlgraph")
    ...     load(f"{folder}/fitted.mlgraph").predict(task).column("a").to_pylist()
    [-1.0, 1.0]
    """
    if Path(path).suffix == ".ckpt":
        raise StateError(
            "This is a checkpoint of a training, not a fitted graph.",
            where=f"file {str(path)!r}",
            mend="go on from its folder: torch_model(resume=folder), and save what is fitted",
        )
    names = Names.of(allow)
    with open(path, "rb") as file:
        try:
            return _loaded(Archive(file, max_bytes), names)
        except StateError as error:
            raise error.at(f"file {str(path)!r}") from error.__cause__
        except (OSError, MemoryError):
            raise
        except Exception as error:  # what does not fit shows where it is used
            why = f"{type(error).__name__}: {error}"
            where = f"file {str(path)!r}"
            raise damaged("Its parts do not fit together.", where=where, why=why) from error


def bounded(size: int) -> Bounded:
    """How much may be done of torch while the values of so many bytes are made.

    >>> with bounded(100):
    ...     pass
    """
    return Bounded(8 * size + SLACK, _OPERATIONS)


def _loaded(archive: Archive, names: Names) -> Any:
    kind, providers = _manifest(archive)
    documents = {"graph": _document(archive, "graph")}
    if "states.json" in archive:
        documents["states"] = _document(archive, "states")
    reader = Reader(
        BY_TAG,
        names,
        tensors=_tensors(archive),
        tables=[table_from(data, name) for name, data in _numbered(archive, "tables", "arrow")],
        objects=[data for _, data in _numbered(archive, "objects", "skops")],
        providers=providers,
    )
    with bounded(archive.total):
        made = _KINDS[kind](reader, documents)
    reader.finish()
    return made


def _manifest(archive: Archive) -> tuple[str, dict[str, str]]:
    """The kind of thing that was saved, and the package that offered each node."""
    content = from_bytes(archive.read("manifest.json", _MAX_MANIFEST), "manifest.json")
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise damaged("It does not say how it was written.", where="entry 'manifest.json'")
    written, number = content.get("mlgraph"), content["format"]
    if number != FORMAT:
        raise StateError(
            f"The file was written by mlgraph {written}, in a form this version cannot read.",
            why=f"its format is {number}; mlgraph {own_version()} reads format {FORMAT}",
            mend=f'pip install "mlgraph>={written}"',
        )
    if content.get("kind") not in _KINDS:
        raise damaged(f"Nothing is known of a {content.get('kind')!r}.")
    offered = content.get("providers")
    providers = {}
    for name, said in offered.items() if isinstance(offered, dict) else ():
        for key in said["nodes"]:
            providers[text_of(key)] = f"{name} {text_of(said['version'])}".strip()
    return content["kind"], providers


def _document(archive: Archive, name: str) -> dict[str, Any]:
    content = from_bytes(archive.read(f"{name}.json", MAX_TEXT), f"{name}.json")
    if not isinstance(content, dict):
        raise damaged("Names were expected.", where=f"entry '{name}.json'")
    return content


def _tensors(archive: Archive) -> dict[str, tensors.Read]:
    if tensors.NAME not in archive:
        return {}
    with archive.open(tensors.NAME) as stream:
        return tensors.read(stream, archive.size(tensors.NAME))


def _numbered(archive: Archive, folder: str, suffix: str) -> list[tuple[str, bytes]]:
    """The entries ``<folder>/0.<suffix>``, ``<folder>/1.<suffix>``, ... and none besides."""
    count = sum(name.startswith(f"{folder}/") for name in archive.names)
    names = [f"{folder}/{number}.{suffix}" for number in range(count)]
    return [(name, archive.read(name, archive.size(name))) for name in names]


def _read_graph(reader: Reader, documents: dict[str, Any]) -> Graph:
    return _a_graph(reader.value(documents["graph"].get("graph")))


def _a_graph(value: Any) -> Graph:
    if not isinstance(value, Graph):
        raise damaged("There is no graph in it.")
    return value


def _read_fitted(reader: Reader, documents: dict[str, Any]) -> FittedGraph:
    said = documents.get("states")
    if said is None:
        raise damaged("It holds nothing that was learned.", where="entry 'states.json'")
    graph = _read_graph(reader, documents)
    resolved = _a_graph(reader.value(documents["graph"].get("resolved")))
    states = reader.fields(said.get("states"))
    prototypes = reader.fields(said.get("prototypes"))
    alien = [id for id in states if id not in resolved]
    if alien or type(said.get("seed")) is not int:
        raise damaged("What was learned does not belong to the graph.")
    return FittedGraph(graph, resolved, states, said["seed"], prototypes)


def _read_estimator(reader: Reader, documents: dict[str, Any]) -> Any:
    from mlgraph.learn import estimator as known

    about = documents["graph"].get("estimator")
    if not isinstance(about, dict) or about.get("class") not in ESTIMATORS:
        raise damaged("There is no estimator in it.")
    cls = getattr(known, about["class"])
    fitted = _read_fitted(reader, documents) if "states" in documents else None
    made = cls(**reader.fields(about.get("params")))
    for name, value in reader.fields(about.get("learned")).items():
        if not name.isidentifier() or name.startswith("__") or hasattr(cls, name):
            raise damaged(f"An estimator cannot have learned {name!r}.")
        setattr(made, name, value)
    if fitted is not None:
        made.graph_ = fitted
    return made


_KINDS = {"graph": _read_graph, "fitted": _read_fitted, "estimator": _read_estimator}
