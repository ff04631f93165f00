"""The colours of a picture: one hue per family of nodes, all on the same light background."""

from __future__ import annotations

import attrs


@attrs.frozen
class Shade:
    """Fill, border, and a colour for words on the fill that is easily read there."""

    fill: str
    line: str
    ink: str


BACK, FRAME = "#fdfdfb", "#e4e4df"
INK, MUTED, QUIET = "#1f2328", "#4d555e", "#6b737c"
WIRE = "#8d96a0"

PALETTE = {
    "table": Shade("#e8f5ee", "#8fc7a8", "#2f6f4e"),
    "ingress": Shade("#f3edfb", "#bda3de", "#6a4797"),
    "network": Shade("#e9f1fc", "#94b8e6", "#2d5c99"),
    "training": Shade("#fdf0e3", "#e5b27c", "#8f5518"),
    "routing": Shade("#f1f2f3", "#bcc2c8", "#59616a"),
    "end": Shade("#ffffff", "#c3c8cd", "#59616a"),
}
