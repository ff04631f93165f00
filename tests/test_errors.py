"""Errors: what, where, why, how to mend it; and how several become one."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgraph.core.graph import Graph
from mlgraph.errors import (
    ConfigError,
    DataError,
    GraphError,
    MLGraphError,
    ShapeError,
    StateError,
    UnknownAttributeError,
    UnknownColumnError,
    UnknownKeyError,
    UnknownParameterError,
    did_you_mean,
    listing,
    together,
)


def test_the_first_line_stands_alone_and_answers_follow() -> None:
    error = ShapeError("No.", where="node 'a'", why="8 is not 9", mend="Use 9.")
    assert str(error).splitlines() == [
        "No.",
        "  where: node 'a'",
        "  why:   8 is not 9",
        "  mend:  Use 9.",
    ]
    assert str(ShapeError("No.")) == "No."


@pytest.mark.parametrize("kind", [GraphError, ShapeError, DataError, ConfigError, StateError])
def test_every_error_is_a_value_error_and_one_of_ours(kind: type[MLGraphError]) -> None:
    assert issubclass(kind, MLGraphError)
    assert issubclass(kind, ValueError)
    assert not issubclass(kind, LookupError)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (UnknownKeyError, GraphError),
        (UnknownColumnError, DataError),
        (UnknownParameterError, ConfigError),
    ],
)
def test_unknown_names_are_also_lookup_errors(
    kind: type[MLGraphError], base: type[MLGraphError]
) -> None:
    assert issubclass(kind, (base))
    assert issubclass(kind, LookupError)
    assert str(kind("No node is called 'a'.")) == "No node is called 'a'.", "without quotes"


def test_an_unknown_attribute_is_also_an_attribute_error() -> None:
    assert issubclass(UnknownAttributeError, GraphError)
    assert not hasattr(Graph.empty(), "predict")
    with pytest.raises(AttributeError) as caught:
        Graph.empty().predict
    assert type(caught.value).__name__ == "UnknownAttributeError"


def test_an_address_is_put_in_front_of_the_one_that_is_there() -> None:
    error = DataError("No.", where="column 'x'", errors=[DataError("a"), DataError("b", where="c")])
    assert error.at("node 'n'") is error
    assert error.where == "node 'n', column 'x'"
    assert [inner.where for inner in error.errors] == ["node 'n'", "node 'n', c"]


def test_errors_survive_pickling() -> None:
    error = UnknownKeyError("No.", where="w", why="y", mend="m", errors=[DataError("a", why="b")])
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is UnknownKeyError
    assert str(other) == str(error)
    assert other.args == ("No.",)
    assert type(other.errors[0]) is DataError


def test_one_finding_is_raised_as_itself() -> None:
    error = UnknownKeyError("a")
    assert together([error], "Things.") is error
    assert together([GraphError("All.", errors=[error])], "Things.") is error


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([DataError("a"), DataError("b")], DataError),
        ([DataError("a"), UnknownColumnError("b")], DataError),
        ([UnknownKeyError("a"), UnknownKeyError("b")], GraphError),
        ([DataError("a"), ShapeError("b")], MLGraphError),
    ],
)
def test_several_findings_become_one_error_of_the_common_kind(
    errors: list[MLGraphError], kind: type[MLGraphError]
) -> None:
    error = together(errors, "2 things.")
    assert type(error) is kind
    assert error.errors == tuple(errors)
    assert str(error) == "2 things.\n  - a\n  - b"


def test_findings_of_findings_are_listed_flat_and_indented() -> None:
    inner = DataError("Both.", errors=[DataError("a", why="b"), DataError("c")])
    error = together([inner, DataError("d")], "3 things.")
    assert [finding.what for finding in error.errors] == ["a", "c", "d"]
    assert str(error).splitlines()[1:3] == ["  - a", "      why:   b"]


def test_near_words_are_suggested_and_far_ones_are_not() -> None:
    assert did_you_mean("sclae", ["scale", "pca"]) == "Did you mean 'scale'?"
    assert did_you_mean("linear", ["linear_1", "linear_2"]) == (
        "Did you mean 'linear_2' or 'linear_1'?"
    )
    assert did_you_mean("x", []) == did_you_mean("zzz", ["scale"]) == ""


def test_words_that_are_no_strings_can_be_compared() -> None:
    assert did_you_mean(32, [31, 64]) in ("", "Did you mean '31'?")
    assert did_you_mean(None, ["none", 1]) == "Did you mean 'none'?"


@given(st.lists(st.integers(), max_size=20), st.integers(1, 9))
def test_a_listing_shows_at_most_so_many_words_and_counts_the_rest(
    words: list[int], limit: int
) -> None:
    text = listing(words, limit)
    assert text.count("'") == 2 * min(len(words), limit)
    assert text.endswith(f" and {len(words) - limit} more") == (len(words) > limit)


def test_an_address_is_not_put_in_front_of_itself() -> None:
    assert (
        DataError("No.", where="node 'a', input 'x'").at("node 'a'").where == "node 'a', input 'x'"
    )
    assert DataError("No.", where="node 'ab'").at("node 'a'").where == "node 'a', node 'ab'"
