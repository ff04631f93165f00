"""All codecs, in the order in which they are asked whether they know a value."""

from __future__ import annotations

from mlgraph.store import arrays, fitted, graphs, plain, values
from mlgraph.store.codec import Codec

# Names of functions and classes come last: some values can be called as well.
CODECS: tuple[Codec, ...] = (
    *plain.VALUES,
    *arrays.CODECS,
    *graphs.CODECS,
    *values.CODECS,
    *fitted.CODECS,
    *plain.NAMED,
)
BY_TAG = {codec.tag: codec for codec in CODECS}
