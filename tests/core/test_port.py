"""Ports: types per phase, and which two may be joined."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import pytest

from mlgraph.core.port import Port, accepts, article, clash, fits, type_name
from mlgraph.errors import GraphError


class Animal: ...


class Dog(Animal): ...


class Cat(Animal): ...


@pytest.mark.parametrize(
    ("source", "target", "joinable"),
    [
        (Any, Animal, True),
        (Animal, Any, True),
        (Dog, None, True),
        (None, None, True),
        (None, Any, True),
        (None, Dog, False),
        (None, Dog | None, True),
        (Dog, Animal, True),
        (Animal, Dog, True),
        (Dog, Cat, False),
        (Dog, Cat | Dog, True),
        (Dog | Cat, Dog, True),
        (int | str, Dog | None, False),
        (str, int | Any, True),
        (type(len), Callable, True),
    ],
)
def test_which_types_fit(source: Any, target: Any, joinable: bool) -> None:
    assert fits(source, target) is joinable


def test_a_subclass_may_turn_up_where_its_base_is_promised() -> None:
    assert accepts(Animal, Dog())
    assert not accepts(Dog, Animal())
    assert accepts(Dog | None, None)
    assert not accepts(type(None), 3)


@pytest.mark.parametrize("kind", [list[int], "int", 3, int | list[int], typing.Callable])
def test_a_type_that_cannot_be_tested_is_refused(kind: Any) -> None:
    with pytest.raises(GraphError, match="Port 'input' cannot have the type"):
        Port("input", kind)


@pytest.mark.parametrize("name", ["a.b", "", "1a", "a-b", "_a"])
def test_a_port_name_without_dots_and_dashes(name: str) -> None:
    with pytest.raises(GraphError, match="A port cannot be called"):
        Port(name)


def test_nested_values_are_not_supported_yet() -> None:
    with pytest.raises(GraphError, match="asks for level 1"):
        Port("input", int, level=1)


def test_a_port_knows_both_phases() -> None:
    port = Port("output", fit=None, apply=int)
    assert (port.type_in("fit"), port.type_in("apply")) == (None, int)
    assert port == Port("output", fit=None, apply=int) != Port("output", int)


def test_a_clash_names_the_phase_only_where_phases_differ() -> None:
    assert clash(Port("a", Dog), Port("b", Cat)) == "a Dog is not a Cat"
    trained = Port("output", fit=None, apply=Dog)
    assert clash(trained, Port("b", Cat)) == (
        "a trainer gives nothing while fitting; only predictions come out of it"
    )
    assert clash(trained, Port("b", fit=None, apply=Cat)) == "when predicting, a Dog is not a Cat"
    assert clash(trained, Port("b", Any)) is None


def test_types_are_named_as_they_are_written() -> None:
    assert type_name(Dog | None) == "Dog | None"
    assert [article(kind) for kind in (Animal, Dog, None)] == ["an Animal", "a Dog", "nothing"]
