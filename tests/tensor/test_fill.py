from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from mlgraph.tensor.fill import MAX_REAL_ELEMENTS, fillings, real_fillings
from mlgraph.tensor.spec import TensorSpec

SIZES = st.one_of(st.integers(0, 200), st.sampled_from(["batch", "time", "height", "width", "x"]))
SPECS = st.lists(st.lists(SIZES, max_size=5).map(TensorSpec), min_size=1, max_size=3)


@given(SPECS)
def test_stand_ins_differ_from_each_other_and_from_known_sizes(specs: list[TensorSpec]) -> None:
    core, rest = fillings(specs)
    known = {size for spec in specs for size in spec.shape if isinstance(size, int)}
    names = {name for spec in specs for name in spec.names}
    for filling in itertools.chain(core, rest, real_fillings(specs)):
        assert filling.keys() == names
        numbers = list(filling.values())
        assert len(set(numbers)) == len(numbers)
        assert not known & set(numbers)
        assert all(number > 1 for number in numbers)


@given(SPECS)
def test_real_tensors_stay_small(specs: list[TensorSpec]) -> None:
    for filling in real_fillings(specs):
        if filling:
            elements = sum(math.prod(spec.filled(filling)) for spec in specs)
            assert elements <= MAX_REAL_ELEMENTS


def test_there_is_nothing_to_fill_when_all_is_known() -> None:
    core, rest = fillings([TensorSpec((2, 3))])
    assert core == [{}] and list(rest) == []


def test_the_batch_alone_takes_two_runs_and_other_sizes_three() -> None:
    assert len(fillings([TensorSpec(("batch", 3)), TensorSpec(("batch",))])[0]) == 2
    assert len(fillings([TensorSpec(("batch", "batch"))])[0]) == 3
    assert len(fillings([TensorSpec((8, "time"))])[0]) == 3


def test_first_tries_are_short_enough_to_be_stepped_through() -> None:
    core, _ = fillings([TensorSpec(("batch", "time", 8))])
    assert max(number for filling in core for number in filling.values()) <= 160


def test_four_unknown_sizes_do_not_make_large_tensors() -> None:
    every = real_fillings([TensorSpec(("batch", "channels", "height", "width"))])
    assert len(every) >= 2


def test_more_unknown_sizes_than_numbers_prepared_still_get_distinct_ones() -> None:
    many = TensorSpec([f"dim{number}" for number in range(400)])
    for filling in fillings([many])[0]:
        assert len(set(filling.values())) == 400
