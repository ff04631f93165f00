"""Data sets to start with, each as a Task: small, free, and there without a download.

| name | rows x features | to learn | from |
|---|---|---|---|
| ``penguins`` | 344 x 7, mixed, with missing values | species, 3 classes | this package |
| ``mtcars`` | 32 x 10, numbers | miles per gallon | this package |
| ``iris`` | 150 x 4, numbers | species, 3 classes | scikit-learn |
| ``digits`` | 1797 x 64, pixels | digit, 10 classes | scikit-learn |
| ``breast_cancer`` | 569 x 30, numbers | diagnosis, 2 classes | scikit-learn |
| ``diabetes`` | 442 x 10, numbers | progression | scikit-learn |

Sources and licences of the two files in this folder: ``penguins.csv`` are the Palmer penguins of
A. M. Horst, A. P. Hill and K. B. Gorman (2020), doi:10.5281/zenodo.3960218, collected by
K. B. Gorman and the Palmer Station LTER; CC0. ``mtcars.csv`` is from Motor Trend (1974), published
by H. V. Henderson and P. F. Velleman, Biometrics 37 (1981); facts, not under copyright.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from mlgraph.data.task import Task
from mlgraph.errors import UnknownKeyError, did_you_mean, listing

__all__ = ["breast_cancer", "diabetes", "digits", "iris", "load", "mtcars", "penguins"]


def load(name: str) -> Task:
    """The data set of this name.

    Raises:
        UnknownKeyError: There is none.

    >>> load("mtcars").describe()
    'Task 32 x 10'
    """
    if name not in _BY_NAME:
        raise UnknownKeyError(
            f"No data set is called {name!r}.",
            why=f"there are {listing(_BY_NAME)}",
            mend=did_you_mean(name, _BY_NAME),
        )
    return _BY_NAME[name]()


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


def digits() -> Task:
    """Handwritten digits, 8 x 8 pixels from 0 to 16; the target is the integer 0 to 9.

    >>> digits().features[:2], len(digits().classes)
    (('pixel_0_0', 'pixel_0_1'), 10)
    """
    return _bundled("load_digits", "digit", kind="classification")


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


def _vendored(file: str, **roles: Any) -> Task:
    with resources.as_file(resources.files(__name__) / file) as path:
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


_BY_NAME: dict[str, Callable[[], Task]] = {
    make.__name__: make for make in (penguins, mtcars, iris, digits, breast_cancer, diabetes)
}
