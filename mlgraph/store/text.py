"""JSON, read strictly: UTF-8, no name twice, no NaN, and of bounded size and depth."""

from __future__ import annotations

import json
from typing import Any

from mlgraph.store.archive import damaged

MAX_BYTES = 2**28
MAX_DEPTH = 200


def to_bytes(content: Any) -> bytes:
    """JSON as bytes, in the order of the content.

    >>> to_bytes({"b": 1, "a": [0.5, None]})
    b'{"b":1,"a":[0.5,null]}'
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def from_bytes(data: bytes, name: str) -> Any:
    """The content of JSON.

    Args:
        data: The bytes.
        name: Name of the entry, for messages.

    Raises:
        StateError: It is not UTF-8, no JSON, or has a name twice.

    >>> from_bytes(b'{"a": 1}', "graph.json")
    {'a': 1}
    """
    try:
        found = json.loads(
            data.decode("utf-8", "strict"), object_pairs_hook=_unique, parse_constant=_refused
        )
    except (ValueError, RecursionError) as error:
        raise damaged(
            "Its JSON cannot be read.",
            where=f"entry {name!r}",
            why=str(error) if isinstance(error, ValueError) else "it is nested too deeply",
        ) from None
    return found


def is_text(text: str) -> bool:
    r"""Whether a string can be written as UTF-8, which half of a surrogate pair cannot.

    >>> is_text("ä"), is_text("\ud800")
    (True, False)
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
