from __future__ import annotations

import pytest

from mlgraph.errors import ShapeError
from mlgraph.tensor.explain import complaint
from mlgraph.tensor.fill import Filling
from mlgraph.tensor.probe import Probe, Refused, Seen
from mlgraph.tensor.spec import TensorSpec

SPEC = TensorSpec(("batch", "time", 3))
FIRST: Filling = {"batch": 64, "time": 96}
SECOND: Filling = {"batch": 131, "time": 137}


def why(*messages: str, seen: tuple[Seen, ...] = ()) -> str:
    fillings = (FIRST, SECOND)[: len(messages)]
    pairs = zip(fillings, messages, strict=True)
    refused = tuple(Refused(filling, ValueError(message)) for filling, message in pairs)
    return complaint(Probe(seen, refused, enough=False), [SPEC], "node").why


def test_stand_ins_are_translated_back_and_constants_are_kept() -> None:
    assert why("got 64 and 10", "got 131 and 10") == "got batch and 10"


def test_a_constant_that_is_a_stand_in_by_accident_is_kept() -> None:
    assert why("64 is not 96", "64 is not 137") == "64 is not time"


def test_products_and_whole_tensors_are_recognised() -> None:
    assert why(f"(64x{64 * 96})", f"(131x{131 * 137})") == "(batch x batch*time)"
    sizes = (64 * 96 * 3, 131 * 137 * 3)
    assert why(*(f"of size {size}" for size in sizes)) == "of size batch*time*3"


def test_a_number_that_only_varies_is_not_shown() -> None:
    assert why("got 31", "got 64") == "got ?"


def test_numbers_in_words_and_decimals_are_not_sizes() -> None:
    text = "conv64 needs 0.64 and 64.5 of float64"
    assert why(text, text) == text


@pytest.mark.parametrize("error", [KeyError("boom"), TypeError("boom"), ValueError("boom")])
def test_the_original_message_survives(error: Exception) -> None:
    found = Probe((), (Refused({}, error),), enough=False)
    assert "boom" in complaint(found, [TensorSpec((2,))], "node").why


def test_an_exception_without_message_is_named() -> None:
    found = Probe((), (Refused({}, AssertionError()),), enough=False)
    assert complaint(found, [TensorSpec((2,))], "node").why == "AssertionError"


def test_an_own_error_brings_its_own_mend() -> None:
    own = ShapeError("Too short.", why="5 < 7", mend="use a smaller kernel")
    told = complaint(Probe((), (Refused({}, own),), enough=False), [SPEC], "node")
    assert told.why == "too short; 5 < 7"
    assert told.mend.startswith("use a smaller kernel, or ")


def test_a_module_that_ran_for_some_sizes_is_not_said_to_refuse_its_input() -> None:
    seen = (Seen(SECOND, ((1,),), ()),)
    told = complaint(Probe(seen, (Refused(FIRST, ValueError("odd")),), enough=False), [SPEC], "n")
    assert told.what == "The output of n for (batch, time, 3) float32 could not be found."
    assert "1 of the sizes tried" in told.why
    assert "fixed size" in told.mend
