"""What a node is: a frozen class with parameters, ports, and the two functions fit and apply.

``NodeBase`` holds everything about a node that needs no graph; ``mlgraph.core.node.Node``, the
class to subclass, adds the operators that make graphs of nodes.
"""

from __future__ import annotations

import functools
import inspect
import keyword
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs

from mlgraph.core.declare import Declarative, declared, defaults, required
from mlgraph.core.param import (
    Mismatch,
    Token,
    coerce,
    shown,
    tokens_in,
    with_inner,
)
from mlgraph.core.port import Port
from mlgraph.core.value import address, canonical, digest, encode
from mlgraph.errors import (
    ConfigError,
    GraphError,
    MLGraphError,
    UnknownParameterError,
    did_you_mean,
    listing,
)

ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@attrs.frozen(kw_only=True)
class Context:
    """What a node may know besides its inputs.

    Args:
        id: The node's id in the resolved graph.
        phase: ``"fit"``, ``"check"`` (like fit, but nothing is trained) or ``"apply"``.
        seed: A seed that depends on the run's seed, the id and the phase only.
        valid: The validation value of each input port, where there is one.
        has_valid: Whether that is real validation data rather than an empty prototype.
    """

    id: str
    phase: str
    seed: int
    valid: Mapping[str, Any] | None = None
    has_valid: bool = False


class NodeBase(Declarative):
    """A unit of work: parameters, typed ports, ``fit`` and ``apply``.

    Subclassing is enough: annotated fields become parameters, the class name in snake case
    becomes the key. A class states its ports in ``inputs`` and ``outputs``.

    Class attributes:
        key: Name of the node in the catalogue.
        random: Draws random numbers from ``ctx.seed``; part of the memo key.
        trains: Is a trainer: validation data stop here, and ``check`` does not train.
        requires: Packages that must be importable.
        open_field: Name of a mapping field that takes parameters no field is declared for.
    """

    inputs: ClassVar[tuple[Port, ...]] = ()
    outputs: ClassVar[tuple[Port, ...]] = ()
    random: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    open_field: ClassVar[str | None] = None

    id: str | None = attrs.field(default=None)
    stem: str | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.id is not None:
            self.check_id(self.id)
        for name, hint, details in declared(type(self)):
            value = getattr(self, name)
            try:
                value = coerce(value, hint, details)
            except Mismatch as mismatch:
                raise self._refuse(name, value, str(mismatch)) from None
            object.__setattr__(self, name, value)
        if not self.tokens():
            self.validate()
        else:
            self._refuse_open_ports()

    # What a subclass says ---------------------------------------------------------------------

    @abstractmethod
    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        """Learn from the inputs: ``(outputs, state)``, outputs in port order or by port name."""

    @abstractmethod
    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        """Outputs for new inputs, in port order or by port name."""

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        """What ``fit`` would do, found out without training."""
        return self.fit(inputs, ctx)

    def apply_training(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        """Outputs for more data to train on; by default those of ``apply``.

        For nodes that draw or change training rows. The seed is that of ``fit``.
        """
        return self.apply(state, inputs, ctx)

    def go_on(self, state: Any, inputs: Mapping[str, Any], ctx: Context, epochs: int) -> Any:
        """The state of a trainer after more epochs, on what ``apply`` would get."""
        raise ConfigError(
            f"{self.call_name()} cannot be trained further.",
            why="only trainers of networks can",
            mend="fit the graph anew",
        )

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Input and output ports; they may depend on parameters tagged ``structure``."""
        return self.inputs, self.outputs

    @classmethod
    def input_ports(cls) -> tuple[Port, ...]:
        """The input ports, as far as they do not depend on parameters."""
        return cls.inputs

    def validate(self) -> None:
        """Check parameters against each other; raise ConfigError."""

    def expand(self) -> Any:
        """The graph this node stands for, with as many free ports; None for a plain node."""
        return None

    def active_outputs(self) -> frozenset[str] | None:
        """The output ports that carry a value, or None for all of them."""
        return None

    def check_wiring(self, edges: Mapping[str, int]) -> None:
        """Check how many edges enter each input port once paths not taken are cut."""

    def output_types(self, given: Mapping[str, tuple[Any, Any]]) -> Mapping[str, tuple[Any, Any]]:
        """Types (fit, apply) of the outputs, for nodes that pass on whatever they get."""
        return {port.name: (port.fit, port.apply) for port in self.ports()[1]}

    @classmethod
    def check_id(cls, id: str) -> None:
        """Refuse an id that cannot be one.

        Raises:
            GraphError: Not an identifier, a keyword, with ``__`` inside or ``_`` at the end.
        """
        problem = _id_problem(id)
        if problem:
            raise GraphError(f"A node cannot be called {id!r}.", why=problem, mend="rename it")

    # What every node can do -------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        args: Sequence[Any] = (),
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        stem: str | None = None,
    ) -> Self:
        """Make a node from positional and named parameters, with errors that name it.

        Raises:
            UnknownParameterError: A name that is no parameter.
            ConfigError: A missing, surplus or impossible value.
        """
        given = {**cls._by_position(args, params or {}), **(params or {})}
        fields = cls.field_names()
        extra = {name: given.pop(name) for name in list(given) if name not in fields}
        if extra:
            given = cls.absorbed(given, extra)
        missing = [name for name in required(cls) if name not in given]
        if missing:
            raise ConfigError(
                f"{cls.call_name()} needs {listing(missing)}.",
                mend=f"write {cls.call_name(missing[0] + '=...')}",
            )
        return cls(id=id, stem=stem, **given)

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        """Values of fields that take in parameters for which no field is declared.

        Raises:
            UnknownParameterError: The node has no such parameters.
        """
        if cls.open_field is None:
            raise cls._unknown(next(iter(extra)), cls.field_names())
        given = values.get(cls.open_field, {})
        # What is no dict is refused by its type, like any other value.
        opened = {**given, **extra} if isinstance(given, Mapping) else given
        return {**values, cls.open_field: opened}

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The declared parameters, in order."""
        return tuple(name for name, _, _ in declared(cls))

    @classmethod
    def call_name(cls, arguments: str = "") -> str:
        """How the node is asked for: ``po("scale")``, ``nn("linear")``."""
        quoted = f'"{cls.key.removeprefix("nn_")}"'
        inside = ", ".join(part for part in (quoted, arguments) if part)
        return f"{'nn' if cls.key.startswith('nn_') else 'po'}({inside})"

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value, open ones included."""
        values = {name: getattr(self, name) for name in self.field_names()}
        if self.open_field is not None:
            values.update(values.pop(self.open_field))
        return values

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        """The same node with other parameters.

        Raises:
            UnknownParameterError: A name that is no parameter.
        """
        plain, rest = self._inner(changes)
        if rest:
            values = {name: getattr(self, name) for name in self.field_names()}
            plain = self.absorbed({**values, **plain}, rest)
        if self.id is None or "." not in self.id:
            return attrs.evolve(self, **plain)  # type: ignore[misc]
        return attrs.evolve(self, id=None, **plain).pinned(self.id)  # type: ignore[misc]

    def _inner(self, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Changes of declared parameters, also inside their lists and dicts; and all others."""
        plain: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for path, value in changes.items():
            name, _, inside = path.partition("__")
            if name not in self.field_names():
                rest[path] = value
                continue
            old = plain.get(name, getattr(self, name))
            try:
                plain[name] = with_inner(old, inside, value) if inside else value
            except KeyError:
                raise self._unknown(path, self.field_names()) from None
        return plain, rest

    def renamed(self, id: str | None) -> Self:
        """The same node under an id the user chose, or under none."""
        return attrs.evolve(self, id=id)  # type: ignore[misc]

    def pinned(self, id: str) -> Self:
        """The same node under an id given by its place in a graph, which may hold dots."""
        copy = object.__new__(type(self))
        copy.__dict__.update({k: v for k, v in self.__dict__.items() if k != "_canonical"})
        copy.__dict__["id"] = id
        return copy

    @property
    def default_id(self) -> str:
        """The id the node gets in a graph where no other node wants it."""
        return self.id or self.stem or self.key

    def tokens(self) -> dict[str, Token]:
        """The tuning tokens among the parameters, by parameter path."""
        return dict(self._tokens())

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        for name in self.field_names():
            path = "" if name == self.open_field else name
            yield from tokens_in(getattr(self, name), path)

    def tags(self, name: str) -> frozenset[str]:
        """The tags of a parameter."""
        found = {field: details.tags for field, _, details in declared(type(self))}
        return found.get(name, frozenset())

    def to_json(self) -> dict[str, Any]:
        """Key, class, id and every parameter, as JSON values."""
        chosen = {"id": self.id} if self.id is not None else {}
        named = {"stem": self.stem} if self.stem is not None else {}
        params = {name: encode(getattr(self, name)) for name in self.field_names()}
        return {"key": self.key, "class": address(type(self)), **chosen, **named, "params": params}

    def canonical(self) -> bytes:
        """Canonical JSON of the node: equal bytes, equal node."""
        return self._canonical

    @functools.cached_property
    def _canonical(self) -> bytes:
        return canonical(self.to_json())

    def memo_digest(self) -> str:
        """Digest of what determines the node's outputs, given its inputs and seed."""
        params = {n: getattr(self, n) for n in self.field_names() if "runtime" not in self.tags(n)}
        return digest(f"{id(type(self)):x}", canonical(params))

    def __mlgraph_json__(self) -> dict[str, Any]:
        return self.to_json()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NodeBase):
            return NotImplemented
        return type(self) is type(other) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_canonical"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        shown_id = [f"id={self.id!r}"] if self.id is not None else []
        changed = [f"{name}={shown(value)}" for name, value in self.changed().items()]
        return self.call_name(", ".join([*changed, *shown_id]))

    def changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        known = defaults(type(self))
        return {
            name: value
            for name, value in self.parameters().items()
            if name not in known or encode(value) != encode(known[name])
        }

    @classmethod
    def _by_position(cls, args: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        names = cls.field_names()
        if len(args) > len(names):
            raise ConfigError(
                f"{cls.call_name()} takes {len(names)} parameters, and got {len(args)}.",
                why=f"its parameters are {listing(names)}",
            )
        placed = dict(zip(names, args, strict=False))
        twice = [name for name in placed if name in params]
        if twice:
            raise ConfigError(f"{cls.call_name()} got {twice[0]!r} twice.", mend="give it once")
        return placed

    @classmethod
    def _unknown(cls, name: str, known: Sequence[str]) -> MLGraphError:
        return UnknownParameterError(
            f"{cls.call_name()} has no parameter {name!r}.",
            why=f"its parameters are {listing(known, 30)}" if known else "it has none",
            mend=did_you_mean(name, known),
        )

    def _refuse_open_ports(self) -> None:
        """Refuse a token where it would leave open what can be joined to the node."""
        try:
            self.ports()
        except TypeError:
            raise ConfigError(
                f"The ports of {self.call_name()} cannot be left to tuning.",
                where=", ".join(f"{path}={token!r}" for path, token in self.tokens().items()),
                mend="give a value; to choose between graphs, use branch({...})",
            ) from None

    def _refuse(self, name: str, value: Any, expected: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot take {name}={shown(value)}.",
            where=f"parameter {name!r}" + (f" of node {self.id!r}" if self.id else ""),
            why=f"expected {expected}",
        )


def is_concrete(cls: type[NodeBase]) -> bool:
    """Whether a class is a node of its own, not a base for nodes."""
    return not inspect.isabstract(cls) and not cls.__name__.startswith("_")


def _id_problem(id: str) -> str:
    if not isinstance(id, str) or not ID.fullmatch(id):
        return "an id is letters, digits and _, and starts with a letter"
    if "__" in id or id.endswith("_"):
        return "__ separates an id from a parameter, so an id holds no __ and ends in no _"
    if keyword.iskeyword(id):
        return "it is a word of Python"
    return ""
