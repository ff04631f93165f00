"""Predictions: labels from probabilities, truth with gaps, tables, putting folds together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mlgraph.data.prediction import Prediction
from mlgraph.errors import DataError

PROB = [[0.1, 0.9, 0.0], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]]
CLASSES = ("b", "a", "c")


def classification(**options: object) -> Prediction:
    return Prediction.classification([5, 6, 7], PROB, CLASSES, **options)


def test_the_response_is_the_likeliest_class_and_the_first_on_ties() -> None:
    prediction = classification()
    assert prediction.response.tolist() == ["a", "b", "c"]
    assert prediction.prob.dtype == np.float64
    assert prediction.row_ids.dtype == np.int64
    assert (prediction.kind, prediction.classes, len(prediction)) == ("classification", CLASSES, 3)


@pytest.mark.parametrize(
    ("classes", "response"), [((False, True), [True]), ((3, 7), [7]), (("n", "y"), ["y"])]
)
def test_labels_keep_their_type(classes: tuple, response: list) -> None:
    prediction = Prediction.classification([0], [[0.2, 0.8]], classes, [0])
    assert prediction.response.tolist() == response
    assert prediction.truth.tolist() == [classes[0]]
    assert prediction.response.dtype == prediction.truth.dtype
    assert prediction.positive == classes[1]


def test_truth_may_have_gaps_or_be_unknown() -> None:
    assert classification(truth_codes=[0, -1, 2]).truth.tolist() == ["b", None, "c"]
    assert classification(truth_codes=[2, 1, 0]).truth.tolist() == ["c", "a", "b"]
    assert classification(truth_codes=[-1, -1, -1]).truth is None
    assert classification().truth is None
    nan = float("nan")
    assert Prediction.regression([0, 1], [1.0, 2.0], [nan, nan]).truth is None
    assert np.isnan(Prediction.regression([0, 1], [1.0, 2.0], [3.0, nan]).truth[1])


def test_the_positive_class_is_kept_when_given() -> None:
    options = {"row_ids": [0], "prob": [[0.5, 0.5]], "classes": ("n", "y")}
    assert Prediction.classification(**options, positive="n").positive == "n"
    assert classification().positive is None


def test_single_precision_may_sum_to_nearly_one() -> None:
    single = np.array([[0.1, 0.9 - 5e-6]], dtype=np.float32)
    assert Prediction.classification([0], single, ("a", "b")).response.tolist() == ["b"]
    with pytest.raises(DataError, match="1 rows of probabilities are none"):
        Prediction.classification([0], single.astype(np.float64), ("a", "b"))


@pytest.mark.parametrize(
    "row", [[0.5, 0.6], [1.5, -0.5], [float("nan"), 1.0], [0.0, 0.0], [float("inf"), 0.0]]
)
def test_what_are_no_probabilities_is_refused(row: list[float]) -> None:
    with pytest.raises(DataError, match="1 rows of probabilities are none") as refused:
        Prediction.classification([0, 1], [[0.5, 0.5], row], ("a", "b"))
    assert "position 1" in refused.value.why


@pytest.mark.parametrize("prob", [[0.5, 0.5], [[1.0]], [[0.2, 0.3, 0.5]], [[0.5, 0.5]] * 2])
def test_shapes_must_fit_rows_and_classes(prob: list) -> None:
    with pytest.raises(DataError, match="do not fit") as shape:
        Prediction.classification([0], prob, ("a", "b"))
    assert "1 rows and 2 classes make (1, 2)" in shape.value.why


def test_lengths_must_agree() -> None:
    with pytest.raises(DataError, match="2 rows has 1 values of 'response'"):
        Prediction.regression([0, 1], [1.0])
    with pytest.raises(DataError, match="3 rows has 2 values of 'truth'"):
        classification(truth_codes=[0, 1])
    with pytest.raises(DataError, match="'weights'"):
        classification(weights=[1.0])
    with pytest.raises(DataError, match=r"'quantile 0\.5'"):
        Prediction.regression([0, 1], [1.0, 2.0], quantiles={0.5: [1.0]})
    with pytest.raises(DataError, match="There is no class 3"):
        classification(truth_codes=[0, 1, 3])


def test_a_prediction_does_not_change_with_what_it_was_made_of() -> None:
    response = np.array([1.0, 2.0])
    prediction = Prediction.regression([0, 1], response)
    response[0] = 9.0
    assert prediction.response.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        prediction.response[0] = 9.0
    with pytest.raises(AttributeError):
        prediction.kind = "other"


def test_tables_have_one_column_per_class() -> None:
    table = classification(truth_codes=[0, -1, 2], weights=[1.0, 2.0, 3.0]).to_arrow()
    assert table.column_names == [
        "row_id", "truth", "response", "prob.b", "prob.a", "prob.c", "weight",
    ]  # fmt: skip
    assert table["truth"].to_pylist() == ["b", None, "c"]
    frame = classification().to_pandas()
    assert frame["row_id"].tolist() == [5, 6, 7]
    assert frame["prob.a"].tolist() == [0.9, 0.2, 0.3]
    quantiles = {0.1: [0.5], 0.9: [1.5]}
    regression = Prediction.regression([0], [1.0], [2.0], se=[0.1], quantiles=quantiles)
    assert regression.to_arrow().column_names == [
        "row_id", "truth", "response", "se", "q0.1", "q0.9",
    ]  # fmt: skip


def test_predictions_of_folds_are_put_together() -> None:
    first, second = classification(truth_codes=[0, 1, 2]), classification()
    both = Prediction.concat([first, second])
    assert both.row_ids.tolist() == [5, 6, 7, 5, 6, 7]
    assert both.prob.shape == (6, 3)
    assert both.truth.tolist() == ["b", "a", "c", None, None, None]
    assert Prediction.concat([first]).truth.dtype == first.truth.dtype
    regression = Prediction.regression([0], [1.0], [2.0], weights=[1.0], quantiles={0.5: [1.0]})
    twice = Prediction.concat([regression, regression])
    assert twice.truth.tolist() == [2.0, 2.0]
    assert twice.quantiles[0.5].tolist() == [1.0, 1.0]
    partly = Prediction.concat([regression, Prediction.regression([1], [1.0])])
    assert partly.weights is None
    assert partly.quantiles is None
    assert np.isnan(partly.truth[1])


def test_predictions_that_differ_are_not_put_together() -> None:
    regression = Prediction.regression([0], [1.0])
    with pytest.raises(DataError, match="different kinds or classes"):
        Prediction.concat([regression, classification()])
    with pytest.raises(DataError, match="no predictions"):
        Prediction.concat([])


def test_a_prediction_prints_its_first_rows() -> None:
    assert repr(classification(truth_codes=[0, -1, 2])).splitlines() == [
        "Prediction of 3 rows, classification",
        "  row_id  truth  response  prob.b  prob.a  prob.c",
        "       5      b         a     0.1     0.9       0",
        "       6      -         b     0.4     0.2     0.4",
        "       7      c         c     0.3     0.3     0.4",
    ]
    long = Prediction.regression(range(100), np.arange(100.0))
    assert repr(long).splitlines()[-1] == "  ... 94 more rows"


def test_a_prediction_shows_as_html_with_labels_escaped() -> None:
    shown = Prediction.classification([0], [[1.0, 0.0]], ("<a>", "b"))._repr_html_()
    assert "<th>prob.&lt;a&gt;</th>" in shown
    assert "<td>&lt;a&gt;</td>" in shown


def test_no_rows_are_a_prediction_too() -> None:
    none = Prediction.classification([], np.zeros((0, 2)), ("a", "b"), [])
    assert len(none) == 0
    assert len(none.to_arrow()) == 0
    assert "0 rows" in repr(none)
    joined = Prediction.concat([none, Prediction.classification([1], [[1.0, 0.0]], ("a", "b"))])
    assert joined.response.tolist() == ["a"]


def test_a_prediction_survives_pickling() -> None:
    prediction = classification(truth_codes=[0, -1, 2])
    again = pickle.loads(pickle.dumps(prediction))
    assert not again.response.flags.writeable
    assert again.to_arrow().equals(prediction.to_arrow())
