"""Makes a node class of a row of a table: key, transform of torchvision, parameters, example.

Names, order and defaults of the parameters are torchvision's; a test compares them. They are
written down nevertheless, with types, bounds and a line of text each, so that asking for a node
does not import torchvision, and a wrong value is refused where it is given.
"""

from __future__ import annotations

import enum
import textwrap
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import attrs

from mlgraph.core.param import param
from mlgraph.data.lazy.rules import rule
from mlgraph_nodes.trafo_base import VisionAugment, VisionTransform


@attrs.frozen
class Par:
    """A parameter in a table: its type, what is said of it, and its default and bounds.

    >>> Par(float, "How likely.", {"default": 0.5}).but(default=0.1).options
    {'default': 0.1}
    """

    hint: Any
    text: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def but(self, text: str = "", *, hint: Any = None, **options: Any) -> Par:
        """The same with another text or type, or other options."""
        changed = {**self.options, **options}
        return Par(hint or self.hint, text or self.text, changed)


@attrs.frozen
class Row:
    """A node in a table.

    Args:
        key: Key of the node.
        made_of: The class or function of torchvision.
        summary: What it does, in a sentence.
        params: Its parameters by name, in order.
        example: Parameters in the example.
        gives: The shape that comes out of an image of 3 x 8 x 6, as text.
        before: What is done to the image in the example.

    >>> Row("trafo_mirror", "horizontal_flip", "Mirror.").gives
    '3, 8, 6'
    """

    key: str
    made_of: str
    summary: str
    params: Mapping[str, Par] = attrs.field(factory=dict)
    example: Mapping[str, Any] = attrs.field(factory=dict)
    gives: str = "3, 8, 6"
    before: str = ""


def par(hint: Any, text: str, **options: Any) -> Par:
    """A parameter in a table.

    >>> par(int, "How many.", lower=1).options
    {'lower': 1}
    """
    return Par(hint, text, options)


def nodes_of(module: str, rows: Iterable[Row]) -> dict[str, Any]:
    """The classes of a table by name, for the module they belong to.

    >>> mirror = Row("trafo_mirror", "horizontal_flip", "Mirror.")
    >>> list(nodes_of(__name__, [mirror]))
    ['TrafoMirror']
    """
    made = [node_of(module, row) for row in rows]
    return {cls.__name__: cls for cls in made}


def node_of(module: str, row: Row) -> type[VisionTransform]:
    """The class of a row.

    >>> node_of(__name__, Row("trafo_mirror", "horizontal_flip", "Mirror.")).key
    'trafo_mirror'
    """
    name = "".join(word.capitalize() for word in row.key.split("_"))
    fields = {field: param(**details.options) for field, details in row.params.items()}
    hints = {field: details.hint for field, details in row.params.items()}
    body = {
        **fields,
        "__annotations__": hints,
        "__module__": module,
        "__qualname__": name,
        "__doc__": _documented(name, row),
        "key": row.key,
        "made_of": row.made_of,
        "example": row.example,
    }
    base = VisionAugment if row.key.startswith("augment_") else VisionTransform
    made = types.new_class(name, (base,), {}, lambda space: space.update(body))
    return cast(type[VisionTransform], made)


def _documented(name: str, row: Row) -> str:
    found = rule(row.made_of)
    where = "" if row.made_of[0].isupper() else "functional."
    text = [
        row.summary,
        "",
        _wrapped(f"``torchvision.transforms.v2.{where}{row.made_of}``, with its parameters."),
        "",
        "Shape:",
        f"    input: ``{found.dims}``" + (" with 1 or 3 channels." if found.colours else "."),
    ]
    if found.varies:
        text.append("    output: height and width may differ from row to row.")
    if row.params:
        text += ["", "Args:"]
    for field, details in row.params.items():
        text.append(_wrapped(f"{field}: {details.text}", "    ", "        "))
    image = f"torch.zeros(3, 8, 6){row.before}"
    seed = ", seed=1" if found.random else ""
    given = ", ".join(f"{field}={value!r}" for field, value in row.example.items())
    text += [
        "",
        ">>> import torch",
        f">>> {name}({given})({image}{seed}).shape",
        f"torch.Size([{row.gives}])",
    ]
    return "\n".join(text) + "\n"


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(text, 90, initial_indent=first, subsequent_indent=rest)


def _mode(value: Any) -> Any:
    """The name of an interpolation: torchvision's own enumeration and Pillow's numbers count."""
    if isinstance(value, enum.Enum):
        return value.value
    return (
        {0: "nearest", 2: "bilinear", 3: "bicubic"}.get(value, value) if _is_int(value) else value
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _odd(value: Any) -> str | None:
    sizes = value if isinstance(value, tuple) else (value,)
    return None if all(size % 2 for size in sizes) and len(sizes) <= 2 else "one or two odd numbers"


NUMBERS = float | tuple[float, ...]
RANGE = tuple[float, float]

# Parameters that several transforms have.
SIZE = par(
    int | tuple[int, ...],
    "Height and width, or one number for both.",
    lower=1,
)
SHORTER = SIZE.but("Height and width; a single number is the length of the shorter side.")
P = par(float, "How likely a row is changed.", default=0.5, lower=0, upper=1)
FILL = par(NUMBERS | None, "Value of pixels that come in from outside; one per channel, or one.")
BLACK = FILL.but(default=0)
EMPTY = FILL.but(default=None)
MODES = par(
    str,
    "How pixels are interpolated.",
    default="bilinear",
    choices=("nearest", "nearest-exact", "bilinear", "bicubic"),
    convert=_mode,
)
NEAREST = MODES.but(default="nearest", choices=("nearest", "bilinear"))
BILINEAR = NEAREST.but(default="bilinear")
ANTIALIAS = par(bool | None, "Whether pixels are averaged where an image shrinks.", default=True)
SIDES = par(
    int | tuple[int, ...],
    "Pixels on all sides; on left/right and top/bottom; or left, top, right and bottom.",
    check=lambda value: (
        None if isinstance(value, int) or len(value) in (1, 2, 4) else "1, 2 or 4 integers"
    ),
)
PADDING_MODE = par(
    str,
    "What new pixels are: ``fill``, the edge, or a reflection without or with the edge.",
    default="constant",
    choices=("constant", "edge", "reflect", "symmetric"),
)
CENTER = par(tuple[float, float] | None, "The point that stays, as x and y.", default=None)
DEGREES = par(NUMBERS, "The range of angles; a number means ``-degrees`` to ``degrees``.")
ERASED = NUMBERS | Literal["random"]
POLICY = par(
    str,
    "The set of policies, by the data it was found for.",
    default="imagenet",
    choices=("imagenet", "cifar10", "svhn"),
    convert=_value,
)
KERNEL = par(int | tuple[int, ...], "Width and height of the window, odd.", lower=1, check=_odd)
