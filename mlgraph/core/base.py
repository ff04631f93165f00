"""What a node is: a frozen class with parameters, ports, and the two functions fit and apply.

``NodeBase`` holds everything about a node that needs no graph; ``mlgraph.core.node.Node``, the
class to subclass, adds the operators that make graphs of nodes.
"""

from __future__ import annotations

import inspect
import keyword
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs

from mlgraph.core.keyed import Keyed, tokens_in
from mlgraph.core.param import Token, shown
from mlgraph.core.port import Port
from mlgraph.core.value import canonical, digest
from mlgraph.errors import ConfigError, GraphError

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
        run_seed: The run's seed, that of ``graph.fit``, to be named in errors.
    """

    id: str
    phase: str
    seed: int
    valid: Mapping[str, Any] | None = None
    has_valid: bool = False
    run_seed: int | None = None


class NodeBase(Keyed):
    """A unit of work: parameters, typed ports, ``fit`` and ``apply``.

    Subclassing is enough: annotated fields become parameters, the class name in snake case
    becomes the key. A class states its ports in ``inputs`` and ``outputs``.

    Class attributes:
        key: Name of the node in the catalogue.
        random: Draws random numbers from ``ctx.seed``; part of the memo key.
        trains: Is a trainer: validation data stop here, and ``check`` does not train.
        requires: Packages that must be importable.
        how_to_join: What to do where its outputs do not pair up with the inputs that follow.
        open_field: Name of a mapping field that takes parameters no field is declared for.
    """

    inputs: ClassVar[tuple[Port, ...]] = ()
    outputs: ClassVar[tuple[Port, ...]] = ()
    random: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    how_to_join: ClassVar[str] = ""
    open_field: ClassVar[str | None] = None
    own_fields = ("id", "stem")

    id: str | None = attrs.field(default=None)
    stem: str | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.id is not None:
            self.check_id(self.id)
        super().__attrs_post_init__()
        if self.tokens():
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

    def instead(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, ...] | None:
        """What stands in for the outputs in a check in which the node failed, or None.

        With it, the nodes behind are checked as far as they can be. Gets the inputs of ``check``,
        and those of ``apply`` where there are validation values; ``ctx.phase`` says which.
        """
        return None

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
        return cls(id=id, stem=stem, **cls.given(args, params))

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        """Values of fields that take in parameters for which no field is declared.

        Raises:
            UnknownParameterError: The node has no such parameters.
        """
        if cls.open_field is None:
            return super().absorbed(values, extra)
        given = values.get(cls.open_field, {})
        # What is no dict is refused by its type, like any other value.
        opened = {**given, **extra} if isinstance(given, Mapping) else given
        return {**values, cls.open_field: opened}

    @classmethod
    def call_name(cls, arguments: str = "") -> str:
        """How the node is asked for: ``po("scale")``, ``nn("linear")``."""
        quoted = f'"{cls.key.removeprefix("nn_")}"'
        inside = ", ".join(part for part in (quoted, arguments) if part)
        return f"{'nn' if cls.key.startswith('nn_') else 'po'}({inside})"

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value, open ones included."""
        values = self.fields()
        if self.open_field is not None:
            values.update(values.pop(self.open_field))
        return values

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        """The same node with other parameters; ``a__b`` is ``b`` inside of ``a``.

        Raises:
            UnknownParameterError: A name that is no parameter.
        """
        if self.id is None or "." not in self.id:
            return super().with_parameters(changes)
        return self.renamed(None).with_parameters(changes).pinned(self.id)

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

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        for name, value in self.fields().items():
            yield from tokens_in(value, "" if name == self.open_field else name)

    def to_json(self) -> dict[str, Any]:
        """Key, class, id and every parameter, as JSON values."""
        chosen = {"id": self.id} if self.id is not None else {}
        named = {"stem": self.stem} if self.stem is not None else {}
        return {**super().to_json(), **chosen, **named}

    def memo_digest(self) -> str:
        """Digest of what determines the node's outputs, given its inputs and seed."""
        params = {n: getattr(self, n) for n in self.field_names() if "runtime" not in self.tags(n)}
        return digest(f"{id(type(self)):x}", canonical(params))

    def __repr__(self) -> str:
        shown_id = [f"id={self.id!r}"] if self.id is not None else []
        changed = [f"{name}={shown(value)}" for name, value in self.changed().items()]
        return self.call_name(", ".join([*changed, *shown_id]))

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

    def _where(self, name: str) -> str:
        return super()._where(name) + (f" of node {self.id!r}" if self.id else "")


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
