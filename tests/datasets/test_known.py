from __future__ import annotations

import subprocess
import sys

import pytest

from mlgraph import Task, datasets
from mlgraph.errors import UnknownKeyError

SHAPES = {
    "penguins": (344, 7, "classification"),
    "mtcars": (32, 10, "regression"),
    "iris": (150, 4, "classification"),
    "digits": (1797, 64, "classification"),
    "breast_cancer": (569, 30, "classification"),
    "diabetes": (442, 10, "regression"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_data_set_is_a_task_of_the_size_the_table_says(name):
    task = datasets.load(name)
    assert isinstance(task, Task)
    assert (len(task), len(task.features), task.kind) == SHAPES[name]


def test_every_data_set_has_a_function_of_its_name_and_a_line_in_the_documentation():
    assert set(datasets.__all__) == {*SHAPES, "load"}
    assert all(f"``{name}``" in datasets.__doc__ for name in SHAPES)


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownKeyError, match="penguins"):
        datasets.load("penguin")


def test_penguins_have_missing_values_and_mixed_types():
    task = datasets.penguins()
    assert task.missing["sex"] == 11
    assert {"float", "int", "string"} <= set(task.types.values())
    assert task.classes == ("Adelie", "Chinstrap", "Gentoo")


def test_the_name_of_a_car_is_no_feature():
    assert "name" not in datasets.mtcars().features


def test_two_calls_give_equal_tasks():
    assert datasets.penguins().fingerprint == datasets.penguins().fingerprint


def test_the_vendored_sets_do_not_load_scikit_learn():
    code = (
        "import sys; from mlgraph import datasets; datasets.penguins(); datasets.mtcars(); "
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
