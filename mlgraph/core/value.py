"""Parameter values: frozen, comparable by content, and written as canonical JSON.

Two values are equal when their canonical JSON is equal. Python's own equality is no help here:
``True``, ``1`` and ``1.0`` are equal there, and give different networks.

A function or class that can be imported is written by its name. Any other (a lambda, a class of
a notebook cell) is written with a digest of its code, so that editing it changes the hash.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import CodeType, FunctionType
from typing import Any

import attrs

from mlgraph.errors import ConfigError


class FrozenDict(Mapping[str, Any]):
    """A dict that cannot be changed and can be hashed.

    >>> FrozenDict({"a": 1})["a"]
    1
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = {key: freeze(value) for key, value in (items or {}).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(canonical(self))

    def __repr__(self) -> str:
        return repr(self._items)


def freeze(value: Any) -> Any:
    """The same value with lists as tuples, dicts and sets frozen, and NumPy scalars as Python's.

    >>> freeze([1, [2]])
    (1, (2,))
    """
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        return FrozenDict(value)
    if isinstance(value, set):
        return frozenset(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return freeze(value.tolist())
    return value


def canonical(value: Any) -> bytes:
    """The canonical JSON of a value, as bytes: the same in every process.

    >>> canonical({"b": 1.0, "a": True})
    b'{"a":true,"b":1.0}'
    """
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":")).encode()


def digest(*parts: bytes | str) -> str:
    """A short hexadecimal digest (blake2b, 128 bits) of the parts, in order.

    >>> len(digest("a", b"b"))
    32
    """
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()


def encode(value: Any) -> Any:
    """A JSON value that says everything about ``value``.

    Raises:
        ConfigError: Nothing can be said about an object of this type.

    >>> encode((1, float("inf"), len))
    [1, {'$float': 'inf'}, {'$name': 'builtins:len'}]
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return _encode_name(value)
    return _encode_object(value)


def lasting(value: Any) -> Any:
    """The value without what changes no result, such as devices and numbers of processes.

    A class says by ``__mlgraph_lasting__`` what is left of its values.

    >>> lasting((1, {"a": 2}))
    [1, {'a': 2}]
    """
    if isinstance(value, type):
        return value
    if hasattr(value, "__mlgraph_lasting__"):
        return {"$value": address(type(value)), "is": value.__mlgraph_lasting__()}
    if isinstance(value, (tuple, list)):
        return [lasting(item) for item in value]
    if isinstance(value, Mapping):
        return {key: lasting(item) for key, item in value.items()}
    if attrs.has(type(value)) and not hasattr(value, "__mlgraph_json__"):
        fields = {f.name: lasting(getattr(value, f.name)) for f in attrs.fields(type(value))}
        return {"$value": address(type(value)), "is": fields}
    return value


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: encode(item) for key, item in value.items()}
    pairs = [[encode(key), encode(item)] for key, item in value.items()]
    return {"$dict": sorted(pairs, key=lambda pair: json.dumps(pair[0], sort_keys=True))}


def _encode_object(value: Any) -> Any:
    if hasattr(value, "__mlgraph_json__"):
        return {"$value": address(type(value)), "is": encode(value.__mlgraph_json__())}
    if isinstance(value, functools.partial):
        return {"$partial": [encode(value.func), encode(value.args), encode(value.keywords)]}
    if attrs.has(type(value)):
        fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
        return {"$value": address(type(value)), "is": encode(fields)}
    if isinstance(value, (set, frozenset)):
        return {"$set": sorted((encode(item) for item in value), key=json.dumps)}
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    return {"$object": address(type(value)), "pickle": digest(_pickled(value))}


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise ConfigError(
            f"A {type(value).__name__} cannot be a parameter.",
            why=f"it can be neither described nor pickled ({error})",
            mend="pass a number, string, list, dict, function or class",
        ) from error


def address(named: Any) -> str:
    """Where a class or function is defined, as ``module:qualname``.

    >>> address(FrozenDict)
    'mlgraph.core.value:FrozenDict'
    """
    owner = getattr(named, "__objclass__", None)
    module = str(getattr(named, "__module__", None) or getattr(owner, "__module__", "builtins"))
    # ``torch.relu`` is found under its name, though not under its qualified name.
    shortened = _found(module, named.__qualname__) is not named
    if shortened and _found(module, getattr(named, "__name__", "")) is named:
        return f"{module}:{named.__name__}"
    return f"{module}:{named.__qualname__}"


def importable(named: Any) -> bool:
    """Whether another process finds this very class or function under its address.

    >>> importable(len), importable(lambda: 0)
    (True, False)
    """
    module, _, path = address(named).partition(":")
    return module != "__main__" and _found(module, path) is named


def _found(module: str, path: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def nameless(value: Any) -> bool:
    """Whether a function or class without an importable name is part of this value.

    >>> nameless((1, len)), nameless((1, lambda: 0))
    (False, True)
    """
    return b'"$code"' in canonical(value)


def snake(name: str) -> str:
    """A class name as a key; torch's ``LU`` stays together.

    >>> snake("LeakyReLU"), snake("BatchNorm1d"), snake("RMSNorm"), snake("PReLU")
    ('leaky_relu', 'batch_norm1d', 'rms_norm', 'prelu')
    """
    name = re.sub(r"[A-Z]?(?:Re|Si)LU", lambda match: match[0].capitalize(), name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _encode_name(named: Any) -> dict[str, Any]:
    if importable(named):
        return {"$name": address(named)}
    if isinstance(named, FunctionType):
        return {"$name": address(named), "$code": _function_digest(named)}
    return {"$name": address(named), "$code": f"{id(named):x}"}


# The functions whose digests are being made: one that reaches itself is written by its name.
_WRITING: ContextVar[frozenset[int]] = ContextVar("_WRITING", default=frozenset())


def _function_digest(function: FunctionType) -> str:
    around = _WRITING.get()
    if id(function) in around:
        return function.__qualname__
    token = _WRITING.set(around | {id(function)})
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        inside = (tuple(cells), function.__defaults__, function.__kwdefaults__)
        return digest(_code_bytes(function.__code__), *map(_content, inside))
    finally:
        _WRITING.reset(token)


def _content(value: Any) -> bytes:
    try:
        return canonical(value)
    except ConfigError:
        return f"{id(value):x}".encode()


def _code_bytes(code: CodeType) -> bytes:
    constants = [
        _code_bytes(item) if isinstance(item, CodeType) else _constant(item)
        for item in code.co_consts
    ]
    return digest(code.co_code, *code.co_names, *constants).encode()


def _constant(item: Any) -> bytes:
    if isinstance(item, frozenset):  # printed in another order in every process
        return b"".join(sorted(map(_constant, item)))
    return repr(item).encode()
