"""A task of numbers and categories, from the table to the prediction through two towers."""

import pickle

import numpy as np
import pytest
import torch

from mlgraph import DataError, Task, nn, po, sel


def mixed(n=90, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    return Task(
        {
            "height": rng.normal(size=n) * 20 + 40 * codes,
            "colour": np.array(["red", "green", "blue"])[(codes + rng.integers(0, 2, n)) % 3],
            "width": rng.integers(0, 9, n),
            "flag": rng.random(n) < 0.5,
            "y": np.array(["u", "v", "w"])[codes],
        },
        target="y",
    )


def towers(**options):
    numbers = (
        po("select", columns=sel.type("float", "int"))
        >> po("scale")
        >> po("ingress_num")
        >> nn("linear", out_features=16)
        >> nn("relu")
    )
    words = (
        po("select", columns=sel.type("string", "bool"), id="select_words")
        >> po("ingress_categ")
        >> nn("embedding", embedding_dim=4)
        >> nn("flatten")
    )
    defaults = {"epochs": 25, "batch_size": 16, "progress": False}
    model = po("torch_model", **{**defaults, **options})
    return [numbers, words] >> nn("merge_cat") >> nn("head") >> model


@pytest.fixture(scope="module")
def fitted():
    return towers(metrics=["accuracy"]).fit(mixed(), valid=0.3, seed=1)


def test_it_learns_and_validates(fitted):
    history = fitted.history.to_pydict()
    assert len(history["epoch"]) == 25
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert history["valid_accuracy"][-1] > 0.6
    assert fitted.predict(mixed(seed=5)).score("accuracy") > 0.6


def test_predictions_do_not_depend_on_the_order_of_rows_or_columns(fitted):
    new = mixed(30, seed=7)
    order = np.random.default_rng(3).permutation(30)
    straight, permuted = fitted.predict(new), fitted.predict(new.take(order))
    assert permuted.row_ids.tolist() == order.tolist()
    np.testing.assert_allclose(permuted.prob, straight.prob[order], rtol=1e-5)
    turned = new.to_arrow().select(["y", "flag", "width", "colour", "height"])
    np.testing.assert_allclose(fitted.predict(turned).prob, straight.prob, rtol=1e-6)


def test_the_towers_are_those_of_a_network_written_by_hand(fitted):
    new = mixed(12, seed=7)
    module, trained = fitted.module(), fitted.trained()
    numbers, words = trained.descriptor.tokens.values()
    assert numbers.columns == ("height", "width")
    assert words.levels == (("blue", "green", "red"), ("false", "true"))
    codes = words.tensor(new)
    left = module.linear(_scaled(fitted, new)).relu()
    vectors = module.embedding.table.weight[codes + torch.tensor([0, 3])].flatten(1)
    logits = module.head(torch.cat([left, vectors], dim=1))
    expected = torch.softmax(logits.double(), dim=1).detach().numpy()
    np.testing.assert_allclose(fitted.predict(new).prob, expected, rtol=1e-4)


def _scaled(fitted, task):
    seen = mixed().take(_training_rows(fitted)).select(["height", "width"]).to_numpy()[0]
    new = task.select(["height", "width"]).to_numpy()[0]
    return torch.from_numpy((new - seen.mean(0)) / seen.std(0)).float()


def _training_rows(fitted):
    from mlgraph.core.entry import node_seed

    train, _ = mixed().split(0.3, node_seed(1, "", "split"))
    return train.row_ids


def test_a_level_that_fit_did_not_see_names_the_column(fitted):
    new = {"height": [1.0], "colour": ["mauve"], "width": [1], "flag": [True]}
    with pytest.raises(DataError, match="'colour' has a level that fit did not see: 'mauve'"):
        fitted.predict(new)


def test_a_missing_number_names_the_column(fitted):
    new = {"height": [None], "colour": ["red"], "width": [1], "flag": [True]}
    with pytest.raises(DataError, match="'height'"):
        fitted.predict(new)


def test_it_trains_alike_whichever_tower_is_written_first_or_runs_elsewhere(fitted):
    new = mixed(20, seed=7)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(new).prob, fitted.predict(new).prob)
    same = towers(metrics=["accuracy"]).fit(mixed(), valid=0.3, seed=1)
    np.testing.assert_array_equal(same.predict(new).prob, fitted.predict(new).prob)


def test_early_stopping_works_through_both_towers():
    trained = towers(epochs=200, patience=3).fit(mixed(), valid=0.3, seed=1).trained()
    losses = trained.history["valid_loss"].to_pylist()
    assert trained.best_epoch == 1 + int(np.argmin(losses))


def test_check_shows_every_spec_without_training():
    text = str(towers().check(mixed()))
    assert "(batch, 24) float32" in text
    assert "(batch, 3) float32" in text
