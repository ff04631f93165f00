"""Pictures of a graph: text, SVG, DOT, Mermaid, networkx."""
