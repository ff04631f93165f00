"""Every layer of the catalogue, for parameters and inputs drawn at random: nothing to write down.

A layer that is added to the catalogue, here or by another package, is tested by being there. Where
its inputs cannot be guessed, it has ``examples``. ``pytest -m slow`` draws more cases;
``MLGRAPH_ORACLE_EXAMPLES`` says how many for each layer, and ``MLGRAPH_SEED`` draws others.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator

import attrs
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from mlgraph.catalogue import catalogue
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing import check_compiled, check_drawn, check_exported, check_layer, drawn
from mlgraph.testing.layer import check_inference
from mlgraph.testing.rows import check_alone
from mlgraph_nodes.reshape import Reshape

OFFERS = catalogue().offers
KEYS = sorted(key for key, offer in OFFERS.items() if issubclass(offer.node, Layer))
EXAMPLES = os.environ.get("MLGRAPH_ORACLE_EXAMPLES")
SEED = os.environ.get("MLGRAPH_SEED")

every_layer = pytest.mark.parametrize("key", KEYS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Layers this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def class_of(key: str) -> type[Layer]:
    cls = OFFERS[key].node
    assert issubclass(cls, Layer)
    return cls


def source(key: str, number: int = 0) -> random.Random:
    return random.Random(f"{key}, {SEED or 0}, {number}")


def oracle(key: str, examples: int, dims: int = 6) -> None:
    """The inferred specs and the rows of so many drawn cases of a layer."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        derandomize=SEED is None,
        phases=[Phase.generate],  # another seed is not a simpler case
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**64))
    def what_is_inferred_is_true(number: int) -> None:
        layer, specs = drawn(class_of(key), source(key, number), dims=dims)
        note(f"{layer!r} for {specs}")
        check_inference(layer, specs)
        check_alone(layer, specs)

    run = what_is_inferred_is_true
    (hypothesis_seed(int(SEED))(run) if SEED else run)()


def test_every_package_of_nodes_could_be_loaded() -> None:
    assert catalogue().failures == {}
    assert KEYS


@every_layer
def test_a_layer_keeps_its_promises_for_whatever_it_takes(key: str) -> None:
    check_drawn(class_of(key), cases=1, seed=int(SEED or 0))


@every_layer
def test_what_is_inferred_about_a_layer_is_true(key: str) -> None:
    oracle(key, int(EXAMPLES or 1))


@pytest.mark.slow
@every_layer
def test_what_is_inferred_about_a_layer_is_true_of_many_cases(key: str) -> None:
    oracle(key, int(EXAMPLES or 6), dims=9)


@every_layer
def test_every_example_of_a_layer_is_one_of_it_and_keeps_its_promises(key: str) -> None:
    for layer, specs in class_of(key).examples():
        assert layer.key == key
        check_layer(layer, specs)


# torch.compile and torch.export -----------------------------------------------------------------


@attrs.frozen
class Limit:
    """What torch itself cannot do with a layer.

    Args:
        check: ``check_compiled`` or ``check_exported``.
        case: A layer and its inputs.
        says: What torch says of it, as a regular expression.
        reason: Which operation it is, and why it has to stay.
    """

    check: Callable[..., None]
    case: tuple[Layer, tuple[TensorSpec, ...]]
    says: str
    reason: str


LIMITS = [
    Limit(
        check_exported,
        (Reshape(shape=(2, -1)), (TensorSpec((5, 4)),)),
        r"Constraints violated \(batch\)",
        "torch.reshape with an unknown number of rows, into a shape whose first size is another "
        "number: torch decides how to do it by whether one can be divided by the other",
    )
]
CASES = 3


def refusals(key: str, check: Callable[..., None]) -> list[str]:
    """What torch says of the cases that it cannot do."""
    found = []
    for number in range(CASES):
        layer, specs = drawn(class_of(key), source(key, number))
        try:
            check(layer, specs)
        except AssertionError as error:
            found.append(str(error))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_compiled, check_exported])
@every_layer
def test_a_layer_compiles_and_exports(key: str, check: Callable[..., None]) -> None:
    known = [limit.says for limit in LIMITS if limit.case[0].key == key and limit.check is check]
    for text in refusals(key, check):
        assert any(re.search(says, text) for says in known), text


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.case[0].key)
def test_what_torch_is_said_not_to_do_it_cannot_do_yet(limit: Limit) -> None:
    with pytest.raises(AssertionError, match=limit.says):
        limit.check(*limit.case)


FEW = ["nn_linear", "nn_batch_norm1d", "nn_embedding", "nn_merge_cat"]


@pytest.mark.parametrize("key", FEW)
def test_some_layers_compile_and_export(key: str) -> None:
    layer, specs = drawn(class_of(key), source(key))
    check_compiled(layer, specs)
    check_exported(layer, specs)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a compiler")
@pytest.mark.parametrize("key", FEW)
def test_some_layers_give_the_same_as_generated_code(key: str) -> None:
    check_compiled(*drawn(class_of(key), source(key)), backend="inductor")
