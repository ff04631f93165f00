"""Data sets to start with, each as a Task.

There without a download:

| name | rows x features | to learn | from |
|---|---|---|---|
| ``penguins`` | 344 x 7, mixed, with missing values | species, 3 classes | this package |
| ``mtcars`` | 32 x 10, numbers | miles per gallon | this package |
| ``iris`` | 150 x 4, numbers | species, 3 classes | scikit-learn |
| ``digits`` | 1797 x 64, pixels, or one image | digit, 10 classes | scikit-learn |
| ``wine`` | 178 x 13, numbers | grower, 3 classes | scikit-learn |
| ``breast_cancer`` | 569 x 30, numbers | diagnosis, 2 classes | scikit-learn |
| ``diabetes`` | 442 x 10, numbers | progression | scikit-learn |
| ``linnerud`` | 20 x 3, numbers | weight, waist and pulse | scikit-learn |

From a folder, the first four with ``download=True`` by torchvision; a column ``image`` that is not
read before it is needed, and a column ``split`` that is no feature (see ``by_split``):

| name | rows, sizes | to learn |
|---|---|---|
| ``mnist`` | 60,000 + 10,000, 1 x 28 x 28 | label, 10 classes |
| ``fashion_mnist`` | 60,000 + 10,000, 1 x 28 x 28 | label, 10 classes |
| ``cifar10`` | 50,000 + 10,000, 3 x 32 x 32 | class, 10 classes |
| ``cifar100`` | 50,000 + 10,000, 3 x 32 x 32 | class, 100 classes |
| ``tiny_imagenet`` | 100,000 + 10,000, 3 x 64 x 64 | class, 200 classes |

And what makes a Task of images of your own: ``image_folder``, a folder for each class, and
``csv_of_paths``, a table one column of which has paths.

Sources and licences of the two files in this folder: ``penguins.csv`` are the Palmer penguins of
A. M. Horst, A. P. Hill and K. B. Gorman (2020), doi:10.5281/zenodo.3960218, collected by
K. B. Gorman and the Palmer Station LTER; CC0. ``mtcars.csv`` is from Motor Trend (1974), published
by H. V. Henderson and P. F. Velleman, Biometrics 37 (1981); facts, not under copyright.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mlgraph.data.task import Task
from mlgraph.datasets.cifar import cifar10, cifar100
from mlgraph.datasets.folders import csv_of_paths, image_folder, tiny_imagenet
from mlgraph.datasets.idx import fashion_mnist, mnist
from mlgraph.datasets.images import by_split
from mlgraph.datasets.tables import (
    breast_cancer,
    diabetes,
    digits,
    iris,
    linnerud,
    mtcars,
    penguins,
    wine,
)
from mlgraph.errors import UnknownKeyError, UnknownParameterError, did_you_mean, listing

__all__ = [
    "breast_cancer",
    "by_split",
    "cifar10",
    "cifar100",
    "csv_of_paths",
    "diabetes",
    "digits",
    "fashion_mnist",
    "image_folder",
    "iris",
    "linnerud",
    "load",
    "mnist",
    "mtcars",
    "names",
    "penguins",
    "tiny_imagenet",
    "wine",
]


def names() -> tuple[str, ...]:
    """What can be loaded by name; nothing is downloaded or read for that.

    >>> names()[:3]
    ('penguins', 'mtcars', 'iris')
    """
    return tuple(_BY_NAME)


def load(name: str, **options: Any) -> Task:
    """The data set of this name.

    Args:
        name: One of ``names()``.
        **options: What the function of this name takes, such as ``root=`` and ``download=``.

    Raises:
        UnknownKeyError: There is none.
        UnknownParameterError: It has no such option.

    >>> load("mtcars").describe()
    'Task 32 x 10'
    """
    if name not in _BY_NAME:
        raise UnknownKeyError(
            f"No data set is called {name!r}.",
            why=f"there are {listing(_BY_NAME, limit=len(_BY_NAME))}",
            mend=did_you_mean(name, _BY_NAME),
        )
    make = _BY_NAME[name]
    known = tuple(inspect.signature(make).parameters)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UnknownParameterError(
            f"Data set {name!r} has no option {unknown[0]!r}.",
            why=f"its options are {listing(known)}" if known else "it has none",
            mend=did_you_mean(unknown[0], known),
        )
    return make(**options)


_BY_NAME: dict[str, Callable[..., Task]] = {
    make.__name__: make
    for make in (
        *(penguins, mtcars, iris, digits, wine, breast_cancer, diabetes, linnerud),
        *(mnist, fashion_mnist, cifar10, cifar100, tiny_imagenet),
    )
}
