"""The nodes that come with mlgraph; found through the entry point ``mlgraph.nodes``."""

# The conversion from a task to a network must be known as soon as any node of ours is.
import mlgraph_nodes.ingress as ingress

__all__ = ["ingress"]
