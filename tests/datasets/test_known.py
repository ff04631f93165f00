from __future__ import annotations

import subprocess
import sys

import pytest

from mlgraph import Task, datasets
from mlgraph.errors import DataError, UnknownKeyError, UnknownParameterError

SHAPES = {
    "penguins": (344, 7, "classification"),
    "mtcars": (32, 10, "regression"),
    "iris": (150, 4, "classification"),
    "digits": (1797, 64, "classification"),
    "wine": (178, 13, "classification"),
    "breast_cancer": (569, 30, "classification"),
    "diabetes": (442, 10, "regression"),
    "linnerud": (20, 3, "multitarget"),
}
FETCHED = ("mnist", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet")
HELP = {"load", "names", "by_split", "image_folder", "csv_of_paths"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_data_set_is_a_task_of_the_size_the_table_says(name):
    task = datasets.load(name)
    assert isinstance(task, Task)
    assert (len(task), len(task.features), task.kind) == SHAPES[name]


def test_every_data_set_has_a_function_of_its_name_and_a_line_in_the_documentation():
    assert datasets.names() == (*SHAPES, *FETCHED)
    assert set(datasets.__all__) == {*datasets.names(), *HELP}
    assert all(f"``{name}``" in datasets.__doc__ for name in datasets.names())


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownKeyError, match=r"Did you mean 'penguins'"):
        datasets.load("penguin")


def test_an_option_is_passed_on_and_an_unknown_one_is_refused():
    assert datasets.load("digits", as_image=True).features == ("image",)
    with pytest.raises(UnknownParameterError, match=r"Did you mean 'download'"):
        datasets.load("mnist", downlaod=True)


@pytest.mark.parametrize("name", FETCHED)
def test_a_set_that_must_be_fetched_says_how(name):
    with pytest.raises(DataError, match=r"root=") as caught:
        datasets.load(name)
    assert ("download=True" in str(caught.value)) == (name != "tiny_imagenet")


@pytest.mark.parametrize("name", FETCHED)
def test_nothing_is_made_in_a_folder_without_the_set(name, tmp_path):
    with pytest.raises(DataError, match=r"root="):
        datasets.load(name, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_vendored_sets_and_the_names_load_no_heavy_package():
    code = (
        "import sys; from mlgraph import datasets; "
        "datasets.penguins(); datasets.mtcars(); datasets.names(); "
        "sys.exit('sklearn' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
