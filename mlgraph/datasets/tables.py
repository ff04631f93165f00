"""Tables that are there without a download: two in this package, the others in scikit-learn."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from mlgraph.data.task import Task


def penguins() -> Task:
    """Three species of penguins by their measures (mm, g), sex, island and year.

    >>> penguins()
    Task 344 x 7, classification
      target 'species': Adelie (152), Chinstrap (68), Gentoo (124)
      float (2): bill_length_mm [2 missing], bill_depth_mm [2 missing]
      int (3): flipper_length_mm [2 missing], body_mass_g [2 missing], year
      string (2): island, sex [11 missing]
    """
    return _vendored("penguins.csv", target="species")


def mtcars() -> Task:
    """Fuel consumption of 32 cars, in miles per gallon, by their construction.

    >>> mtcars().features[:3]
    ('cyl', 'disp', 'hp')
    """
    return _vendored("mtcars.csv", target="mpg", name="name")


def iris() -> Task:
    """Three species of irises by length and width (cm) of sepals and petals.

    >>> iris().classes
    ('setosa', 'versicolor', 'virginica')
    """
    return _named("load_iris", "species")


def digits(as_image: bool = False) -> Task:
    """Handwritten digits, 8 x 8 pixels from 0 to 16; the target is the integer 0 to 9.

    Shape:
        image: ``(1, 8, 8)`` float32, with ``as_image``.

    Args:
        as_image: One column ``image`` of tensors instead of a column for each pixel.

    >>> digits().features[:2], len(digits().classes)
    (('pixel_0_0', 'pixel_0_1'), 10)
    >>> digits(as_image=True).types["image"]
    'tensor'
    """
    if not as_image:
        return _bundled("load_digits", "digit", kind="classification")
    found = _from_sklearn("load_digits")
    images = found.images.astype(np.float32)[:, np.newaxis]
    return Task({"image": images, "digit": found.target}, target="digit", kind="classification")


def wine() -> Task:
    """Wines of three growers by 13 chemical measures.

    >>> wine().classes
    ('class_0', 'class_1', 'class_2')
    """
    return _named("load_wine", "grower")


def breast_cancer() -> Task:
    """Tumours by measures of their cell nuclei; malignant is the positive class.

    >>> breast_cancer().positive
    'malignant'
    """
    return _named("load_breast_cancer", "diagnosis")


def diabetes() -> Task:
    """Progression of diabetes after a year, by ten measures (already centred and scaled).

    >>> diabetes().kind
    'regression'
    """
    return _bundled("load_diabetes", "progression")


def linnerud() -> Task:
    """Weight, waist and pulse of 20 men, all three to be learned from three exercises.

    >>> linnerud().kind, linnerud().targets
    ('multitarget', ('Weight', 'Waist', 'Pulse'))
    """
    found = _from_sklearn("load_linnerud")
    names = [*found.feature_names, *found.target_names]
    columns = np.column_stack([found.data, found.target]).T
    return Task(dict(zip(names, columns, strict=True)), target=list(found.target_names))


def _vendored(file: str, **roles: Any) -> Task:
    with resources.as_file(resources.files("mlgraph.datasets") / file) as path:
        return Task(path, **roles)


def _named(loader: str, target: str) -> Task:
    """A set whose classes have names."""
    found = _from_sklearn(loader)
    return _task(found, target, found.target_names[found.target])


def _bundled(loader: str, target: str, kind: str | None = None) -> Task:
    found = _from_sklearn(loader)
    return _task(found, target, found.target, kind)


def _from_sklearn(loader: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, loader)()


def _task(found: Any, target: str, values: Any, kind: str | None = None) -> Task:
    columns = dict(zip(found.feature_names, found.data.T, strict=True))
    return Task({**columns, target: values}, target=target, kind=kind)
