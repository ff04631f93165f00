"""How wide a text will be, guessed generously: the fonts of the reader are not known."""

from __future__ import annotations

import attrs

NARROW = frozenset("fijlrtI.,:;|!'`()[]{}/\\ ")
WIDE = frozenset("mwMWQO@%&→")


@attrs.frozen
class Font:
    """Size in pixels, weight and kind of a font."""

    size: float
    bold: bool = False
    mono: bool = False


TITLE = Font(13, bold=True)
CALL = Font(11)
CODE = Font(11, mono=True)
SMALL = Font(10.5)


def text_width(text: str, font: Font) -> float:
    """The width of a text in pixels.

    >>> text_width("relu", TITLE) < text_width("linear_12", TITLE)
    True
    >>> text_width("ab", CODE) == 2 * text_width("a", CODE)
    True
    """
    units = sum(_unit(letter, font.mono) for letter in text)
    return units * font.size * (1.16 if font.bold else 1.0)


def _unit(letter: str, mono: bool) -> float:
    if ord(letter) > 0x2E7F:  # Chinese, Japanese, Korean and signs: as wide as high
        return 1.1
    if mono:
        return 0.605
    if letter in NARROW:
        return 0.38
    return 0.9 if letter in WIDE else 0.7 if letter.isupper() else 0.61
