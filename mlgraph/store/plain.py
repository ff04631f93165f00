"""Codecs of Python's own values, and of names of functions and classes."""

from __future__ import annotations

import datetime
import decimal
import functools
import zoneinfo
from collections.abc import Callable
from typing import Any

import torch

from mlgraph.core.value import FrozenDict, address, importable
from mlgraph.data.feed import Feed
from mlgraph.errors import StateError
from mlgraph.net.descriptor import Source
from mlgraph.store.archive import damaged
from mlgraph.store.codec import Codec, Reader, Writer, parts_of, text_of
from mlgraph.store.text import to_bytes


def exactly(*kinds: type) -> Callable[[Any], bool]:
    """Whether a value is of one of these types, and of no subclass.

    >>> exactly(int)(True)
    False
    """
    return lambda value: type(value) in kinds


def _read_float(reader: Reader, content: Any) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise damaged("A number is none.", why=repr(content))
    return float(content)


def _write_dict(writer: Writer, value: dict[Any, Any]) -> list[Any]:
    return [[writer.value(key), writer.items((item,))[0]] for key, item in value.items()]


def _read_dict(reader: Reader, content: Any) -> dict[Any, Any]:
    if not isinstance(content, list):
        raise damaged("Pairs were expected.")
    pairs = [parts_of(pair, 2) for pair in content]
    return {reader.value(key): reader.value(item) for key, item in pairs}


def _write_set(writer: Writer, value: Any) -> list[Any]:
    return sorted((writer.value(item) for item in value), key=to_bytes)


def _time_of(kind: Any) -> Callable[[Reader, Any], Any]:
    return lambda reader, content: kind.fromisoformat(text_of(content))


def _write_moment(writer: Writer, value: datetime.datetime) -> Any:
    zone = value.tzinfo
    if zone is None or type(zone) is datetime.timezone:
        return value.isoformat() if value.fold == 0 else [value.isoformat(), "", value.fold]
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return [value.replace(tzinfo=None).isoformat(), zone.key, value.fold]
    raise writer.refusal(value, why=f"its time zone is a {type(zone).__name__}")


def _read_moment(reader: Reader, content: Any) -> datetime.datetime:
    if isinstance(content, str):
        return datetime.datetime.fromisoformat(content)
    text, zone, fold = parts_of(content, 3)
    found = datetime.datetime.fromisoformat(text_of(text)).replace(fold=fold)
    return found.replace(tzinfo=zoneinfo.ZoneInfo(text_of(zone))) if zone else found


def _span(reader: Reader, content: Any) -> datetime.timedelta:
    days, seconds, microseconds = parts_of(content, 3)
    return datetime.timedelta(days, seconds, microseconds)


def _is_named(value: Any) -> bool:
    return isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__"))


def _write_name(writer: Writer, value: Any) -> str:
    if not importable(value):
        raise StateError(
            f"{value.__qualname__!r} has no name under which it could be found again.",
            where=writer.place,
            why="it was defined in a notebook, in __main__ or inside a function"
            if "<lambda>" not in value.__qualname__
            else "it is a lambda",
            mend="define it at the top of a module, and import it from there",
        )
    return address(value)


def _write_partial(writer: Writer, value: Any) -> list[Any]:
    return writer.items((value.func, value.args, value.keywords))


def _read_partial(reader: Reader, content: Any) -> Any:
    call, args, options = reader.items(parts_of(content, 3))
    if not _is_named(call):
        raise damaged("A partial function calls no function.")
    return functools.partial(call, *args, **options)


def _read_dtype(reader: Reader, content: Any) -> torch.dtype:
    found = getattr(torch, text_of(content), None)
    if not isinstance(found, torch.dtype):
        raise damaged(f"There is no dtype {content!r}.")
    return found


def _read_device(reader: Reader, content: Any) -> torch.device:
    return torch.device(text_of(content))


def _read_source(reader: Reader, content: Any) -> Source:
    id, output = parts_of(content, 2)
    if type(output) is not int or output < 0:
        raise damaged("An output has a number of 0 or more.")
    return Source(text_of(id), output)


VALUES: tuple[Codec, ...] = (
    Codec("float", exactly(float), lambda w, v: repr(v), _read_float),
    Codec("list", exactly(list), Writer.items, lambda r, c: list(r.items(c))),
    Codec("dict", exactly(dict), _write_dict, _read_dict),
    Codec(
        "map",
        exactly(FrozenDict),
        lambda w, v: w.value(dict(v)),
        lambda r, c: FrozenDict(r.value(c)),
    ),
    Codec("feed", exactly(Feed), lambda w, v: w.value(dict(v)), lambda r, c: Feed(r.value(c))),
    Codec("set", exactly(frozenset), _write_set, lambda r, c: frozenset(r.items(c))),
    Codec("changing_set", exactly(set), _write_set, lambda r, c: set(r.items(c))),
    Codec("bytes", exactly(bytes), lambda w, v: v.hex(), lambda r, c: bytes.fromhex(text_of(c))),
    Codec(
        "range",
        exactly(range),
        lambda w, v: [v.start, v.stop, v.step],
        lambda r, c: range(*parts_of(c, 3)),
    ),
    Codec(
        "complex",
        exactly(complex),
        lambda w, v: [repr(v.real), repr(v.imag)],
        lambda r, c: complex(*map(float, parts_of(c, 2))),
    ),
    Codec("datetime", exactly(datetime.datetime), _write_moment, _read_moment),
    Codec("date", exactly(datetime.date), lambda w, v: v.isoformat(), _time_of(datetime.date)),
    Codec(
        "time",
        lambda v: type(v) is datetime.time and v.tzinfo is None,
        lambda w, v: v.isoformat(),
        _time_of(datetime.time),
    ),
    Codec(
        "timedelta",
        exactly(datetime.timedelta),
        lambda w, v: [v.days, v.seconds, v.microseconds],
        _span,
    ),
    Codec(
        "decimal",
        exactly(decimal.Decimal),
        lambda w, v: str(v),
        lambda r, c: decimal.Decimal(text_of(c)),
    ),
)

NAMED: tuple[Codec, ...] = (
    Codec("partial", exactly(functools.partial), _write_partial, _read_partial),
    Codec("source", exactly(Source), lambda w, v: [v.id, v.output], _read_source),
    Codec("dtype", exactly(torch.dtype), lambda w, v: str(v).removeprefix("torch."), _read_dtype),
    Codec("device", exactly(torch.device), lambda w, v: str(v), _read_device),
    Codec("name", _is_named, _write_name, lambda r, c: r.names.find(text_of(c))),
)
