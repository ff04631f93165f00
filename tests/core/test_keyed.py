"""Values with a key: one inside another is changed, searched and compared by path."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from mlgraph.core.base import NodeBase
from mlgraph.core.keyed import Keyed, tokens_in, with_inner
from mlgraph.core.param import param, tune
from mlgraph.errors import ConfigError, UnknownParameterError


class Inner(Keyed):
    size: int = param(default=1, lower=1)


class Outer(Keyed):
    inner: Any = None
    sizes: tuple[int, ...] = (1, 2)


def test_a_value_inside_another_is_changed_by_path():
    outer = Outer(inner=Inner())
    assert outer.with_parameters({"inner__size": 3}) == Outer(inner=Inner(size=3))
    assert outer.with_parameters({"sizes__1": 5, "sizes__0": 4}).sizes == (4, 5)
    assert outer == Outer(inner=Inner())


@pytest.mark.parametrize("path", ["inner__depth", "sizes__2", "sizes__x", "out", "inner__size__0"])
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises(UnknownParameterError, match="has no parameter"):
        Outer(inner=Inner()).with_parameters({path: 1})


def test_tokens_are_found_inside_of_values():
    outer = Outer(inner=Inner(size=tune(1, 4)), sizes=(1, 2))
    assert outer.tokens() == {"inner__size": tune(1, 4)}
    assert dict(tokens_in({"a": (outer,)})) == {"a__0__inner__size": tune(1, 4)}
    assert with_inner((outer,), "0__inner__size", 2)[0] == Outer(inner=Inner(size=2))


def test_values_of_different_classes_are_not_equal():
    class Other(Keyed):
        key = "inner"
        size: int = 1

    assert Inner() != Other() and Inner() == Inner(size=1) and Inner() != 1
    assert len({Inner(), Inner(size=1), Inner(size=2)}) == 2


def test_a_class_takes_its_parameters_by_name_and_refuses_others():
    with pytest.raises(UnknownParameterError, match="has no parameter 'sise'") as caught:
        Inner(sise=3)
    assert "'size'" in caught.value.mend
    with pytest.raises(ConfigError, match="Inner takes its parameters by name") as caught:
        Inner(3)
    assert caught.value.mend == "write Inner(size=...)"
    assert pickle.loads(pickle.dumps(Inner(size=3))) == copy.deepcopy(Inner(size=3))


def test_a_value_that_cannot_be_is_refused_by_name():
    with pytest.raises(ConfigError, match=r'value\("inner"\) cannot take size=0') as caught:
        Inner(size=0)
    assert "parameter 'size'" in str(caught.value)
    with pytest.raises(ConfigError, match="takes 1 parameters, and got 2"):
        Inner.create((1, 2))
    with pytest.raises(ConfigError, match="got 'size' twice"):
        Inner.create((1,), {"size": 2})


@pytest.mark.parametrize("name", ["fields", "tokens", "create", "validate", "key", "prefix"])
def test_a_parameter_cannot_have_the_name_of_something_every_value_has(name):
    with pytest.raises(ConfigError, match=f"cannot have a parameter {name!r}") as caught:
        type("Taken", (Keyed,), {"__annotations__": {name: "float"}, name: 1.0})
    assert f"{name}_" in str(caught.value)


@pytest.mark.parametrize("name", ["id", "stem", "fit", "inputs", "ports"])
def test_a_parameter_of_a_node_cannot_have_the_name_of_something_every_node_has(name):
    with pytest.raises(ConfigError, match=f"cannot have a parameter {name!r}"):
        type("Taken", (NodeBase,), {"__annotations__": {name: "float"}, name: 1.0})


def test_an_init_is_refused_when_the_class_is_defined_with_the_fields_to_declare():
    def init(self, size, width=8, act: str = "relu", other=None, **rest: Any):
        self.width = width

    with pytest.raises(ConfigError, match="Wide cannot have an __init__ of its own") as caught:
        type("Wide", (Keyed,), {"__init__": init})
    assert caught.value.where == "class 'Wide'"
    assert caught.value.mend == (
        "declare fields: size: Any = param(); width: int = param(default=8); "
        "act: str = param(default='relu'); other: Any = param(default=None)"
    )
    with pytest.raises(ConfigError) as caught:
        type("Bare", (Keyed,), {"__init__": lambda self: None})
    assert caught.value.mend == "leave __init__ out"


def test_an_inherited_parameter_may_get_another_default():
    class Deeper(Inner):
        size: int = 5

    assert Deeper().size == 5
