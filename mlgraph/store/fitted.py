"""Codec of fitted scikit-learn estimators, through skops: no pickle, and only types it trusts."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from typing import Any

import numpy as np

from mlgraph.errors import StateError, listing
from mlgraph.store.archive import Archive, Entry, damaged, pack
from mlgraph.store.codec import Codec, Reader, Writer
from mlgraph.store.names import Names
from mlgraph.store.text import from_bytes, to_bytes

_INSIDE = re.compile(r"schema\.json|[0-9]{1,6}\.(npy|npz|bin)")
_MATRIX = re.compile(r"[a-z]{1,20}\.npy")
_SCHEMA = "schema.json"
_MAX_SCHEMA = 2**28


def _is_estimator(value: Any) -> bool:
    # Without importing scikit-learn, for which a file without estimators has no use.
    mro = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__)
    return "sklearn.base.BaseEstimator" in mro


def _skops(what: str) -> Any:
    try:
        import skops.io
    except ImportError:
        raise StateError(
            f"A fitted scikit-learn estimator cannot be {what} without skops.",
            mend='pip install "mlgraph[skops]"',
        ) from None
    return skops.io


def _write(writer: Writer, value: Any) -> int:
    io_ = _skops("saved")
    try:
        data = io_.dumps(value)
    except Exception as error:
        raise writer.refusal(value, why=f"skops cannot write it: {error}") from error
    return writer.object(_settled(data))


def _read(reader: Reader, content: Any) -> Any:
    data = reader.object(content)
    io_ = _skops("loaded")
    _check(data)
    try:
        unknown = io_.get_untrusted_types(data=data)
        allowed = _allowed(reader.names, unknown)
        return io_.loads(data, trusted=allowed)
    except StateError:
        raise
    except Exception as error:
        raise damaged("An estimator in it is damaged.", why=str(error)) from error


def _allowed(names: Names, unknown: list[str]) -> list[str]:
    """The names that skops does not trust by itself, all of which are allowed."""
    for name in unknown:
        module, _, path = name.rpartition(".")
        try:
            names.find(f"{module}:{path}")
        except StateError as error:
            raise damaged(
                f"It holds an estimator with a {name}, which skops does not trust.",
                why=f"it names {listing(unknown)}; skops trusts what is known to be harmless",
                mend=error.mend,
            ) from None
    return unknown


# skops names parts by their place in memory. Equal estimators give equal bytes once the parts are
# numbered, and written as all other entries are. What is one and the same object stays so; of the
# kinds below, which never change, it is up to Python whether equal ones are.

_VALUES = frozenset({"JsonNode", "TupleNode", "TypeNode", "FunctionNode", "DTypeNode", "BytesNode"})


def _settled(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts.pop(_SCHEMA))
    names: dict[Any, Any] = {}
    _number(schema, names, parts)
    entries = {names[name]: _plain(name, content) for name, content in parts.items()}
    return _packed({_SCHEMA: to_bytes(schema), **entries})


def _number(content: Any, names: dict[Any, Any], parts: Any) -> None:
    """Replace ids of objects, and names of parts, by numbers in order of appearance."""
    if isinstance(content, list):
        for item in content:
            _number(item, names, parts)
    if not isinstance(content, dict):
        return
    if type(content.get("__id__")) is int:
        own = object() if content.get("__loader__") in _VALUES else content["__id__"]
        content["__id__"] = names.setdefault(own, len(names))
    file = content.get("file")
    if isinstance(file, str) and file in parts:
        number = len([name for name in names if isinstance(name, str)])
        suffix = file.rpartition(".")[2]
        content["file"] = names.setdefault(file, f"{number}.{suffix}")
    for item in content.values():
        _number(item, names, parts)


def _plain(name: str, content: bytes) -> bytes:
    """A part; a sparse matrix, which is a zip of its own, is not compressed any more."""
    if not name.endswith(".npz"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return _packed({inner: archive.read(inner) for inner in archive.namelist()})


def _packed(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    pack(file, {name: Entry.of(content) for name, content in parts.items()})
    return file.getvalue()


# skops reads arrays with the memory they claim to need. So what they claim is looked at first.


def _check(data: bytes) -> None:
    archive = Archive(io.BytesIO(data), names=_INSIDE)
    from_bytes(archive.read(_SCHEMA, _MAX_SCHEMA), _SCHEMA)
    for name in archive.names:
        content = archive.read(name, len(data))
        if name.endswith(".npy"):
            _check_array(content)
        elif name.endswith(".npz"):
            matrix = Archive(io.BytesIO(content), names=_MATRIX)
            for inner in matrix.names:
                _check_array(matrix.read(inner, len(content)))


def _check_array(content: bytes) -> None:
    """An array as long as its header says, of no objects."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        read = read if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except Exception as error:
        raise damaged("An array of an estimator is damaged.", why=str(error)) from None
    rest = len(content) - stream.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != rest:
        raise damaged("An array of an estimator does not fit its shape and type.")


CODECS = (Codec("estimator", _is_estimator, _write, _read),)
