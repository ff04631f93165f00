"""What callbacks remember becomes plain data, and plain data what they remember."""

import attrs
import pytest
import torch

from mlgraph import StateError
from mlgraph.train.memory import load_state_dict, state_dict


@attrs.define
class Inner:
    count: int = 0
    tensor: torch.Tensor | None = None


@attrs.define
class Outer:
    inner: Inner = attrs.field(factory=Inner)
    names: list[str] = attrs.field(factory=list)
    pair: tuple[int, int] = (0, 0)
    tensors: dict[str, torch.Tensor] = attrs.field(factory=dict)
    word: str | None = None


class Own:
    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, saved):
        self.value = saved["value"]


def filled():
    return Outer(
        inner=Inner(3, torch.ones(2)),
        names=["a", "b"],
        pair=(1, 2),
        tensors={"weight": torch.zeros(1)},
        word="x",
    )


def test_a_memory_comes_back_as_it_was_into_the_object_there_is():
    fresh = Outer()
    inner = fresh.inner
    load_state_dict(fresh, state_dict(filled()))
    assert fresh.inner is inner
    assert fresh.inner.count == 3
    assert torch.equal(fresh.inner.tensor, torch.ones(2))
    assert (fresh.names, fresh.pair, fresh.word) == (["a", "b"], (1, 2), "x")
    assert torch.equal(fresh.tensors["weight"], torch.zeros(1))


@pytest.mark.parametrize("value", [None, 3, 0.1, True, "word"])
def test_plain_values_are_saved_as_they_are(value):
    assert state_dict(value) is value


def test_objects_with_methods_of_their_own_are_asked_wherever_they_stand():
    saved = state_dict({"a": [Own(3)]})
    assert saved == {"a": [{"value": 3}]}
    held = {"a": [Own(0)]}
    own = held["a"][0]
    load_state_dict(held, saved)
    assert own.value == 3


def test_what_is_saved_does_not_change_with_the_memory_nor_the_memory_with_it():
    memory = filled()
    saved = state_dict(memory)
    memory.inner.tensor.fill_(9)
    memory.names.append("c")
    assert torch.equal(saved["inner"]["tensor"], torch.ones(2))
    assert saved["names"] == ["a", "b"]
    fresh = Outer()
    load_state_dict(fresh, saved)
    fresh.tensors["weight"].fill_(9)
    fresh.inner.tensor.fill_(9)
    assert torch.equal(saved["tensors"]["weight"], torch.zeros(1))
    assert torch.equal(saved["inner"]["tensor"], torch.ones(2))


def test_a_tensor_of_equal_size_is_filled_in_place():
    memory = Inner(0, torch.zeros(2))
    tensor = memory.tensor
    load_state_dict(memory, {"count": 1, "tensor": torch.ones(2)})
    assert memory.tensor is tensor
    assert torch.equal(tensor, torch.ones(2))


def test_what_was_there_and_is_not_saved_is_gone():
    memory = filled()
    load_state_dict(memory, state_dict(Outer()))
    assert state_dict(memory) == state_dict(Outer())


def test_no_memory_stays_none():
    load_state_dict(None, state_dict(None))
    with pytest.raises(StateError):
        load_state_dict(None, 3)


def test_what_cannot_be_saved_is_refused():
    with pytest.raises(StateError, match="A set cannot be saved") as caught:
        state_dict({"a": {1}})
    assert "state_dict()" in caught.value.mend
    with pytest.raises(StateError, match="key 1"):
        state_dict({1: 2})


def test_the_memory_of_another_callback_is_refused():
    with pytest.raises(StateError, match="not a Inner") as caught:
        load_state_dict(Inner(), {"other": 1})
    assert "it has 'other', not 'count', 'tensor'" in caught.value.why
    with pytest.raises(StateError, match="cannot be put back"):
        load_state_dict(Inner(), [1])
