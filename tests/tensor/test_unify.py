from __future__ import annotations

from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.unify import unified


def test_fewer_places_are_made_equal_first() -> None:
    every = list(unified([TensorSpec(("a", "b")), TensorSpec(("c", "d"))]))
    assert [specs[0].shape for specs in every] == [("a=c", "b"), ("a", "b=d"), ("a=c", "b=d")]


def test_two_known_sizes_are_never_made_equal() -> None:
    assert list(unified([TensorSpec((4, "b")), TensorSpec((5, "b"))])) == []
    assert list(unified([TensorSpec(("a", 4)), TensorSpec(("a", "b")), TensorSpec(("a", 5))])) == []


def test_one_is_left_to_broadcast() -> None:
    assert list(unified([TensorSpec((1, "b")), TensorSpec(("a", "b"))])) == []


def test_names_that_meet_in_several_places_are_one_size() -> None:
    *_, last = unified([TensorSpec(("a", "b")), TensorSpec(("b", 7))])
    assert [spec.shape for spec in last] == [(7, 7), (7, 7)]


def test_inputs_of_different_rank_are_left_alone() -> None:
    assert list(unified([TensorSpec(("a",)), TensorSpec(("b", "c"))])) == []


def test_many_places_do_not_make_many_attempts() -> None:
    left = TensorSpec([f"a{dim}" for dim in range(12)])
    right = TensorSpec([f"b{dim}" for dim in range(12)])
    assert len(list(unified([left, right]))) == 13


def test_a_size_of_1_next_to_an_unknown_one_stays_1() -> None:
    inputs = [TensorSpec((2, 1)), TensorSpec((1, 1)), TensorSpec(("a", 1))]
    assert list(unified(inputs)) == [(inputs[0], inputs[1], TensorSpec((2, 1)))]
