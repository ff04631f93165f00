"""A skip connection around a part of a network."""

from __future__ import annotations

from typing import Any

from mlgraph.core.graph import Graph
from mlgraph.core.param import param
from mlgraph.core.route import Nop
from mlgraph_nodes.macro import Macro, graph_of, pinned
from mlgraph_nodes.merge import MergeSum


def _optional(value: Any) -> Any:
    return None if value is None else graph_of(value)


class Skip(Macro):
    """A graph of layers whose input is merged with its output.

    Parameters of the body are parameters of this node: ``skip__linear__bias``.

    Shape:
        input: that of the body, which has one input and one output.
        output: what ``merge`` makes of both; to be summed they need equal shapes.

    Args:
        body: The graph, or a single node.
        shortcut: What the other path goes through where shapes differ, such as
            ``nn("linear", 64)``; None passes the input on as it is.
        merge: The node where both meet, the shortcut first; by default ``nn("merge_sum")``.
            ``nn("merge_cat", dim=1)`` makes the skips of a U-Net.

    Raises:
        ConfigError: The body or the shortcut has several inputs or outputs.

    References: He et al. (2016), "Deep residual learning for image recognition", CVPR.

    >>> from mlgraph_nodes.linear import Linear
    >>> Skip(body=Linear(out_features=4, id="linear")).expand().ids
    ('nop', 'nop_2', 'linear', 'merge_sum')
    """

    inner = "body"

    body: Graph = param(convert=graph_of, tags={"structure"})
    shortcut: Graph | None = param(default=None, convert=_optional, tags={"structure"})
    merge: Graph | None = param(default=None, convert=_optional, tags={"structure"})

    def validate(self) -> None:
        super().validate()
        for graph in (self.body, self.shortcut or self.body):
            if len(graph.inputs) != 1 or len(graph.outputs) != 1:
                raise self.wrong(
                    f"it has the inputs {graph.inputs} and the outputs {graph.outputs}",
                    "let it have one input and one output",
                )
        self.unfolded()

    def unfolded(self) -> Graph:
        shortcut = None if self.shortcut is None else self.shortcut.prefix("shortcut_")
        merge = self.merge or MergeSum(stem="merge_sum")
        return Nop() >> [shortcut, pinned(self.body)] >> merge
