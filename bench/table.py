"""Tables in plain text, and the verdict below them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def show(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; the first column is aligned left, the others right."""
    cells = [list(head), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if title:
        print(f"\n{title}")
    for i, row in enumerate(cells):
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(["", first, *rest]), flush=True)
        if i == 0:
            print("  ".join(["", *("-" * width for width in widths)]))


def verdict(targets: Iterable[tuple[str, bool]]) -> bool:
    """Print whether each target is met; whether all are."""
    found = list(targets)
    print("\ntargets")
    for text, met in found:
        print(f"  {'met   ' if met else 'MISSED'}  {text}")
    return all(met for _, met in found)


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
