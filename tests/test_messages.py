"""The whole text of representative errors, so that none of its four answers rots unseen.

What must be in the messages of all other wrong uses is in ``test_wrong_uses.py``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mlgraph import MLGraphError, Task, nn, po
from mlgraph.catalogue import Catalogue, catalogue


def task(**more: Any) -> Task:
    return Task({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0], **more, "y": list("uvw")}, target="y")


def model(**parameters: Any) -> Any:
    return po("torch_model", **{"epochs": 1, "device": "cpu", "progress": False, **parameters})


def says(use: Callable[[], Any], text: str) -> None:
    with pytest.raises(MLGraphError) as caught:
        use()
    assert str(caught.value) == textwrap.dedent(text).strip("\n")


@pytest.fixture
def three_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of three nodes, and a package that could not be loaded."""
    offers = {key: catalogue().offers[key] for key in ("nn_linear", "pca", "scale")}
    failures = {"mlgraph-wave": "ModuleNotFoundError: No module named 'pywt'"}
    small = Catalogue(offers, failures)
    monkeypatch.setattr("mlgraph.catalogue.catalogue", lambda: small)
    monkeypatch.setattr("mlgraph.catalogue._user_classes", dict)


@pytest.mark.usefixtures("three_nodes")
def test_an_unknown_key_names_near_ones_and_the_packages_that_are_broken():
    says(
        lambda: po("nn_linaer"),
        """
        No node is called 'nn_linaer'.
          why:   3 nodes are installed; mlgraph-wave could not be loaded \
(ModuleNotFoundError: No module named 'pywt')
          mend:  Did you mean 'nn_linear'?
        """,
    )


def test_an_unknown_parameter_names_those_there_are():
    says(
        lambda: nn("linear", out_feature=3),
        """
        nn("linear") has no parameter 'out_feature'.
          why:   its parameters are 'out_features', 'bias'
          mend:  Did you mean 'out_features'?
        """,
    )


def test_an_impossible_value_says_what_is_possible():
    says(
        lambda: nn("dropout", p=2, id="drop"),
        """
        nn("dropout") cannot take p=2.
          where: parameter 'p' of node 'drop'
          why:   expected a number from 0 to 1
        """,
    )


def test_types_that_do_not_fit_name_both_ports_and_both_types():
    says(
        lambda: po("scale") >> po("threshold"),
        """
        scale.output cannot feed threshold.input.
          where: edge scale.output -> threshold.input
          why:   when predicting, a Task is not a Prediction
          mend:  put a node between them that makes the one from the other
        """,
    )


def test_too_many_wires_are_listed():
    says(
        lambda: [po("scale"), po("pca")] >> po("ingress_num"),
        """
        2 outputs cannot feed 1 input.
          where: scale.output, pca.output -> ingress_num.input
          why:   outputs and inputs pair up one to one, one feeds all, or all enter a variadic port
          mend:  join tasks with po("featureunion"), layers with nn("merge_cat"), \
or connect ports one by one with graph.connect()
        """,
    )


def test_widths_that_differ_are_shown_with_where_they_come_from():
    paths = [nn("linear", out_features=4), nn("linear", out_features=5)]
    graph = paths >> nn("merge_sum") >> nn("head") >> model()
    says(
        lambda: graph.fit(task()),
        """
        merge_sum cannot accept (batch, 4) float32 and (batch, 5) float32.
          where: node 'merge_sum', fed by 'linear' (batch, 4) float32, \
'linear_2' (batch, 5) float32
          why:   dimension 1 has sizes 4 and 5; sizes have to be equal, or 1
          mend:  give the paths equal sizes, say with nn("linear")
        """,
    )


def test_a_network_without_a_head_is_told_what_the_task_needs():
    says(
        lambda: (nn("linear", out_features=64) >> model()).fit(task()),
        """
        The network puts out (batch, 64) float32, and the task needs (batch, 3).
          where: node 'torch_model', output of 'linear'
          why:   3 classes need one logit each
          mend:  end the network with nn("head")
        """,
    )


def test_numbers_and_categories_in_one_network_are_told_apart():
    says(
        lambda: (nn("head") >> model()).fit(task(c=["r", "g", "b"])),
        """
        Numbers and categories cannot enter a network through one door.
          where: node 'ingress', features 'c' are categories
          why:   features 'a', 'b' are numbers
          mend:  put po("encode") before the network, or let two paths enter: \
po("ingress_num", columns=sel.type("float", "int")) and po("ingress_categ", ...)
        """,
    )


def test_a_level_that_fit_did_not_see_is_named_with_its_column():
    colours = Task({"c": ["r", "g", "b"], "y": list("uvw")}, target="y")
    graph = po("ingress_categ") >> nn("embedding_cat") >> nn("head") >> model()
    fitted = graph.fit(colours, seed=1)
    says(
        lambda: fitted.predict({"c": ["violet"]}),
        """
        Column 'c' has a level that fit did not see: 'violet'.
          where: node 'torch_model', node 'ingress_categ'
          why:   its levels are 'b', 'g', 'r'
          mend:  po("ingress_categ", unknown="slot") gives unseen levels a code of their own
        """,
    )


def test_raw_data_are_told_how_to_become_a_task():
    says(
        lambda: po("scale").as_graph().fit({"a": [1.0]}),
        """
        scale.input takes a Task, and got a dict.
          where: input 'scale.input' of the graph
          mend:  make one with Task(data, target="..."), or Task((X, y))
        """,
    )


def test_several_findings_stand_below_each_other():
    graph = nn("linear", out_features=64) >> model(metrics="rmse")
    says(
        lambda: graph.check(task()),
        """
        2 things are wrong with the graph.
          - 'rmse' is the wrong metric for the task.
              where: node 'torch_model'
              why:   the task is binary or multiclass, the metric is for multitarget and regression
              mend:  use 'accuracy'
          - The network puts out (batch, 64) float32, and the task needs (batch, 3).
              where: node 'torch_model', output of 'linear'
              why:   3 classes need one logit each
              mend:  end the network with nn("head")
        """,
    )


class Brittle(torch.nn.Module):
    """Fails in training only, on real tensors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise RuntimeError("torch has its own words for this")
        return x


def test_an_exception_of_torch_stays_what_it_is_and_gains_the_address():
    graph = nn("module", Brittle, id="brittle") >> nn("head") >> model()
    with pytest.raises(RuntimeError) as caught:
        graph.fit(task())
    assert not isinstance(caught.value, MLGraphError)
    assert str(caught.value) == "torch has its own words for this"
    assert caught.value.__notes__ == [
        "in layer 'brittle' (Brittle); input was (3, 2) float32",
        "in node 'torch_model' (po(\"torch_model\")), fit; input was input: (batch, 3) float32",
    ]
