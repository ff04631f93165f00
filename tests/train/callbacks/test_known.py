"""Callbacks are found by key, and get ids."""

import json
import pickle

import pytest
import torch

from mlgraph import ConfigError, param, po
from mlgraph.errors import UnknownKeyError, UnknownParameterError
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.grad_clip import GradClip
from mlgraph.train.callbacks.known import callback, known, named
from mlgraph.train.callbacks.schedule import Schedule


def test_a_key_a_class_and_a_callback_make_a_callback():
    made = callback("grad_clip", norm=1.0)
    assert made == callback(GradClip, norm=1.0) == callback(made) == GradClip(norm=1.0)
    assert callback(made, norm=2.0).norm == 2.0


def test_a_class_of_the_users_is_found_without_registration():
    class TestOfKnown(Callback):
        level: int = param(default=1, lower=0)

    assert callback("test_of_known", level=2) == TestOfKnown(level=2)

    class TestOfKnown(Callback):
        depth: int = 3

    assert callback("test_of_known") == TestOfKnown()


def test_an_unknown_key_is_refused_with_near_ones():
    with pytest.raises(UnknownKeyError, match="No callback is called 'early_stoping'") as caught:
        callback("early_stoping")
    assert caught.value.mend == "Did you mean 'early_stopping'?"


@pytest.mark.parametrize("wrong", [3, None, print, torch.nn.Linear])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(ConfigError, match="is not a callback"):
        callback(wrong)


def test_unknown_parameters_are_refused():
    with pytest.raises(UnknownParameterError):
        callback("grad_clip", nrm=1.0)
    with pytest.raises(UnknownParameterError):
        callback(GradClip(norm=1.0), nrm=1.0)


def test_bases_are_no_callbacks():
    assert "schedule" not in known() and "" not in known()
    assert not any(cls is Schedule or cls.__name__.startswith("_") for cls in known().values())


@pytest.mark.parametrize("key", ["progress", "ema", "lr_linear", "lr_one_cycle"])
def test_predefined_callbacks_can_be_pickled_and_written(key):
    params = {"max_lr": 0.1} if key == "lr_one_cycle" else {}
    made = callback(key, **params)
    assert pickle.loads(pickle.dumps(made)) == made
    assert json.loads(json.dumps(made.to_json()))["key"] == key


def test_every_predefined_callback_says_what_it_is():
    for key, cls in known().items():
        if cls.__module__.startswith("mlgraph."):
            assert (cls.__doc__ or "").strip(), key
            assert cls.key == key


# Ids


def test_ids_are_keys_and_repeated_ones_are_numbered():
    ids = [id for id, _ in named(["progress", "ema", "progress", GradClip(norm=1.0)])]
    assert ids == ["progress", "ema", "progress_2", "grad_clip"]


def test_ids_of_a_dict_are_its_keys():
    assert named({"clip": GradClip(norm=1.0), "bar": "progress"}) == (
        ("clip", GradClip(norm=1.0)),
        ("bar", callback("progress")),
    )


def test_what_was_named_can_be_named_again():
    pairs = named(["progress", "progress"])
    assert named(pairs) == pairs
    assert named(GradClip(norm=1.0)) == named("grad_clip", {"grad_clip": {"norm": 1.0}})


@pytest.mark.parametrize("id", ["a__b", "a_", "1a", "", "a b"])
def test_an_impossible_id_is_refused(id):
    with pytest.raises(ConfigError, match="cannot be called"):
        named({id: "progress"})


@pytest.mark.parametrize("wrong", [3, None, 0.5])
def test_what_are_no_callbacks_is_refused(wrong):
    with pytest.raises(ConfigError):
        named(wrong)


def test_errors_name_the_callback_by_its_id():
    with pytest.raises(ConfigError) as caught:
        named({"clip": "grad_clip"}, {"clip": {"norm": -1.0}})
    assert caught.value.where.startswith("callback 'clip'")


def test_a_callback_with_the_key_of_another_one_is_refused():
    with pytest.raises(ConfigError, match="cannot be the callback 'early_stopping'") as caught:
        type("EarlyStopping", (Callback,), {})
    assert "another name" in caught.value.mend
    assert callback("early_stopping").monitor == "valid_loss"


@pytest.mark.parametrize("given", [print, [print]])
def test_a_function_is_no_callback_and_the_error_says_how_to_make_one(given):
    with pytest.raises(ConfigError) as caught:
        po("torch_callbacks", given)
    assert 'callback("functions", on_epoch_end=f)' in caught.value.mend


def test_hooks_with_other_arguments_are_refused_where_they_are_written():
    with pytest.raises(ConfigError, match="cannot be a hook") as caught:
        type("Odd", (Callback,), {"on_epoch_end": lambda self, run: None})
    assert "(self, run, state)" in caught.value.mend
    with pytest.raises(ConfigError, match="cannot be a hook") as caught:
        callback("functions", on_epoch_end=lambda run, state: None)
    assert "'run'" in caught.value.why
    assert callback("functions", on_epoch_end=print).hook("on_epoch_end")
