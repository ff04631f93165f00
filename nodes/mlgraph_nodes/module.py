"""Any ``torch.nn.Module`` as a layer: its class, an instance, or a function that makes one."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from torch import nn

from mlgraph.core.param import Mismatch, param
from mlgraph.core.port import NAME, Port
from mlgraph.core.value import canonical, digest, encode
from mlgraph.data.selector import Selector
from mlgraph.errors import ConfigError, MLGraphError, listing
from mlgraph.net.layer import Layer, Start, refuse_lazy
from mlgraph.net.weights import KINDS_OF_FILES, load_weights
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.function import port_names, refuse_arguments, tensor_ports


def _kept(value: Any) -> Any:
    """What may stand for a module, an instance as a private copy."""
    if isinstance(value, nn.Module):
        return Kept(value)
    is_other_class = isinstance(value, type) and not issubclass(value, nn.Module)
    if isinstance(value, Kept) or (callable(value) and not is_other_class):
        return value
    raise Mismatch("a torch.nn.Module, a subclass of it, or a function that makes one")


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def file_of_weights(value: str) -> str | None:
    """What is expected of the path of weights, if this is none.

    >>> file_of_weights("mine.safetensors") is None, file_of_weights("DEFAULT") is None
    (True, False)
    """
    if value.endswith(KINDS_OF_FILES):
        return None
    return (
        f"a path to a file of type {listing(KINDS_OF_FILES)}; an argument of the module's own "
        "called weights is passed in options={...}"
    )


def _chosen(value: Any) -> Any:
    return Selector.of(value) if isinstance(value, Selector) or value else ()


class Module(Layer):
    """A module of torch, or your own.

    Shape:
        inputs: what ``forward`` takes, by position.
        outputs: what it returns.

    Args:
        module: A class, whose arguments are parameters of this node; a function that returns a
            module; or a module. The module is copied at once, and every network starts from a
            copy of that copy, so neither yours nor ours is ever trained.
        inputs: Names of the input ports, by default the required arguments of ``forward``; a
            single one is always called ``input``.
        outputs: Names of the output ports, one for each tensor that is returned.
        options: Arguments of the class or function, which may also be given as parameters.
        weights: The path of a file with weights to start from: a state dict that ``torch.save``
            wrote, of which tensors are read and nothing else, or ``.safetensors``. It is read
            when a real network is made, and never downloaded.
        rename: Other beginnings of the names in the file: ``{"model.": ""}`` strips one,
            ``{"": "body."}`` adds one.
        fresh: The weights that do not come from the file, such as those of a new head:
            ``sel.match("^fc")``; and those of the file that the module lacks, such as an old head.
            All others have to be there, in their sizes.

    Raises:
        ConfigError: It is no module, or is not made by these arguments; or the weights are no
            file.
        StateError: The file is not there, or its weights do not fit.

    >>> layer = Module.create([nn.Bilinear], dict(in1_features=3, in2_features=4, out_features=5))
    >>> layer.infer(TensorSpec(("batch", 3)), TensorSpec(("batch", 4)))
    ((batch, 5) float32,)
    """

    open_field = "options"
    redefines = ("inputs", "outputs")

    module: Any = param(convert=_kept, tags={"structure"})
    inputs: tuple[str, ...] | None = param(  # type: ignore[assignment, misc]
        default=None, check=port_names, tags={"structure"}
    )
    outputs: tuple[str, ...] = param(  # type: ignore[assignment, misc]
        default=("output",), check=port_names, tags={"structure"}
    )
    options: Mapping[str, Any] = param(default={})
    weights: str | None = param(default=None, convert=_path, check=file_of_weights)
    rename: Mapping[str, str] = param(default={})
    fresh: Any = param(default=(), convert=_chosen)

    def validate(self) -> None:
        kind = self._kind()
        if kind is not None and kind.forward is nn.Module.forward:
            raise self._wrong(f"{kind.__name__} has no forward()", "wrap it in a module of yours")
        if not isinstance(self.module, Kept):
            mend = "give its arguments as parameters"
            refuse_arguments(self, self.module, self.options, tensors=0, mend=mend)
        elif self.options:
            raise self._wrong("a finished module takes no arguments", "pass its class instead")

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        kind = self._kind()
        names = self.inputs or (_required(kind) if kind else ())
        return tensor_ports(names, self.outputs)

    def build(self, *inputs: TensorSpec) -> nn.Module:
        if isinstance(self.module, Kept):
            return self.module.fresh()
        module = self.module(**self.options)
        if not isinstance(module, nn.Module):
            raise self._wrong(
                f"the function returned a {type(module).__name__}", "let it return a module"
            )
        # A function may return one and the same module each time.
        return module if isinstance(self.module, type) else _copied(module)

    def initialize(self, module: nn.Module, ctx: Start) -> None:
        if self.weights is None:
            return
        try:
            load_weights(module, self.weights, rename=self.rename, fresh=self.fresh)
        except MLGraphError as error:
            raise error.at(f"node {self.default_id!r}") from error.__cause__

    @classmethod
    def examples(cls) -> Iterable[tuple[Module, tuple[TensorSpec, ...]]]:
        x, y = TensorSpec((4, 3)), TensorSpec((4, 2))
        yield cls.create([nn.Linear], {"in_features": 3, "out_features": 5}), (x,)
        yield cls.create([nn.BatchNorm1d(3)]), (x,)
        sizes = {"in1_features": 3, "in2_features": 2, "out_features": 5}
        yield cls.create([nn.Bilinear], sizes), (x, y)

    def _kind(self) -> type[nn.Module] | None:
        """The class of the module, where it is known before it is made."""
        if isinstance(self.module, Kept):
            return self.module.kind
        return self.module if isinstance(self.module, type) else None

    def _wrong(self, why: str, mend: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot make a layer of {self.module!r}.",
            where=f"node {self.default_id!r}",
            why=why,
            mend=mend,
        )


class Kept:
    """A module as a value: a private copy that is never trained, and a digest of its content.

    Equal digests mean the same class, settings and weights.

    Raises:
        ConfigError: The module has no weights yet, or cannot be copied or described.

    >>> Kept(nn.Dropout(0.1)) == Kept(nn.Dropout(0.1)), Kept(nn.Dropout(0.1)) == Kept(nn.Dropout())
    (True, False)
    """

    __slots__ = ("_module", "digest")

    how_to_save = "pass the class of the module, or a function that makes it"

    def __init__(self, module: nn.Module) -> None:
        refuse_lazy(module)
        if any(tensor.is_meta for tensor in module.state_dict().values()):
            raise ConfigError(
                f"The {type(module).__name__} has no weights.",
                why="it was made on the meta device",
                mend="pass its class",
            )
        try:
            self._module = copy.deepcopy(module)
        except Exception as error:
            raise ConfigError(
                f"The {type(module).__name__} cannot be copied.",
                why=str(error),
                mend="pass its class, or a function that makes it",
            ) from error
        self.digest = digest(*_content(self._module))

    def fresh(self) -> nn.Module:
        """A copy, on the device that is torch's default at the time."""
        return _copied(self._module)

    @property
    def kind(self) -> type[nn.Module]:
        """The class of the module."""
        return type(self._module)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"class": encode(self.kind), "digest": self.digest}

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<{self.kind.__name__} {self.digest[:8]}>"


def _required(kind: type[nn.Module]) -> tuple[str, ...]:
    """The arguments that ``forward`` cannot do without, as names of ports."""
    arguments = list(inspect.signature(kind.forward).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [a.name for a in arguments if a.kind in positional and a.default is a.empty]
    if all(map(NAME.fullmatch, names)):
        return tuple(names)
    return tuple(f"input_{number}" for number in range(1, len(names) + 1))


def _copied(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).to(torch.get_default_device())


_INTERNAL = frozenset(nn.Module().__dict__)


def _content(module: nn.Module) -> list[bytes]:
    """Classes, settings and tensors of a module and its parts."""
    content = []
    for name, part in module.named_modules():
        settings = {k: v for k, v in part.__dict__.items() if k not in _INTERNAL}
        content.append(canonical([name, type(part), settings]))
    for name, weight in module.named_parameters():
        content += [canonical([name, weight.requires_grad]), _bytes(weight)]
    for name, buffer in module.named_buffers():
        content += [name.encode(), _bytes(buffer)]
    return content


def _bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    header = canonical([str(tensor.dtype), list(tensor.shape)])
    return header + flat.view(torch.uint8).numpy().tobytes()
