"""The promises every node keeps, as functions: for our catalogue, and for anybody's."""

from __future__ import annotations

from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.draw import check_drawn, drawn
from mlgraph.testing.layer import check_layer
from mlgraph.testing.node import check_node

__all__ = [
    "check_compiled",
    "check_drawn",
    "check_exported",
    "check_layer",
    "check_node",
    "drawn",
]
