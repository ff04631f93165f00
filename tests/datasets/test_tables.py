from __future__ import annotations

import numpy as np
from sklearn import datasets as reference

from mlgraph import datasets


def test_penguins_have_missing_values_and_mixed_types():
    task = datasets.penguins()
    assert task.missing["sex"] == 11
    assert {"float", "int", "string"} <= set(task.types.values())
    assert task.classes == ("Adelie", "Chinstrap", "Gentoo")


def test_the_name_of_a_car_is_no_feature():
    assert "name" not in datasets.mtcars().features


def test_two_calls_give_equal_tasks():
    assert datasets.penguins().fingerprint == datasets.penguins().fingerprint


def test_digits_are_images_of_the_same_pixels():
    images = datasets.digits(as_image=True)
    array = images.column("image").combine_chunks().to_numpy_ndarray()
    assert array.shape == (1797, 1, 8, 8) and array.dtype == np.float32
    assert np.array_equal(array.reshape(1797, 64), datasets.digits().to_numpy()[0])
    assert np.array_equal(images.target_codes(), datasets.digits().target_codes())


def test_the_three_targets_of_linnerud_are_those_of_scikit_learn():
    features, targets = datasets.linnerud().to_numpy()
    found = reference.load_linnerud()
    assert np.array_equal(features, found.data) and np.array_equal(targets, found.target)
