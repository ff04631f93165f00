"""torch_callbacks: callbacks in a graph."""

import json
import pickle

import numpy as np
import pytest

from mlgraph import ConfigError, GraphError, Task, nn, po, tune, union
from mlgraph.errors import UnknownKeyError, UnknownParameterError
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback


def task(n=20):
    rng = np.random.default_rng(0)
    return Task({"a": rng.normal(size=n), "y": rng.normal(size=n)}, target="y")


def model(**kwargs):
    return po("torch_model", **{"epochs": 2, "progress": False, **kwargs})


def test_callbacks_are_called_while_the_network_is_trained():
    seen = []
    watch = Functions(on_epoch_end=lambda run: seen.append(run.epoch))
    graph = nn("linear") >> po("torch_callbacks", [watch]) >> model()
    fitted = graph.fit(task(), seed=1)
    assert seen == [1, 2]
    assert len(fitted.predict(task())) == 20


def test_the_same_graph_with_and_without_callbacks_that_only_look_trains_the_same():
    plain = (nn("linear") >> model()).fit(task(), seed=1)
    graph = nn("linear") >> po("torch_callbacks", ["functions", "progress"]) >> model()
    watched = graph.fit(task(), seed=1)
    assert plain.history.equals(watched.history)


def test_a_schedule_changes_the_training():
    def last(**params):
        node = po("torch_callbacks", ["lr_exponential"], lr_exponential__gamma=0.01, **params)
        graph = nn("linear") >> node >> model(epochs=3)
        return graph.fit(task(), seed=1).history["train_loss"][-1]

    assert last() != last(lr_exponential__enabled=False)
    plain = (nn("linear") >> model(epochs=3)).fit(task(), seed=1).history["train_loss"][-1]
    assert last(lr_exponential__enabled=False) == plain


def test_parameters_are_reached_through_the_graph():
    node = po("torch_callbacks", ["lr_step", "grad_clip"], lr_step__step_size=3, grad_clip__norm=1)
    graph = nn("linear") >> node >> model()
    assert graph.params()["torch_callbacks__lr_step__step_size"] == 3
    changed = graph.with_params(torch_callbacks__lr_step__step_size=5)
    assert dict(changed["torch_callbacks"].callbacks)["lr_step"].step_size == 5
    assert graph.params()["torch_callbacks__lr_step__step_size"] == 3


@pytest.mark.parametrize(
    "path", ["lr_stp__step_size", "lr_step__stepsize", "wrong", "lr_step", "lr_step__step_size__0"]
)
def test_unknown_parameters_are_refused_by_name(path):
    node = po("torch_callbacks", ["lr_step"], lr_step__step_size=3)
    with pytest.raises(UnknownParameterError):
        node.with_parameters({path: 1})


def test_near_names_are_offered():
    node = po("torch_callbacks", ["lr_step"], lr_step__step_size=3)
    with pytest.raises(UnknownParameterError) as caught:
        node.with_parameters({"lr_stp__step_size": 1})
    assert "lr_step__step_size" in caught.value.mend
    with pytest.raises(UnknownParameterError) as caught:
        node.with_parameters({"lr_step__stepsize": 1})
    assert caught.value.mend == "Did you mean 'step_size'?"
    assert "callback 'lr_step'" in caught.value.where


def test_tokens_inside_callbacks_are_found_and_must_be_closed():
    node = po("torch_callbacks", ["lr_step"], lr_step__step_size=tune(1, 9))
    graph = nn("linear") >> node >> model()
    assert graph.search_space() == {"torch_callbacks__lr_step__step_size": tune(1, 9)}
    with pytest.raises(ConfigError):
        graph.fit(task())
    closed = graph.with_params(torch_callbacks__lr_step__step_size=1)
    assert closed.fit(task(), seed=1).history.num_rows == 2


def test_whether_a_callback_takes_part_can_be_searched_for():
    node = po("torch_callbacks", ["ema"], ema__enabled=tune([True, False]))
    assert list(node.tokens()) == ["ema__enabled"]


def test_ids_are_given_or_numbered():
    node = po("torch_callbacks", {"bar": "progress", "clip": callback("grad_clip", norm=1.0)})
    assert [id for id, _ in node.callbacks] == ["bar", "clip"]
    node = po("torch_callbacks", ["progress", "progress"], progress_2__digits=2)
    assert [c.digits for _, c in node.callbacks] == [4, 2]


def test_nodes_are_equal_by_content_and_the_order_counts():
    one, two = (po("torch_callbacks", [callback("grad_clip", norm=1.0), "ema"]) for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one != po("torch_callbacks", ["ema", callback("grad_clip", norm=1.0)])
    assert pickle.loads(pickle.dumps(one)) == one
    content = one.to_json()
    assert json.loads(json.dumps(content)) == content
    assert "grad_clip" in repr(one)


def test_several_nodes_add_up():
    graph = (
        nn("linear")
        >> po("torch_callbacks_1", ["functions"])
        >> po("torch_callbacks_2", ["ema"])
        >> model()
    )
    state = graph.fit(task(), seed=1).trained()
    assert list(state.descriptor.callbacks) == ["functions", "ema"]


def test_two_different_callbacks_of_one_id_are_refused():
    first, second = (
        po(f"torch_callbacks_{i}", {"clip": callback("grad_clip", norm=float(i))}) for i in (1, 2)
    )
    with pytest.raises(GraphError, match="Two different callbacks are called 'clip'"):
        (nn("linear") >> first >> second >> model()).fit(task())
    paths = union(
        [
            nn("linear", out_features=2, id="left") >> first,
            nn("linear", out_features=2, id="right") >> second,
        ]
    )
    graph = po("ingress_num") >> paths >> nn("merge_sum") >> nn("head") >> model()
    with pytest.raises(GraphError, match="Two different callbacks are called 'clip'"):
        graph.fit(task())


def test_unknown_keys_and_other_values_are_refused():
    with pytest.raises(UnknownKeyError, match="No callback is called 'progres'"):
        po("torch_callbacks", ["progres"])
    with pytest.raises(ConfigError, match="is not a callback"):
        po("torch_callbacks", [3])
    with pytest.raises(ConfigError, match=r"needs 'callbacks'"):
        po("torch_callbacks")


def test_a_callback_of_the_users_is_found_by_key():
    class StopAfterOne(Callback):
        def on_epoch_end(self, run, state):
            run.stop("one is enough")

    graph = nn("linear") >> po("torch_callbacks", ["stop_after_one"]) >> model()
    assert graph.fit(task(), seed=1).trained().stopped == "one is enough"


def test_early_stopping_can_be_a_callback_of_the_graph():
    graph = (
        nn("linear")
        >> po("torch_callbacks", ["early_stopping"], early_stopping__patience=1)
        >> model(epochs=200)
    )
    trained = graph.fit(task(), valid=0.3, seed=1).trained()
    assert trained.epochs < 200
    assert "did not improve" in trained.stopped
    with pytest.raises(ConfigError, match="needs validation data"):
        graph.fit(task(), seed=1)


def test_how_progress_is_shown_is_left_out_of_the_hash_of_the_graph() -> None:
    one, other = (po("torch_callbacks", [callback("progress", digits=n)]) for n in (2, 3))
    assert one != other
    assert one.as_graph().hash == other.as_graph().hash
